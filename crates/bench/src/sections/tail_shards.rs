//! What many tailed shards cost the leader agent: memory, and processor time while nothing is written.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use tokio::time::sleep;

use crate::agents::{Agents, Reader, Setup, reached};
use crate::documents;
use crate::field::Field;
use crate::load;
use crate::output::aside;
use crate::plan::Plan;
use crate::process::Process;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::until;
use crate::spread::Spread;
use crate::world::World;

const MIB: f64 = 1024.0 * 1024.0;
/// The agent should never have occupied more than this.
const PEAK_GOAL: f64 = 150.0 * MIB;
/// And use at most this share of a core while nothing is written.
const IDLE_GOAL: f64 = 0.005;
/// Shards of each index.
const SHARDS: u32 = 10;
/// Documents that are written into each index.
const DOCS: u64 = 1_000;

/// Follows them all, writes a little into each, and watches what is left after that.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let indices = plan.many_indices;
    let all = indices * SHARDS as usize;
    for cluster in [&world.leader, &world.target] {
        // One node of the default may hold just too few.
        let room = json!({ "persistent": { "cluster.max_shards_per_node": 5_000 } });
        cluster.rest.put("/_cluster/settings", &room).await?;
    }
    let setup = Setup {
        reader: Reader::Translog,
        ..Setup::default()
    };
    let agents = Agents::start(world, setup).await?;
    let process = agents.leader.process();
    let begun = Instant::now();
    let field = Field::plant(world, &agents, indices, &documents::index(SHARDS)).await?;
    aside(&format!(
        "         {all} shards after {} s, {} MiB",
        begun.elapsed().as_secs(),
        process.resident()? >> 20
    ));
    for (index, _) in &field.indices {
        load::write(&world.leader.rest, index, DOCS).await?;
    }
    for (_, copy) in &field.indices {
        until(&format!("[{copy}] to be equal"), async || {
            let shards = agents.shards(copy).await?;
            Ok((reached(&shards) >= DOCS).then_some(()))
        })
        .await?;
    }
    world.calm().await?;
    sleep(plan.many_rest).await;
    let (mut idle, mut idle_follower) = (Spread::default(), Spread::default());
    let (mut resident, mut peak, mut peak_follower) =
        (Spread::default(), Spread::default(), Spread::default());
    let processes = [process, agents.follower.process()];
    for _ in 0..plan.samples {
        let (before, begun) = (processes.map(Process::cpu), Instant::now());
        sleep(plan.many_watch).await;
        let time = begun.elapsed().as_secs_f64();
        for ((before, process), spread) in before
            .into_iter()
            .zip(processes)
            .zip([&mut idle, &mut idle_follower])
        {
            spread.add(process.cpu()?.saturating_sub(before?).as_secs_f64() / time);
        }
        resident.add(process.resident()? as f64);
    }
    field.check(&agents).await?;
    peak.add(process.peak()? as f64);
    peak_follower.add(agents.follower.process().peak()? as f64);
    aside(&format!(
        "         idle {:.2} % of a core, peak {:.0} MiB",
        idle.median() * 100.0,
        peak.median() / MIB
    ));
    field.clear(&agents).await?;
    Ok(Measured {
        title: "Translog reader: many shards".to_owned(),
        how: format!(
            "{indices} indices of {SHARDS} shards, all of them tailed; {DOCS} documents go into each index until every copy is \
             equal, and {} s later nothing has been written for a while: then the agents' processor time is taken over \
             {} s each time. Memory is resident memory as in the section before, its peak (`VmHWM`) from the agent's \
             start to the end.",
            plan.many_rest.as_secs(),
            plan.many_watch.as_secs(),
        ),
        rows: vec![
            Row::new(
                format!("Leader agent's memory, peak with {all} tailed shards"),
                Unit::Bytes,
                peak,
            )
            .goal(Goal::AtMost(PEAK_GOAL)),
            Row::new(
                format!("Leader agent's share of a core, {all} idle shards"),
                Unit::Core,
                idle,
            )
            .goal(Goal::AtMost(IDLE_GOAL)),
            Row::new("Leader agent's memory, idle", Unit::Bytes, resident),
            Row::new("Follower agent's memory, peak", Unit::Bytes, peak_follower),
            Row::new("Follower agent's share of a core", Unit::Core, idle_follower),
        ],
    })
}
