//! `slipstream demo`: everything at once in one process, and a walk through it, as a user would go: over HTTP.
//!
//! The clusters are embedded engines, the agents are the real ones, and between them is real mutual TLS with
//! certificates made for the occasion. Nothing stays behind.

mod rest;
mod walk;
mod world;

use std::time::Instant;

use crate::cli::{DemoArgs, LogFormat};
use crate::failure::Failure;
use crate::init::logging;
use crate::init::signals::{Asked, Signals};
use crate::output::data;

use world::World;

/// Runs the walkthrough. Any step that does not come out as it should is a failure.
pub(crate) async fn run(args: &DemoArgs, log: LogFormat) -> Result<(), Failure> {
    logging::start(log, "error")?;
    let mut signals = Signals::listen()?;
    let began = Instant::now();
    data("slipstream demo: an index, replicated between two clusters over mutual TLS");
    let world = World::create().await?;
    let outcome = tokio::select! {
        outcome = show(&world, args, began) => outcome,
        _ = signals.next() => Err(Failure::failed("the demo was interrupted")),
    };
    if outcome.is_ok() && args.serve {
        while signals.next().await == Asked::Reload {}
    }
    world.end().await;
    outcome
}

async fn show(world: &World, args: &DemoArgs, began: Instant) -> Result<(), Failure> {
    walk::through(world).await?;
    data(&format!(
        "\nAll eight steps came out as they should, in {:.1} s.",
        began.elapsed().as_secs_f64()
    ));
    if args.serve {
        walk::again(world).await?;
        data(&invitation(world));
    }
    Ok(())
}

fn invitation(world: &World) -> String {
    let World { gateway, .. } = world;
    let (leader, follower) = (world.leader.url(), world.follower.url());
    format!(
        "\nEverything stays up until Ctrl-C. `live-01` follows `leader-01`. To try:\n\
         \n  status page     {gateway}/\n\
         \n  # a change on the leader …\n\
         \u{20} curl -X PUT {leader}/leader-01/_doc/4 -H 'content-type: application/json' -d '{{\"value\":\"yours\"}}'\n\
         \u{20} # … arrives on the follower\n\
         \u{20} curl '{follower}/live-01/_search?pretty'\n\
         \n  curl '{gateway}/_plugins/_replication/live-01/_status?pretty'\n\
         \u{20} slipstream status --gateway {gateway}\n\
         \u{20} curl -X POST {gateway}/_plugins/_replication/live-01/_stop -H 'content-type: application/json' -d '{{}}'"
    )
}
