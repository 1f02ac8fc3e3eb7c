//! Disks that are full, and folders that an agent may not write: the index begins with documents, says why, and nothing is left.

use slipstream_testkit::servers::{Release, ServerConfig};
use slipstream_tests::agents::Process;

use super::trouble::{goes_on, transferring};
use super::world::World;

/// Room for the files of each index below, and soon full.
const DISK_MB: u32 = 64;

/// A server whose repositories have a disk of their own.
pub(crate) fn small(release: Release, name: &str) -> (Release, ServerConfig) {
    let config = ServerConfig {
        repo_mb: Some(DISK_MB),
        ..ServerConfig::named(name)
    };
    (release, config)
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
