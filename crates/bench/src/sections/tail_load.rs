//! What the translog reader costs the leader: its JVM's processor time for each document written, with and without.

use std::time::Duration;

use anyhow::Result;
use futures::future::{OptionFuture, try_join};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::agents::{Agents, Reader, Setup, reached};
use crate::documents::{self, Bodies};
use crate::output::aside;
use crate::plan::Plan;
use crate::process::Process;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::{Rest, until};
use crate::spread::Spread;
use crate::world::World;

/// Bulks a second, and documents in each.
const RATE: u32 = 50;
const BATCH: u64 = 100;
/// The leader should spend at most this multiple of what it spends alone.
const GOAL: f64 = 1.01;

/// From the end of the writes until what they cost is read, the same with and without a replica: a JVM that has nothing to do costs
/// something, too.
const SETTLES: Duration = Duration::from_secs(3);

/// What goes on beside the leader's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nothing.
    Nothing,
    /// The index is replicated.
    Replicated,
    /// The same documents are written straight into the target: as much to do for this machine, and nothing of it the
    /// leader's.
    Loaded,
}

const ALL: [Beside; 3] = [Beside::Nothing, Beside::Replicated, Beside::Loaded];

/// Measures all in turn.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let setup = Setup {
        reader: Reader::Translog,
        ..Setup::default()
    };
    let agents = Agents::start(world, setup).await?;
    // What is asked is what the engine spends, so it is alone: the agents' own time is told elsewhere.
    let elsewhere = [
        agents.leader.process(),
        world.target.jvm()?,
        agents.follower.process(),
        Process::own(),
    ];
    let _apart = world.apart([&[world.leader.jvm()?], &elsewhere])?;
    let bodies: Vec<Vec<u8>> = Bodies::new(plan.tail_load_docs, BATCH).collect();
    let mut costs: [Spread; 3] = Default::default();
    let (mut ratios, mut shared) = (Spread::default(), Spread::default());
    for sample in 0..plan.tail_load_samples + plan.tail_load_warm_ups {
        let mut seconds = [0.0; 3];
        for turn in 0..ALL.len() {
            let part = (sample + turn) % ALL.len();
            seconds[part] = cost(world, &agents, &bodies, ALL[part]).await?;
        }
        let [alone, replicated, loaded] = seconds.map(|s| s * 100_000.0 / plan.tail_load_docs as f64);
        aside(&format!(
            "         {alone:.3} s alone, {replicated:.3} s replicated, {loaded:.3} s with the target loaded, for 100,000"
        ));
        if sample >= plan.tail_load_warm_ups {
            ratios.add(replicated / alone);
            shared.add(replicated / loaded);
            for (spread, cost) in costs.iter_mut().zip([alone, replicated, loaded]) {
                spread.add(cost);
            }
        }
    }
    let [alone, replicated, loaded] = costs;
    Ok(Measured {
        title: "Translog reader: load on the leader".to_owned(),
        how: format!(
            "Processor time of the leader's JVM, but for its compilers' threads, for 100,000 indexed documents: {} of them each time, {} a second in bulks \
             of {BATCH}, into a new index of one shard that does not refresh, so that no merge drowns the difference; with \
             a replica, until that is equal, and in any case until {} s after the last write. {} What runs on the other cores still takes caches and memory from it, \
             which costs it time that it would not lose on a larger host. So there is a third measurement: no \
             replica, but the same documents go straight into the target at the same time.",
            plan.tail_load_docs,
            u64::from(RATE) * BATCH,
            SETTLES.as_secs(),
            world.cores("The leader's JVM", "the target's JVM, both agents and the sender"),
        ),
        rows: vec![
            Row::new(
                "Tail: leader's processor time for each document, replicated / alone",
                Unit::Ratio,
                ratios,
            )
            .goal(Goal::AtMost(GOAL)),
            Row::new(
                "Tail: leader's processor time for each document, replicated / target loaded directly",
                Unit::Ratio,
                shared,
            ),
            Row::new("alone", Unit::CpuSeconds, alone),
            Row::new("replicated", Unit::CpuSeconds, replicated),
            Row::new("target loaded directly", Unit::CpuSeconds, loaded),
        ],
    })
}

/// Seconds of the leader's JVM for all the bodies.
async fn cost(world: &World, agents: &Agents, bodies: &[Vec<u8>], beside: Beside) -> Result<f64> {
    let (leader, target) = (&world.leader.rest, &world.target.rest);
    let (index, copy) = (world.name("taxed"), world.name("taxed-copy"));
    let mut definition = documents::index(1);
    definition["settings"]["refresh_interval"] = json!("-1");
    leader.put(&format!("/{index}"), &definition).await?;
    match beside {
        Beside::Nothing => {}
        Beside::Replicated => {
            agents.follow(&copy, &index).await?;
            agents.served_by(Reader::Translog, &copy).await?;
        }
        Beside::Loaded => target.put(&format!("/{copy}"), &definition).await.map(drop)?,
    }
    world.calm().await?;
    let before = world.leader.jvm()?.cpu_but_compilers()?;
    let beside_it = (beside == Beside::Loaded).then(|| paced(target, &copy, bodies));
    let beside_it = async { OptionFuture::from(beside_it).await.unwrap_or(Ok(())) };
    try_join(paced(leader, &index, bodies), beside_it).await?;
    let settled = Instant::now() + SETTLES;
    if beside == Beside::Replicated {
        let docs = bodies.len() as u64 * BATCH;
        until("the replica to be equal", async || {
            Ok((reached(&agents.shards(&copy).await?) >= docs).then_some(()))
        })
        .await?;
    }
    sleep_until(settled).await;
    let cost = world.leader.jvm()?.cpu_but_compilers()?.saturating_sub(before);
    match beside {
        Beside::Nothing => {}
        Beside::Replicated => {
            agents.served_by(Reader::Translog, &copy).await?;
            agents.leave(target, &copy).await?;
        }
        Beside::Loaded => target.delete_index(&copy).await?,
    }
    leader.delete_index(&index).await?;
    Ok(cost.as_secs_f64())
}

/// Sends the bodies one after another, at the rate.
async fn paced(rest: &Rest, index: &str, bodies: &[Vec<u8>]) -> Result<()> {
    let mut moments = interval(Duration::from_secs(1) / RATE);
    moments.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for body in bodies {
        moments.tick().await;
        rest.bulk(index, body.clone()).await?;
    }
    Ok(())
}
