//! Bootstrap by windows against the best plain loader into the same target, in turn.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agents::{Agents, Setup};
use crate::load::Load;
use crate::output::aside;
use crate::plan::Plan;
use crate::process::Process;
use crate::report::{Goal, Measured, Row, Unit};
use crate::spread::Spread;
use crate::world::World;

/// The speed of a bootstrap should be at least this share of the loader's.
const GOAL: f64 = 0.8;

/// The leader's JVM has never been asked for pages of this kind, and takes a while to compile what serves them: it is warm
/// when a bootstrap is not this much faster than the one before.
const WARMER: f64 = 0.9;
/// But not more bootstraps than this.
const MOST_WARM_UPS: usize = 6;

/// Processor time is given for this many documents.
const UNIT_DOCS: f64 = 100_000.0;

/// Measures each number of shards.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let (mut rows, mut shapes) = (Vec::new(), Vec::new());
    for &shards in plan.shards {
        let load = shards_of(world, plan, shards, &mut rows).await?;
        shapes.push(format!(
            "{} documents a bulk on {} connections into {}",
            load.shape().batch,
            load.shape().parallel,
            of_shards(shards)
        ));
    }
    Ok(Measured {
        title: "Window reader: bootstrap against a plain `_bulk` loader".to_owned(),
        how: format!(
            "{} documents. The bootstrap's clock runs from `_start` to `SYNCING`, with reading the leader on the same \
             cores; the loader's from the creation of the index to the last answer, with its bodies ready in memory. \
             Both end with everything acknowledged and counted. The loader's best shape of those tried: {}. \
             Processor time is for 100,000 documents.",
            plan.bootstrap_docs,
            shapes.join(", ")
        ),
        rows,
    })
}

/// What takes part in it, and the processor time of each.
struct Costs {
    names: [&'static str; 6],
    values: [Spread; 6],
}

async fn shards_of(world: &World, plan: &Plan, shards: u32, rows: &mut Vec<Row>) -> Result<Load> {
    let docs = plan.bootstrap_docs;
    let target = &world.target.rest;
    let (source, _) = world.filled(docs, shards).await?;
    let agents = Agents::start(world, Setup::default()).await?;
    warm_up(world, &agents, &source, docs).await?;
    let load = Load::best(target, docs, shards, plan.shapes).await?;
    aside(&format!(
        "         {}: best loader {:?}",
        of_shards(shards),
        load.shape()
    ));

    let (mut ratios, mut ours, mut theirs) = (Spread::default(), Spread::default(), Spread::default());
    let mut costs = Costs {
        names: [
            "leader's JVM, bootstrap",
            "leader agent, bootstrap",
            "follower agent, bootstrap",
            "target's JVM, bootstrap",
            "loader itself",
            "target's JVM, loader",
        ],
        values: Default::default(),
    };
    let bootstrapping = [
        world.leader.jvm()?,
        agents.leader.process(),
        agents.follower.process(),
        world.target.jvm()?,
    ];
    let loading = [Process::own(), world.target.jvm()?];
    for sample in 0..plan.samples {
        let mut times = [Duration::ZERO; 2];
        // Each goes first in turn, so that neither always finds the caches of the other.
        for part in [sample % 2, (sample + 1) % 2] {
            let first = if part == 0 { 0 } else { bootstrapping.len() };
            let watched = if part == 0 {
                bootstrapping.as_slice()
            } else {
                &loading
            };
            let before = cpu(watched)?;
            times[part] = if part == 0 {
                bootstrap(world, &agents, &source, docs).await?
            } else {
                load.run(target, &world.name("loaded")).await?
            };
            for (at, (before, after)) in before.into_iter().zip(cpu(watched)?).enumerate() {
                costs.values[first + at]
                    .add(after.saturating_sub(before).as_secs_f64() * UNIT_DOCS / docs as f64);
            }
        }
        let [boot, plain] = times.map(|time| docs as f64 / time.as_secs_f64());
        aside(&format!(
            "         {}: {boot:.0}/s, loader {plain:.0}/s",
            of_shards(shards)
        ));
        ratios.add(boot / plain);
        ours.add(boot);
        theirs.add(plain);
    }
    world.leader.rest.delete_index(&source).await?;

    let name = of_shards(shards);
    rows.push(Row::new(format!("Bootstrap / loader, {name}"), Unit::Ratio, ratios).goal(Goal::AtLeast(GOAL)));
    rows.push(Row::new(
        format!("{name}: bootstrap, documents"),
        Unit::PerSecond,
        ours,
    ));
    rows.push(Row::new(
        format!("{name}: loader, documents"),
        Unit::PerSecond,
        theirs,
    ));
    for (what, values) in costs.names.into_iter().zip(costs.values) {
        rows.push(Row::new(
            format!("{name}: processor time, {what}"),
            Unit::CpuSeconds,
            values,
        ));
    }
    Ok(load)
}

/// Bootstraps until that gets no faster. Finding the best shape of the loader is the loader's own warm-up.
async fn warm_up(world: &World, agents: &Agents, source: &str, docs: u64) -> Result<()> {
    let mut last = bootstrap(world, agents, source, docs).await?;
    for _ in 1..MOST_WARM_UPS {
        let time = bootstrap(world, agents, source, docs).await?;
        if time > last.mul_f64(WARMER) {
            break;
        }
        last = time;
    }
    Ok(())
}

/// One bootstrap, of which every document is counted on the target afterwards.
pub(super) async fn bootstrap(world: &World, agents: &Agents, source: &str, docs: u64) -> Result<Duration> {
    let target = &world.target.rest;
    let index = world.name("copy");
    let time = agents.follow(&index, source).await?;
    let count = target.count(&index).await?;
    ensure!(
        count == docs,
        "[{index}] has {count} documents after the bootstrap of {docs}"
    );
    agents.leave(target, &index).await?;
    world.calm().await?;
    Ok(time)
}

fn cpu(processes: &[Process]) -> Result<Vec<Duration>> {
    processes.iter().map(|process| process.cpu()).collect()
}

pub(super) fn of_shards(shards: u32) -> String {
    if shards == 1 {
        "1 shard".to_owned()
    } else {
        format!("{shards} shards")
    }
}
