//! The agents' memory: at rest, and at its peak while a large index bootstraps.

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::agents::{Agents, Setup};
use crate::documents;
use crate::output::aside;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::spread::Spread;
use crate::world::World;

const MIB: f64 = 1024.0 * 1024.0;
/// An agent at rest should occupy at most this.
const IDLE_GOAL: f64 = 40.0 * MIB;
/// And at most this while a million documents bootstrap.
const PEAK_GOAL: f64 = 150.0 * MIB;

/// Measures with new agents for each sample.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let docs = plan.memory_docs;
    let (source, _) = world.filled(docs, 1).await?;
    let quiet = world.name("quiet");
    world
        .leader
        .rest
        .put(&format!("/{quiet}"), &documents::index(1))
        .await?;
    let mut values: [[Spread; 3]; 2] = Default::default();
    for _ in 0..plan.samples {
        let agents = Agents::start(world, Setup::default()).await?;
        let (resting, copy) = (world.name("quiet-copy"), world.name("large-copy"));
        let processes = [agents.leader.process(), agents.follower.process()];
        agents.follow(&resting, &quiet).await?;
        sleep(plan.rest).await;
        for (process, [idle, ..]) in processes.iter().zip(&mut values) {
            idle.add(process.resident()? as f64);
        }
        let time = agents.follow(&copy, &source).await?;
        for (process, [_, peak, _]) in processes.iter().zip(&mut values) {
            peak.add(process.peak()? as f64);
        }
        sleep(plan.rest).await;
        for (process, [.., after]) in processes.iter().zip(&mut values) {
            after.add(process.resident()? as f64);
        }
        aside(&format!(
            "         {docs} documents in {:.1} s",
            time.as_secs_f64()
        ));
        let count = world.target.rest.count(&copy).await?;
        ensure!(
            count == docs,
            "[{copy}] has {count} documents after the bootstrap of {docs}"
        );
        agents.leave(&world.target.rest, &copy).await?;
        agents.leave(&world.target.rest, &resting).await?;
        world.calm().await?;
    }
    world.leader.rest.delete_index(&source).await?;
    world.leader.rest.delete_index(&quiet).await?;
    let rows = ["Leader agent", "Follower agent"]
        .into_iter()
        .zip(values)
        .flat_map(|(agent, [idle, peak, after])| {
            [
                Row::new(format!("{agent}'s memory, idle"), Unit::Bytes, idle).goal(Goal::AtMost(IDLE_GOAL)),
                Row::new(
                    format!("{agent}'s memory, peak while {docs} documents bootstrap"),
                    Unit::Bytes,
                    peak,
                )
                .goal(Goal::AtMost(PEAK_GOAL)),
                Row::new(format!("{agent}, idle again after that"), Unit::Bytes, after),
            ]
        });
    Ok(Measured {
        title: "Window reader: memory".to_owned(),
        how: format!(
            "Resident memory as the kernel counts it, files in the page cache that are mapped included: of new agents \
             that have followed an index without writes for {} s, their peak (`VmHWM`) until {docs} documents of one shard \
             have bootstrapped, and {} s after that.",
            plan.rest.as_secs(),
            plan.rest.as_secs(),
        ),
        rows: rows.collect(),
    })
}
