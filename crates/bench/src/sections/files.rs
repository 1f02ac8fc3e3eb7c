//! Beginning with the leader's files: against its documents, and against doing it by hand, in turn.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::bootstrap::{bootstrap, of_shards};
use crate::agents::{Agents, Setup};
use crate::documents::Length;
use crate::output::aside;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::{Rest, until};
use crate::spread::Spread;
use crate::world::World;

/// So many times faster than with documents.
const FASTER: f64 = 10.0;
/// At most so many times what it takes by hand.
const BY_HAND: f64 = 1.5;
const MIB: f64 = 1024.0 * 1024.0;
/// The agents' memory.
const PEAK_GOAL: f64 = 150.0 * MIB;

/// Measures each number of shards.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let mut rows = Vec::new();
    for &shards in plan.shards {
        shards_of(world, plan, shards, &mut rows).await?;
    }
    Ok(Measured {
        title: "Bootstrap with files".to_owned(),
        how: format!(
            "{} documents of about 300 bytes in one shard, of about a kilobyte in several. The clocks of both bootstraps run from `_start` to `SYNCING`, and every document is counted after that. By \
             hand is `_snapshot` into a new repository, a copy of its files into a folder of the target, and `_restore`, until \
             the primaries are started. The throttles of repositories and recoveries are lifted on both ways \
             (`limits.restore_mb_per_s` for the bootstrap).",
            plan.memory_docs
        ),
        rows,
    })
}

async fn shards_of(world: &World, plan: &Plan, shards: u32, rows: &mut Vec<Row>) -> Result<()> {
    let docs = plan.memory_docs;
    let length = if shards == 1 { Length::Line } else { Length::Page };
    let (source, _) = world.filled_with(length, docs, shards).await?;
    let files = Agents::start(world, Setup::with_files()).await?;
    let documents = Agents::start(world, Setup::default()).await?;
    let name = of_shards(shards);
    let mut spreads: [Spread; 3] = Default::default();
    let (mut faster, mut by_hand) = (Spread::default(), Spread::default());
    for sample in 0..=plan.samples {
        let mut times = [Duration::ZERO; 3];
        for step in 0..3 {
            // Each goes first in turn.
            let part = (sample + step) % 3;
            times[part] = match part {
                0 => bootstrap(world, &files, &source, docs).await?,
                1 => bootstrap(world, &documents, &source, docs).await?,
                _ => copy_by_hand(world, &source, docs).await?,
            };
        }
        let [with_files, with_documents, hand] = times.map(|time| time.as_secs_f64());
        aside(&format!(
            "         {name}: files {with_files:.2} s, documents {with_documents:.2} s, by hand {hand:.2} s"
        ));
        // The first warms up.
        if sample > 0 {
            faster.add(with_documents / with_files);
            by_hand.add(with_files / hand);
            for (spread, seconds) in spreads.iter_mut().zip([with_files, with_documents, hand]) {
                spread.add(seconds);
            }
        }
    }
    world.leader.rest.delete_index(&source).await?;
    rows.push(
        Row::new(
            format!("Documents / files, time of a bootstrap, {name}"),
            Unit::Ratio,
            faster,
        )
        .goal(Goal::AtLeast(FASTER)),
    );
    rows.push(
        Row::new(format!("Files / by hand, time, {name}"), Unit::Ratio, by_hand).goal(Goal::AtMost(BY_HAND)),
    );
    for (what, agent) in [("Leader", &files.leader), ("Follower", &files.follower)] {
        let mut peak = Spread::default();
        peak.add(agent.process().peak()? as f64);
        let row = Row::new(
            format!("{what} agent's memory, peak, files of {name}"),
            Unit::Bytes,
            peak,
        );
        rows.push(row.goal(Goal::AtMost(PEAK_GOAL)));
    }
    for (what, spread) in ["with files", "with documents", "by hand"]
        .into_iter()
        .zip(spreads)
    {
        rows.push(Row::new(format!("{name}: {what}"), Unit::Seconds, spread));
    }
    Ok(())
}

/// What an operator would do without us.
async fn copy_by_hand(world: &World, source: &str, docs: u64) -> Result<Duration> {
    let (leader, target) = (&world.leader.rest, &world.target.rest);
    let (from, to) = (
        world.leader.repo_path().join("hand"),
        world.target.repo_path().join("hand"),
    );
    let unthrottled = |value: Value| json!({ "transient": { "indices.recovery.max_bytes_per_sec": value } });
    let index = world.name("hand");
    let begun = Instant::now();
    snapshot_by_hand(leader, source, &from).await?;
    let (source_folder, target_folder) = (from.clone(), to.clone());
    tokio::task::spawn_blocking(move || copy(&source_folder, &target_folder)).await??;
    target
        .put("/_cluster/settings", &unthrottled(json!("-1")))
        .await?;
    target
        .put("/_snapshot/hand?verify=false", &repository(&to, true))
        .await?;
    let body = json!({ "indices": source, "include_global_state": false, "rename_pattern": ".+", "rename_replacement": index });
    target.post("/_snapshot/hand/all/_restore", &body).await?;
    until("the restore", async || {
        // Green, for there are no replicas: an index is yellow from the beginning of its restore.
        let health = target.get(&format!("/_cluster/health/{index}")).await?;
        Ok((health["status"] == "green").then_some(()))
    })
    .await?;
    let time = begun.elapsed();
    let count = target.count(&index).await?;
    ensure!(
        count == docs,
        "[{index}] has {count} documents after a restore of {docs}"
    );
    target
        .put("/_cluster/settings", &unthrottled(Value::Null))
        .await?;
    clear(leader, None, &from).await?;
    clear(target, Some(&index), &to).await?;
    world.calm().await?;
    Ok(time)
}

fn repository(folder: &Path, read_only: bool) -> Value {
    json!({ "type": "fs", "settings": { "readonly": read_only,
        "location": folder, "max_snapshot_bytes_per_sec": "0b", "max_restore_bytes_per_sec": "0b" } })
}

/// Takes a snapshot of an index into a folder of the cluster's, as fast as that goes.
pub(super) async fn snapshot_by_hand(cluster: &Rest, index: &str, folder: &Path) -> Result<()> {
    cluster.put("/_snapshot/hand", &repository(folder, false)).await?;
    let body = json!({ "indices": index, "include_global_state": false });
    let path = "/_snapshot/hand/all?wait_for_completion=true";
    cluster.put(path, &body).await.map(drop)
}

/// Removes such a repository with its folder, and an index.
pub(super) async fn clear(cluster: &Rest, index: Option<&str>, folder: &Path) -> Result<()> {
    if let Some(index) = index {
        cluster.delete_index(index).await?;
    }
    cluster.delete("/_snapshot/hand").await?;
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        } else {
            bail!("{} is neither file nor folder", entry.path().display());
        }
    }
    Ok(())
}
