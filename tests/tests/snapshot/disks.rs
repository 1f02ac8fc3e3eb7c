//! Disks that are full or too small, and folders that an agent may not write: the index begins with documents, says why, and nothing is left.

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_testkit::servers::{Release, ServerConfig};
use slipstream_tests::agents::{LONG, Process};

use super::transfer::{cap, dense};
use super::trouble::{goes_on, on_their_way, transferring};
use super::world::{World, copy};

/// Room for the files of each index below, and soon full.
const DISK_MB: u32 = 64;
/// Room for the files of all of them.
const LARGER_DISK_MB: u32 = 160;
/// An index of which the smaller disk holds one, and not two.
const HEAVY_MB: u32 = 36;

/// A leader and a target whose repositories have disks of their own.
pub(crate) fn small(release: Release) -> [(Release, ServerConfig); 2] {
    [("leader", LARGER_DISK_MB), ("target", DISK_MB)].map(|(name, megabytes)| {
        let config = ServerConfig {
            repo_mb: Some(megabytes),
            ..ServerConfig::named(name)
        };
        (release, config)
    })
}

/// The disk that the leader cluster would write its snapshot to.
pub(crate) async fn full_at_the_leader(world: &World) {
    world.fill("nowhere", 5_000).await;
    world.leader.fill_repo_disk().expect("the disk can be filled");
    world
        .begins(
            "nowhere",
            "documents: the index has 0 MiB, and in the leader agent's folder for snapshots 0 MiB are free",
        )
        .await;
    world.leader.empty_repo_disk().expect("there is room again");
    world.nothing_is_left().await;
}

/// The disk that the files would come to, before the first and in the middle.
pub(crate) async fn full_at_the_follower(world: &World) {
    world.fill("elsewhere", 5_000).await;
    world.target.fill_repo_disk().expect("the disk can be filled");
    world.begins("elsewhere", "documents: ").await;
    world.target.empty_repo_disk().expect("there is room again");

    transferring(world, "midway").await;
    world.target.fill_repo_disk().expect("the disk can be filled");
    goes_on(world);
    world.in_step("midway").await;
    world.begun_with("midway", "documents: files were tried, ").await;
    world.equal("midway").await;
    world.target.empty_repo_disk().expect("there is room again");
    world.nothing_is_left().await;

    world.fill("roomy", 5_000).await;
    world.begins("roomy", "files: ").await;
    world.nothing_is_left().await;
}

/// Each has room by itself, and hardly anything of the first has come when the second asks.
pub(crate) async fn too_small_for_two_at_once(world: &World) {
    dense(world, "first", HEAVY_MB).await;
    dense(world, "second", HEAVY_MB).await;
    cap(world, json!("1mb")).await;
    world.agents.follow(&copy("first"), "first").await;
    on_their_way(world, "first").await;
    world.agents.follow(&copy("second"), "second").await;
    eventually("the second is told that there is no room", LONG, async || {
        let details = world.agents.details(&copy("second")).await;
        let begun = details["begun_with"].as_str().unwrap_or_default();
        if begun.starts_with("documents: files were tried, ")
            && begun.contains(" of which other indices wait for ")
        {
            Ok(())
        } else {
            Err(details.to_string())
        }
    })
    .await;
    cap(world, Value::Null).await;
    for index in ["first", "second"] {
        world.in_step(index).await;
        world.equal(index).await;
    }
    world.begun_with("first", "files: ").await;
    world.nothing_is_left().await;
}

/// The follower agent's user may not write where its target reads.
pub(crate) async fn a_folder_that_the_agent_may_not_write(world: &mut World) {
    if !Process::is_roots() {
        return;
    }
    world.agents.follower.becomes_ordinary();
    world.agents.restart_follower(std::time::Duration::ZERO).await;
    world.fill("forbidden", 500).await;
    world
        .begins("forbidden", "documents: this agent cannot write into ")
        .await;
    world.nothing_is_left().await;
}
