//! Many small indices that a rule finds at once: how long until all of them follow.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::stream::{StreamExt, TryStreamExt, iter};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::agents::{ALIAS, Agents, Setup};
use crate::documents::{self, Bodies};
use crate::output::aside;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::{Rest, within};
use crate::spread::Spread;
use crate::world::World;

/// All of them should follow after this long, in seconds.
const GOAL: f64 = 60.0;
/// Documents in each.
const DOCS: u64 = 10;
/// Requests at once where nothing is measured.
const AT_ONCE: usize = 8;
/// How long it may take at all.
const PATIENCE: Duration = Duration::from_mins(10);

/// Measures with new agents for each sample.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let prefix = world.name("found");
    let names: Vec<String> = (0..plan.found)
        .map(|number| format!("{prefix}-{number}"))
        .collect();
    let body = Bodies::new(DOCS, DOCS).next().unwrap_or_default();
    let leader = &world.leader.rest;
    let created = iter(&names).map(|name| {
        let body = body.clone();
        async move {
            leader.put(&format!("/{name}"), &documents::index(1)).await?;
            leader.bulk(name, body).await
        }
    });
    created.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    world.calm().await?;
    let mut times = Spread::default();
    for _ in 0..plan.found_samples {
        let agents = Agents::start(world, Setup::default()).await?;
        let time = all_follow(agents.gateway(), &prefix, names.len()).await?;
        times.add(time.as_secs_f64());
        aside(&format!(
            "         {} indices in {:.1} s",
            names.len(),
            time.as_secs_f64()
        ));
        let last = &names[names.len() - 1];
        let count = world.target.rest.count(last).await?;
        ensure!(count == DOCS, "[{last}] has {count} documents of {DOCS}");
        let (agents, target) = (&agents, &world.target.rest);
        let left = iter(&names).map(|name| async move { agents.leave(target, name).await });
        left.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        world.calm().await?;
    }
    let deleted = iter(&names).map(|name| leader.delete_index(name));
    deleted.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(Measured {
        title: "Auto-follow: many indices at once".to_owned(),
        how: format!(
            "{} indices of one shard and {DOCS} documents are there when a rule is made that takes them all: from the rule's \
             creation until each of them is `SYNCING`, with new agents for each sample.",
            names.len()
        ),
        rows: vec![
            Row::new(
                format!("{} indices found by a rule until all follow", names.len()),
                Unit::Seconds,
                times,
            )
            .goal(Goal::AtMost(GOAL)),
        ],
    })
}

/// Makes the rule, and ends it once it has done its work.
async fn all_follow(gateway: &Rest, prefix: &str, indices: usize) -> Result<Duration> {
    let rules = "/_plugins/_replication/_autofollow";
    let begun = Instant::now();
    let rule = json!({ "leader_alias": ALIAS, "name": prefix, "pattern": format!("{prefix}-*") });
    gateway.post(rules, &rule).await?;
    let time = within(PATIENCE, "all indices to follow", async || {
        let answer = gateway.get("/_slipstream/v1/indices").await?;
        let found = answer["indices"]
            .as_array()
            .map_or(&[] as &[Value], Vec::as_slice);
        if let Some(failed) = found
            .iter()
            .find(|index| matches!(index["phase"].as_str(), Some("FAILED" | "PAUSED")))
        {
            bail!("{failed}");
        }
        let following = found.iter().filter(|index| index["phase"] == "SYNCING").count();
        Ok((following == indices).then(|| begun.elapsed()))
    })
    .await?;
    gateway
        .delete_with(rules, &json!({ "leader_alias": ALIAS, "name": prefix }))
        .await?;
    Ok(time)
}
