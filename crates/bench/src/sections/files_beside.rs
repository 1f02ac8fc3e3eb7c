//! What a bootstrap with files takes from the leader's indexing: documents a second into another index, with one going on and without.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::files;
use crate::agents::{Agents, Setup};
use crate::documents;
use crate::load;
use crate::output::aside;
use crate::plan::Plan;
use crate::process::Process;
use crate::report::{Goal, Measured, Row, Unit};
use crate::spread::Spread;
use crate::world::World;

/// What should be left of the rate.
const GOAL: f64 = 0.95;

/// The cap of the one that has a cap, in MB a second.
const CAP: u32 = 10;

/// What goes on beside the writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// Bootstraps, one after the other.
    Bootstraps,
    /// The same under a cap.
    Capped,
    /// One snapshot of the same index, made by hand, and no agent has anything to do.
    Snapshot,
}

const ALL: [Beside; 4] = [
    Beside::Nothing,
    Beside::Bootstraps,
    Beside::Capped,
    Beside::Snapshot,
];

/// Measures all in turn.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let (source, _) = world.filled(plan.memory_docs, 1).await?;
    let agents = Agents::start(world, Setup::with_files()).await?;
    let leaders_host = [world.leader.jvm()?, agents.leader.process(), Process::own()];
    let elsewhere = [world.target.jvm()?, agents.follower.process()];
    let _apart = world.apart([&leaders_host, &elsewhere])?;
    let [mut ratios, mut capped, mut snapshots, mut costs]: [Spread; 4] = Default::default();
    let mut rates: [Spread; 4] = Default::default();
    let (mut bootstraps, mut under_the_cap) = (0, 0);
    for sample in 0..=plan.beside_samples {
        let (mut rate, mut cost) = ([0.0; 4], [0.0; 4]);
        for step in 0..ALL.len() {
            let part = (sample + step) % ALL.len();
            let before = on_the_leaders_side(world, &agents)?;
            let begun;
            (rate[part], begun) = measured(world, plan, &agents, &source, ALL[part]).await?;
            cost[part] = on_the_leaders_side(world, &agents)?
                .saturating_sub(before)
                .as_secs_f64();
            if ALL[part] == Beside::Capped {
                under_the_cap += begun;
            } else {
                bootstraps += begun;
            }
        }
        let [alone, beside, under_cap, snapshot] = rate;
        aside(&format!(
            "         {alone:.0}/s alone, {beside:.0}/s beside bootstraps, {under_cap:.0}/s under a cap, {snapshot:.0}/s beside a snapshot"
        ));
        // The first warms up.
        if sample > 0 {
            ratios.add(beside / alone);
            capped.add(under_cap / alone);
            snapshots.add(snapshot / alone);
            costs.add(cost[0] / cost[1]);
            rates
                .iter_mut()
                .zip(rate)
                .for_each(|(spread, rate)| spread.add(rate));
        }
    }
    world.leader.rest.delete_index(&source).await?;
    let [alone, beside, under_cap, snapshot] = rates;
    Ok(Measured {
        title: "Bootstrap with files: the leader's indexing beside it".to_owned(),
        how: format!(
            "{} documents go into a new index of the leader as fast as it takes them, with nothing else going on, and while an index of {} documents \
             bootstraps with files, again and again, as fast as it goes ({bootstraps} times in all) and under a cap of {CAP} MB a second ({under_the_cap} \
             times, most of which the end of the writing ends, too). And while one plain snapshot of that index is made by hand at the beginning, as \
             fast as the leader makes it, with nothing for the agents to do: what is lost there is the engine's own, and no bootstrap that begins \
             with a snapshot can spare it. {} What the leader and its agent use of their cores for the same documents, alone and beside, is told, too.",
            plan.bootstrap_docs,
            plan.memory_docs,
            world.cores(
                "The leader's JVM with the agent beside it and the sender",
                "the target's JVM and the follower agent"
            ),
        ),
        rows: vec![
            Row::new(
                "Leader's indexing rate, bootstrap with files / nothing beside it",
                Unit::Ratio,
                ratios,
            )
            .goal(Goal::AtLeast(GOAL)),
            Row::new(format!("The same under a cap of {CAP} MB/s"), Unit::Ratio, capped)
                .goal(Goal::AtLeast(GOAL)),
            Row::new(
                "The same beside one snapshot made by hand",
                Unit::Ratio,
                snapshots,
            ),
            Row::new(
                "The same without a cap, by processor time of the leader and its agent",
                Unit::Ratio,
                costs,
            ),
            Row::new("alone, documents", Unit::PerSecond, alone),
            Row::new("beside bootstraps, documents", Unit::PerSecond, beside),
            Row::new(
                "beside bootstraps under a cap, documents",
                Unit::PerSecond,
                under_cap,
            ),
            Row::new("beside a snapshot, documents", Unit::PerSecond, snapshot),
        ],
    })
}

/// The processor time of the leader and the agent beside it so far.
fn on_the_leaders_side(world: &World, agents: &Agents) -> Result<Duration> {
    Ok(world.leader.jvm()?.cpu()? + agents.leader.process().cpu()?)
}

/// Documents a second, and how many bootstraps went on meanwhile.
async fn measured(
    world: &World,
    plan: &Plan,
    agents: &Agents,
    source: &str,
    beside: Beside,
) -> Result<(f64, u64)> {
    let leader = &world.leader.rest;
    let index = world.name("written");
    leader.put(&format!("/{index}"), &documents::index(1)).await?;
    if beside == Beside::Capped {
        agents.cap(Some(CAP)).await?;
    }
    world.calm().await?;
    let by_hand = world.leader.repo_path().join("hand");
    let written = AtomicBool::new(false);
    let writing = async {
        let begun = Instant::now();
        load::write(leader, &index, plan.bootstrap_docs).await?;
        let time = begun.elapsed();
        written.store(true, Ordering::Relaxed);
        if beside == Beside::Capped {
            agents.cap(None).await?;
        }
        anyhow::Ok(plan.bootstrap_docs as f64 / time.as_secs_f64())
    };
    let bootstrapping = async {
        let mut begun = 0;
        if beside == Beside::Snapshot {
            files::snapshot_by_hand(leader, source, &by_hand).await?;
        }
        while matches!(beside, Beside::Bootstraps | Beside::Capped) && !written.load(Ordering::Relaxed) {
            let copy = world.name("beside");
            begun += 1;
            agents.follow(&copy, source).await?;
            agents.leave(&world.target.rest, &copy).await?;
        }
        anyhow::Ok(begun)
    };
    let (rate, begun) = futures::future::try_join(writing, bootstrapping).await?;
    leader.delete_index(&index).await?;
    if beside == Beside::Snapshot {
        files::clear(leader, None, &by_hand).await?;
    }
    world.calm().await?;
    Ok((rate, begun))
}
