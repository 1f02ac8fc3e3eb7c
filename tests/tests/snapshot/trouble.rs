//! Trouble in the middle of a copy, each time at the same point of it: the link is slow while files travel, the target is slow while it
//! restores. Nothing is lost, and nothing is left.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{ALIAS, LONG, issue};

use super::ending::{recovers, restoring};
use super::world::{World, copy};

/// An index whose files are on their way, slowly, until [`goes_on`]. The leader has taken its snapshot by then; what it tells of that
/// comes behind the files, so the follower may not know yet.
pub(crate) async fn transferring(world: &World, index: &str) {
    world.fill(index, 30_000).await;
    world.agents.link.set_bandwidth(Some(60_000));
    world.agents.follow(&copy(index), index).await;
    on_their_way(world, index).await;
}

/// Some of an index's files have come, and the leader has made the snapshot.
pub(crate) async fn on_their_way(world: &World, index: &str) {
    eventually("files are on their way", LONG, async || {
        let details = world.agents.details(&copy(index)).await;
        let files = &details["files"];
        let (_, running) = world.source().get("/_snapshot/_status").await;
        let travels = files["stage"] == "snapshot" || files["stage"] == "transfer";
        if travels && files["bytes_received"].as_u64() > Some(0) && running["snapshots"] == json!([]) {
            Ok(())
        } else {
            Err(format!("{details}, {running}"))
        }
    })
    .await;
}

/// Lets files travel as fast as they can again.
pub(crate) fn goes_on(world: &World) {
    world.agents.link.set_bandwidth(None);
}

fn acknowledged((status, answer): (u16, Value)) {
    assert_eq!(status, 200, "{answer}");
}

/// It follows, began with files, is equal, and left nothing.
async fn ends_well(world: &World, index: &str) {
    world.in_step(index).await;
    world.begun_with(index, "files: ").await;
    world.equal(index).await;
    world.nothing_is_left().await;
    world.agents.command(&copy(index), "_stop").await;
}

pub(crate) async fn a_leader_index_that_is_deleted(world: &World) {
    transferring(world, "deleted").await;
    acknowledged(world.source().delete("/deleted").await);
    goes_on(world);
    let status = world
        .agents
        .wait_for_status(&copy("deleted"), "PAUSED", LONG)
        .await;
    assert!(
        status["reason"].as_str().unwrap_or_default().contains("deleted"),
        "{status}"
    );
    world.nothing_is_left().await;
    world.agents.command(&copy("deleted"), "_stop").await;
}

pub(crate) async fn a_leader_index_that_is_closed(world: &World) {
    transferring(world, "closed").await;
    acknowledged(world.source().post("/closed/_close", &json!({})).await);
    goes_on(world);
    world
        .agents
        .wait_for_status(&copy("closed"), "PAUSED", LONG)
        .await;
    // It goes on by itself.
    acknowledged(world.source().post("/closed/_open", &json!({})).await);
    ends_well(world, "closed").await;
}

pub(crate) async fn a_leader_index_that_is_force_merged(world: &World) {
    transferring(world, "merged").await;
    let merge = "/merged/_forcemerge?max_num_segments=1&flush=true";
    acknowledged(world.source().post(merge, &json!({})).await);
    goes_on(world);
    ends_well(world, "merged").await;
}

pub(crate) async fn a_certificate_that_is_replaced(world: &World) {
    transferring(world, "rotated").await;
    let certs = world.agents.folder.path().join("certs");
    for old in ["leader.pem", "leader.key"] {
        std::fs::remove_file(certs.join(old)).expect("the old one");
    }
    issue(
        world.agents.folder.path(),
        "leader",
        &["leader.test", "localhost", "127.0.0.1"],
    );
    world.agents.leader.reload();
    world
        .agents
        .leader
        .logged(&["certificates and allow rules reloaded"])
        .await;
    // What lives goes on with the old one; what comes meets the new one.
    world.agents.link.disconnect();
    world.agents.link.resume();
    goes_on(world);
    ends_well(world, "rotated").await;
}

/// Somebody else's snapshot runs, and stays his. Ours comes beside it or after it: engines have few threads for all of them, on
/// small machines one.
pub(crate) async fn a_snapshot_of_somebody_else(world: &World) {
    let source = world.source();
    world.fill("others", 5_000).await;
    let folder = world.leader.repo_path().join("others");
    let repository =
        json!({ "type": "fs", "settings": { "location": folder, "max_snapshot_bytes_per_sec": "20kb" } });
    acknowledged(source.put("/_snapshot/others", &repository).await);
    let only = json!({ "indices": "others", "include_global_state": false });
    acknowledged(source.put("/_snapshot/others/one", &only).await);
    world.fill("beside", 500).await;
    world.begins("beside", "files: ").await;
    let (_, his) = source.get("/_snapshot/others/one").await;
    let state = his["snapshots"][0]["state"].as_str().unwrap_or_default();
    assert!(["IN_PROGRESS", "SUCCESS"].contains(&state), "{his}");
    acknowledged(source.delete("/_snapshot/others/one").await);
    acknowledged(source.delete("/_snapshot/others").await);
    // Somebody else's folder is his to remove.
    std::fs::remove_dir_all(&folder).expect("his folder");
    world.nothing_is_left().await;
    world.agents.command(&copy("beside"), "_stop").await;
}

/// What is left of the restore is an index without files, which its recovery says nothing of any more, and nobody remembers it: the agent
/// dies too.
pub(crate) async fn a_target_that_dies_while_it_restores(world: &mut World) {
    restoring(world, "restored").await;
    world.agents.follower.kill();
    world.target.restart().await.expect("the target comes back");
    recovers(&world.target(), Value::Null).await;
    world.agents.follower.start();
    world.agents.wait_for_gateway().await;
    ends_well(world, "restored").await;
}

/// Half of what the target is to restore is not what came over the link. It finds out, and that file is fetched once more.
pub(crate) async fn a_file_that_is_damaged_on_disk(world: &World) {
    restoring(world, "damaged").await;
    let blob = largest(&world.target.repo_path()).expect("the follower agent's files");
    let mut bytes = std::fs::read(&blob).expect("the file");
    // Far behind what has been restored by now.
    let at = bytes.len() * 3 / 4;
    bytes[at] ^= 1;
    std::fs::write(&blob, bytes).expect("the file");
    recovers(&world.target(), Value::Null).await;
    ends_well(world, "damaged").await;
}

fn largest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let files = entries.filter_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => largest(&entry.path()),
        _ => Some(entry.path()),
    });
    files.max_by_key(|file| std::fs::metadata(file).map_or(0, |about| about.len()))
}

/// A node that joins the leader.
pub(crate) const SECOND: &str = "node-1";

/// A shard moves to another node while the snapshot is asked for, and one while its files travel.
pub(crate) async fn a_shard_that_moves(world: &World) {
    let source = world.source();
    let to = |node: &str| json!({ "index.routing.allocation.require._name": node });
    let moves = async |index: &str, node: &str| {
        acknowledged(source.put(&format!("/{index}/_settings"), &to(node)).await);
    };
    let moved = async |index: &str, node: &str| {
        eventually(&format!("[{index}] is on [{node}]"), LONG, async || {
            let (_, copies) = source.get(&format!("/_cat/shards/{index}?format=json")).await;
            let there = copies[0]["node"] == node && copies[0]["state"] == "STARTED";
            if there { Ok(()) } else { Err(copies.to_string()) }
        })
        .await;
    };

    world.fill("moving", 30_000).await;
    moves("moving", "node-0").await;
    moved("moving", "node-0").await;
    recovers(&source, json!("200kb")).await;
    moves("moving", SECOND).await;
    world.agents.follow(&copy("moving"), "moving").await;
    recovers(&source, Value::Null).await;
    moved("moving", SECOND).await;
    ends_well(world, "moving").await;

    transferring(world, "moved").await;
    let (_, copies) = source.get("/_cat/shards/moved?format=json").await;
    let other = if copies[0]["node"] == SECOND {
        "node-0"
    } else {
        SECOND
    };
    moves("moved", other).await;
    moved("moved", other).await;
    goes_on(world);
    ends_well(world, "moved").await;
}

/// The follower agent cannot tell that it needs its snapshot no more. That it follows the index tells as much.
pub(crate) async fn a_word_that_is_lost(world: &World) {
    transferring(world, "unheard").await;
    world.agents.link.cut();
    world.agents.command(&copy("unheard"), "_stop").await;
    world.agents.link.resume();
    goes_on(world);
    let body = json!({ "leader_alias": ALIAS, "leader_index": "unheard", "bootstrap": "documents" });
    let path = format!("/_plugins/_replication/{}/_start", copy("unheard"));
    eventually("it is started", LONG, async || {
        match world.agents.gateway.put(&path, &body).await {
            (200, _) => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        }
    })
    .await;
    world.in_step("unheard").await;
    world.equal("unheard").await;
    world.nothing_is_left().await;
    world.agents.command(&copy("unheard"), "_stop").await;
}

/// A setting that was asked for and that the target does not have: as with documents, there is no such follower, and it says why.
pub(crate) async fn a_setting_that_the_target_does_not_know(world: &World) {
    world.fill("unknown", 500).await;
    let body = json!({ "leader_alias": ALIAS, "leader_index": "unknown", "settings": { "index.bogus": 1 } });
    let path = format!("/_plugins/_replication/{}/_start", copy("unknown"));
    acknowledged(world.agents.gateway.put(&path, &body).await);
    world
        .agents
        .wait_for_status(&copy("unknown"), "FAILED", LONG)
        .await;
    let status = world.agents.status(&copy("unknown")).await;
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with("unknown setting [index.bogus] in the settings asked for"),
        "{status}"
    );
    world.nothing_is_left().await;
    assert_eq!(world.target().get(&format!("/{}", copy("unknown"))).await.0, 404);
    world.agents.command(&copy("unknown"), "_stop").await;
}
