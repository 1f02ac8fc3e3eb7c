//! Where the files are, and what the operator says of them: nowhere, elsewhere, away and back again, off, and demanded.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
use slipstream_tests::agents::{Agents, Options, Process};
use tokio::time::sleep;

use crate::world::{World, bulk, plan};

fn with(cluster: String) -> Options {
    Options {
        leader_cluster: cluster,
        ..Options::default()
    }
}

pub(crate) async fn every_one(release: Release, seed: u64) {
    let Some(leader) = or_skip(Server::ready(release, ServerConfig::named("both")).await) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let door = folder.path().join("data");

    demanded_and_nowhere(&leader).await;

    // Elsewhere: the leader's data folder under another name.
    let options = with(format!("data_path = \"{}\"\n", door.display()));
    let mut world = World::of(leader, None, options).await;
    let workload = plan(seed, "moving", 2);
    workload.create_indices(&world.source()).await;
    world.follow("moving").await;
    world.windowed("moving", &door.display().to_string()).await;
    world.write(&workload, Duration::from_millis(500)).await;
    world.equal("moving").await;

    // Put where it should be, taken away in the middle of writes, and put back.
    let writers = workload.start(&world.leader.url());
    for _ in 0..2 {
        symlink(world.leader.data_path(), &door).expect("a link");
        world.tailed("moving").await;
        sleep(Duration::from_millis(500)).await;
        std::fs::remove_file(&door).expect("no link");
        world.windowed("moving", &door.display().to_string()).await;
        sleep(Duration::from_millis(500)).await;
    }
    symlink(world.leader.data_path(), &door).expect("a link");
    writers.stop().await;
    world.equal("moving").await;
    world.tailed("moving").await;

    // Not wanted: the same agent with another configuration.
    let config = std::fs::read_to_string(world.agents.leader.config()).expect("leader.toml");
    let off = config.replace("data_path =", "translog = \"off\"\ndata_path =");
    std::fs::write(world.agents.leader.config(), &off).expect("leader.toml");
    world.agents.leader.crash();
    world.windowed("moving", "switched off").await;
    bulk(&world.source(), "moving", 0..50).await;
    world.equal("moving").await;

    // Demanded, and there.
    let on = off.replace("translog = \"off\"", "translog = \"on\"");
    std::fs::write(world.agents.leader.config(), on).expect("leader.toml");
    world.agents.leader.crash();
    world.tailed("moving").await;
    bulk(&world.source(), "moving", 50..100).await;
    world.equal("moving").await;

    not_readable(&mut world, &config).await;
}

/// The folder is there and the agent's user may not read it; then he may.
async fn not_readable(world: &mut World, config: &str) {
    if !Process::is_roots() {
        return;
    }
    let data = world.leader.data_path();
    let permit = |mode: u32| std::fs::set_permissions(&data, Permissions::from_mode(mode)).expect("root may");
    permit(0o700);
    std::fs::write(world.agents.leader.config(), config).expect("leader.toml");
    world.agents.leader.becomes_ordinary();
    world.agents.leader.crash();
    world
        .windowed("moving", "add this agent's user to the engine's group")
        .await;
    bulk(&world.source(), "moving", 100..150).await;
    world.equal("moving").await;

    permit(0o755);
    world.tailed("moving").await;
    bulk(&world.source(), "moving", 150..200).await;
    world.equal("moving").await;
}

/// An engine that is starting is given some time. What is told meanwhile, and at the end, is why.
async fn demanded_and_nowhere(leader: &Server) {
    let nowhere = with("translog = \"on\"\ndata_path = \"/nowhere/data\"\n".to_owned());
    let mut agents = Agents::prepare(&leader.url(), &leader.url(), &nowhere).await;
    agents.leader.start();
    agents.leader.logged(&["/nowhere/data", "cannot be read"]).await;
    assert_eq!(agents.leader.terminate().await, Some(1));
    let log = agents.leader.log();
    let last = log.lines().rfind(|line| line.contains("/nowhere/data"));
    assert!(last.is_some_and(|line| line.contains("error")), "{log}");
}
