//! What an index goes through while it is tailed: merged by force, closed and reopened, deleted. The status says so as
//! it does under the window reader.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_testkit::workload::mapping;
use slipstream_tests::agents::SOON;
use tokio::time::sleep;

use crate::world::{World, bulk, call, copy, plan, set};

/// Waits until the copy is held, for a reason with these words in it.
async fn held(world: &World, words: &str) {
    eventually(&format!("it is held: {words}"), SOON, async || {
        let status = world.agents.status(&copy("lives")).await;
        let reason = status["reason"].as_str().unwrap_or_default();
        if status["status"] == "PAUSED" && reason.contains(words) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}

pub(crate) async fn merged_closed_reopened_and_deleted(world: &World, seed: u64) {
    let leader = world.source();
    let workload = plan(seed, "lives", 2);
    world.followed(&workload, json!({})).await;

    let writers = workload.start(&world.leader.url());
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        call(&leader, "/lives/_forcemerge?max_num_segments=1").await;
    }
    writers.stop().await;
    world.equal("lives").await;
    world.tailed("lives").await;

    call(&leader, "/lives/_close").await;
    held(world, "is closed; its follower goes on by itself").await;
    call(&leader, "/lives/_open").await;
    bulk(&leader, "lives", 0..50).await;
    world.equal("lives").await;
    world.tailed("lives").await;

    // In the middle of writes, none of which may make it again.
    let settings = json!({ "persistent": { "action.auto_create_index": "false" } });
    assert_eq!(leader.put("/_cluster/settings", &settings).await.0, 200);
    let writers = workload.start(&world.leader.url());
    sleep(Duration::from_millis(500)).await;
    assert_eq!(leader.delete("/lives").await.0, 200);
    held(world, "was deleted").await;
    drop(writers);
}

/// An index that was split hashes its documents onto more shards than it has, and its translog begins in the middle.
pub(crate) async fn split_from_another(world: &World, seed: u64) {
    let leader = world.source();
    let settings = json!({ "number_of_shards": 1, "number_of_routing_shards": 8, "number_of_replicas": 0 });
    let body = json!({ "settings": settings, "mappings": mapping() });
    assert_eq!(leader.put("/whole", &body).await.0, 200);
    world
        .write(&plan(seed, "whole", 1), Duration::from_millis(700))
        .await;
    set(&leader, "whole", json!({ "blocks.write": true })).await;
    let settings = json!({ "index.number_of_shards": 4, "index.blocks.write": null });
    let (status, answer) = leader
        .put("/whole/_split/parts", &json!({ "settings": settings }))
        .await;
    assert_eq!(status, 200, "{answer}");
    world.follow("parts").await;
    world.tailed("parts").await;
    world
        .write(&plan(seed + 1, "parts", 4), Duration::from_millis(700))
        .await;
    world.equal("parts").await;
    world.tailed("parts").await;
}
