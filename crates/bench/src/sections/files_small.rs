//! Beginning with files where there are few of them: a tiny index, a hundred of those together, and one of middling size.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tokio::time::Instant;

use crate::agents::{Agents, Setup};
use crate::documents::{self, Bodies};
use crate::output::aside;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::spread::Spread;
use crate::world::World;

/// Documents in a tiny index.
const TINY: u64 = 10;
/// Seconds for one of them.
const TINY_GOAL: f64 = 0.5;
/// Seconds for the middling one.
const MIDDLING_GOAL: f64 = 1.0;

/// Measures all of them with the same agents.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let leader = &world.leader.rest;
    let body = Bodies::new(TINY, TINY).next().unwrap_or_default();
    let mut names = Vec::new();
    for _ in 0..plan.tiny {
        let name = world.name("tiny");
        leader.put(&format!("/{name}"), &documents::index(1)).await?;
        leader.bulk(&name, body.clone()).await?;
        names.push(name);
    }
    let (middling, _) = world.filled(plan.middling_docs, 1).await?;
    let agents = Agents::start(world, Setup::with_files()).await?;
    let mut times: [Spread; 3] = Default::default();
    for sample in 0..=plan.samples {
        let one = together(world, &agents, &names[..1], TINY).await?;
        let all = together(world, &agents, &names, TINY).await?;
        let large = together(
            world,
            &agents,
            std::slice::from_ref(&middling),
            plan.middling_docs,
        )
        .await?;
        aside(&format!(
            "         one tiny index {one:.2} s, {} of them {all:.2} s, {} documents {large:.2} s",
            names.len(),
            plan.middling_docs
        ));
        // The first warms up.
        if sample > 0 {
            for (spread, seconds) in times.iter_mut().zip([one, all, large]) {
                spread.add(seconds);
            }
        }
    }
    for name in names.iter().chain([&middling]) {
        leader.delete_index(name).await?;
    }
    let [one, all, large] = times;
    Ok(Measured {
        title: "Bootstrap with files: small indices".to_owned(),
        how: format!(
            "From `_start`, for several at once the first one's, until every one is `SYNCING`; their documents are counted after that. Tiny is {TINY} \
             documents in one shard. With `limits.snapshot_from_mb = 0`, for by default so little begins with documents."
        ),
        rows: vec![
            Row::new("Files: a tiny index", Unit::Seconds, one).goal(Goal::AtMost(TINY_GOAL)),
            Row::new(
                format!("Files: {} documents in 1 shard", plan.middling_docs),
                Unit::Seconds,
                large,
            )
            .goal(Goal::AtMost(MIDDLING_GOAL)),
            Row::new(
                format!("{} tiny indices together", names.len()),
                Unit::Seconds,
                all,
            ),
        ],
    })
}

/// Seconds until all of these follow.
async fn together(world: &World, agents: &Agents, names: &[String], docs: u64) -> Result<f64> {
    let target = &world.target.rest;
    let copies: Vec<String> = names.iter().map(|name| format!("{name}-copy")).collect();
    let begun = Instant::now();
    let pairs = copies.iter().zip(names);
    try_join_all(pairs.map(|(copy, name)| agents.follow(copy, name))).await?;
    let time = begun.elapsed();
    for copy in &copies {
        let count = target.count(copy).await?;
        ensure!(count == docs, "[{copy}] has {count} documents of {docs}");
        agents.leave(target, copy).await?;
    }
    world.calm().await?;
    Ok(time.as_secs_f64())
}
