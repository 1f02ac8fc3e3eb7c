//! An agent that dies and comes back.

use slipstream_testkit::workload::Workload;
use slipstream_tests::agents::SOON;

use crate::moves::{FOUND, LONELY, SPREAD};
use crate::places::Holders;
use crate::world::{World, bulk};

/// The agent beside the last node dies. Where a replica is elsewhere, that one is read; where not, windows are. When it is back,
/// what was read by windows is read from its files again.
pub(crate) async fn an_agent_in_the_middle_of_writes(world: &mut World, workload: &Workload) {
    let last = world.last();
    let node = world.node(last).to_owned();
    world.tailed_beside_primaries(LONELY, FOUND).await;
    let writers = workload.start(&world.source().url());
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
        .logged(&["a leader agent cannot be used, others stand in for it"])
        .await;
    world
        .agents
        .follower
        .logged(&["a leader agent answers again"])
        .await;
}
