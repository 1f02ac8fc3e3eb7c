//! SIGKILL of the leader's JVM in the middle of bulks: what it lost the follower never had, what it kept arrives. Its new
//! life goes on in the same translog, in another generation and under another term.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::workload::Workload;
use slipstream_tests::agents::LONG;
use tokio::time::sleep;

use crate::world::{World, copy, plan, set};

pub(crate) async fn in_the_middle_of_bulks(world: &mut World, seed: u64) {
    let mut indices = plan(seed, "sync", 2).indices().to_vec();
    indices.extend_from_slice(plan(seed, "async", 2).indices());
    let workload = Workload::new(seed).with_indices(indices).within_one_cluster();
    world.followed(&workload, json!({})).await;
    set(
        &world.source(),
        "async",
        json!({ "translog.durability": "async" }),
    )
    .await;

    let writers = workload.start(&world.leader.url());
    for _ in 0..2 {
        sleep(Duration::from_secs(2)).await;
        world
            .leader
            .restart()
            .await
            .expect("the leader cluster comes back");
    }
    sleep(Duration::from_secs(1)).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0 && summary.unanswered > 0, "{summary:?}");
    for name in ["sync", "async"] {
        world.equal(name).await;
        world.tailed(name).await;
    }
}

/// A cluster that has just started says for a moment that it has no indices. Neither side may take that for a deletion.
pub(crate) async fn before_the_state_is_recovered(world: &mut World, seed: u64) {
    let workload = plan(seed, "recovered", 2);
    world.followed(&workload, json!({})).await;
    let writers = workload.start(&world.leader.url());
    sleep(Duration::from_secs(1)).await;
    world.leader.restart().await.expect("the cluster comes back");
    sleep(Duration::from_secs(1)).await;
    writers.stop().await;
    world
        .agents
        .wait_for_status(&copy("recovered"), "SYNCING", LONG)
        .await;
    world.equal("recovered").await;
    world.tailed("recovered").await;
}
