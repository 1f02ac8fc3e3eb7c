//! What replication costs the leader: its JVM's processor time for each document written, with and without.

use anyhow::Result;

use crate::agents::{Agents, Setup};
use crate::documents::{self, Documents};
use crate::output::aside;
use crate::pace::Pace;
use crate::plan::Plan;
use crate::report::{Measured, Row, Unit};
use crate::spread::Spread;
use crate::world::World;

/// Bulks a second, and documents in each.
const RATE: f64 = 20.0;
const BATCH: u32 = 50;

/// Measures in turn with and without.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let agents = Agents::start(world, Setup::default()).await?;
    let (mut ratios, mut with, mut without) = (Spread::default(), Spread::default(), Spread::default());
    for sample in 0..=plan.load_samples {
        let mut costs = [0.0; 2];
        for part in [sample % 2, (sample + 1) % 2] {
            costs[part] = paced(world, plan, (part == 0).then_some(&agents), sample as u64).await?;
        }
        aside(&format!(
            "         {:.2} s with, {:.2} s without, for 100,000",
            costs[0], costs[1]
        ));
        // The first is the warm-up.
        if sample > 0 {
            ratios.add(costs[0] / costs[1]);
            with.add(costs[0]);
            without.add(costs[1]);
        }
    }
    Ok(Measured {
        title: "Window reader: load on the leader".to_owned(),
        how: format!(
            "Processor time of the leader's JVM for 100,000 indexed documents, under {:.0} documents a second in bulks of \
             {BATCH}, for {} s each time into a new index of one shard that refreshes every second, replicated or not. \
             A server this idle spends much of its time on itself, so the spread is wide.",
            RATE * f64::from(BATCH),
            plan.load_time.as_secs(),
        ),
        rows: vec![
            Row::new(
                "Leader's processor time for each document, replicated / not",
                Unit::Ratio,
                ratios,
            ),
            Row::new("replicated", Unit::CpuSeconds, with),
            Row::new("not replicated", Unit::CpuSeconds, without),
        ],
    })
}

/// Writes at the rate, and returns the JVM's seconds for 100,000 documents.
async fn paced(world: &World, plan: &Plan, agents: Option<&Agents>, seed: u64) -> Result<f64> {
    let leader = &world.leader.rest;
    let (index, copy) = (world.name("paced"), world.name("paced-copy"));
    leader.put(&format!("/{index}"), &documents::index(1)).await?;
    if let Some(agents) = agents {
        agents.follow(&copy, &index).await?;
    }
    let mut row = Documents::new();
    let mut write = async |time, seed| {
        let mut pace = Pace::new(RATE, time, seed);
        let mut docs = 0;
        while pace.next().await {
            let mut body = Vec::new();
            for _ in 0..BATCH {
                row.append(&mut body);
            }
            leader.bulk(&index, body).await?;
            docs += BATCH;
        }
        anyhow::Ok(docs)
    };
    write(plan.lead_in, seed).await?;
    let before = world.leader.jvm()?.cpu()?;
    let docs = write(plan.load_time, seed + 1).await?;
    let cost = world.leader.jvm()?.cpu()?.saturating_sub(before);
    if let Some(agents) = agents {
        agents.leave(&world.target.rest, &copy).await?;
    }
    leader.delete_index(&index).await?;
    world.calm().await?;
    Ok(cost.as_secs_f64() * 100_000.0 / f64::from(docs))
}
