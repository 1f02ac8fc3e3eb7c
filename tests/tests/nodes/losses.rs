//! An agent that dies and comes back, and a node that the others do not reach for a while.

use std::time::Duration;

use slipstream_testkit::workload::Workload;
use slipstream_tests::agents::SOON;
use tokio::time::sleep;

use crate::moves::{FOUND, LONELY, SPREAD};
use crate::places::Holders;
use crate::world::{DOOMED, World, bulk};

/// The agent beside the last node dies. Where a replica is elsewhere, that one is read; where not, windows are. When it is back,
/// what was read by windows is read from its files again.
pub(crate) async fn an_agent_in_the_middle_of_writes(world: &mut World, workload: &Workload) {
    let last = world.last();
    let node = world.node(last).to_owned();
    world.tailed_beside_primaries(LONELY, FOUND).await;
    let writers = workload.start(world.source().url());
    world.beside[last].process.kill();
    bulk(&world.source(), LONELY, 0..50, 20).await;

    let elsewhere = |holders: &Holders, reader: &str| {
        (holders.is_primary(reader) || holders.is_replica(reader)) && !reader.contains(&node)
    };
    world
        .served(SPREAD, "beside a copy elsewhere", SOON, elsewhere)
        .await;
    let by_windows = |_: &Holders, reader: &str| {
        reader.starts_with("window: ") && reader.contains("holds no started copy")
    };
    world.served(LONELY, "by windows", SOON, by_windows).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    world.equal(LONELY).await;
    world.equal(SPREAD).await;

    world.beside[last].process.start();
    bulk(&world.source(), LONELY, 50..100, 20).await;
    world.tailed_beside_primaries(LONELY, FOUND).await;
    world.equal(LONELY).await;
    world
        .agents
        .follower
        .logged(&["a leader agent cannot be used", "others_stand_in=true"])
        .await;
    world
        .agents
        .follower
        .logged(&["a leader agent answers again"])
        .await;
}

/// How long an agent may take to notice that its node is cut off: it asks for the master every 10 s, and an answer may take 30.
const CUT_OFF: Duration = Duration::from_secs(75);

/// A node that the others have given up has files that look well and says so, and so does the agent beside it, which the follower
/// still reaches. It is noticed all the same, and other copies are read.
pub(crate) async fn a_node_that_is_cut_off(world: &World, workload: &Workload) {
    let writers = workload.start(world.source().url());
    sleep(Duration::from_secs(1)).await;
    world.wire.cut();
    world.promoted(SPREAD).await;
    sleep(Duration::from_secs(1)).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    let node = world.node(DOOMED);
    let elsewhere = |holders: &Holders, reader: &str| holders.is_either(reader) && !reader.contains(node);
    world
        .served(SPREAD, "on the other side", CUT_OFF, elsewhere)
        .await;
    world.equal(SPREAD).await;

    world.wire.resume();
    world.leader.wait_for_nodes(world.last() + 1).await;
    world.leader.wait_for_green(SPREAD).await;
    world.write(workload, Duration::from_secs(1)).await;
    world.equal(SPREAD).await;
    world.tailed_beside_copies(SPREAD, FOUND).await;
}
