//! Flushes take generations away, faster than a slow follower lets them be read, or while it is away altogether: the
//! window reader fills the hole, and then the tail serves again. And what no flush and no refresh brings, the end of a
//! burst under `async` durability.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::LONG;
use slipstream_tests::real::flush_storm;
use tokio::time::sleep;

use crate::world::{World, bulk, call, copy, numbers, plan, set};

pub(crate) async fn a_storm_of_them_and_a_slow_link(world: &World, seed: u64) {
    let workload = plan(seed, "flushed", 2);
    world
        .followed(&workload, json!({ "translog.generation_threshold_size": "64kb" }))
        .await;
    world.agents.link.set_bandwidth(Some(20_000));
    let writers = workload.start(&world.leader.url());
    // The files are read no faster than the link takes it, and the status is true meanwhile.
    eventually("the status shows how far behind it is", LONG, async || {
        let details = world.agents.details(&copy("flushed")).await;
        let behind = |shard: &Value| {
            shard["lag_seconds"].as_f64() > Some(1.0)
                && shard["leader_checkpoint"].as_i64() > shard["follower_checkpoint"].as_i64()
        };
        let shards = details["shards"].as_array().cloned().unwrap_or_default();
        if shards.iter().all(behind) {
            Ok(())
        } else {
            Err(details.to_string())
        }
    })
    .await;
    flush_storm(world.source(), Duration::from_secs(5)).await;
    world.agents.link.resume();
    flush_storm(world.source(), Duration::from_secs(2)).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    world.equal("flushed").await;
    world.tailed("flushed").await;
    nothing_is_pinned(world).await;
}

/// What the leader has removed is held open only until it is read: its disk space is the leader's again.
async fn nothing_is_pinned(world: &World) {
    let pid = world.agents.leader.pid().expect("the leader agent runs");
    eventually(
        "the leader agent holds no file that was removed",
        LONG,
        async || {
            let held: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
                .expect("descriptors")
                .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .filter(|file| file.to_string_lossy().ends_with("(deleted)"))
                .collect();
            if held.is_empty() {
                Ok(())
            } else {
                Err(format!("{held:?}"))
            }
        },
    )
    .await;
}

/// The follower agent is down while the leader writes and flushes: its translog does not reach back to where the follower
/// stands.
pub(crate) async fn while_the_follower_is_away(world: &mut World, seed: u64) {
    let workload = plan(seed, "away", 2);
    world.followed(&workload, json!({})).await;
    world.agents.follower.kill();
    for _ in 0..3 {
        world.write(&workload, Duration::from_millis(700)).await;
        call(&world.source(), "/away/_flush?force=true").await;
    }
    world.agents.follower.start();
    world.agents.wait_for_gateway().await;
    world.left("its translog does not hold operation").await;
    world.equal("away").await;
    world.tailed("away").await;
}

/// I1: a burst's end stays unacknowledged for up to 30 s in the files, unless somebody asks for it.
pub(crate) async fn bursts_under_async_durability(world: &World) {
    let leader = world.source();
    let settings = json!({ "number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "-1" });
    assert_eq!(
        leader.put("/bursts", &json!({ "settings": settings })).await.0,
        200
    );
    set(&leader, "bursts", json!({ "translog.durability": "async" })).await;
    world.follow("bursts").await;
    world.tailed("bursts").await;
    for burst in 0..2 {
        for portion in 0..5 {
            let first = burst * 1000 + portion * 100;
            bulk(&leader, "bursts", first..first + 100).await;
            // Read in this order: what the follower had by then the leader had acknowledged by now.
            let followed = world.followed_to("bursts").await;
            let acknowledged = numbers(&leader, "bursts", "global_checkpoint").await;
            assert!(
                followed
                    .iter()
                    .all(|(shard, checkpoint)| acknowledged.get(shard) >= Some(checkpoint)),
                "{followed:?} was applied, {acknowledged:?} is acknowledged"
            );
            sleep(Duration::from_millis(50)).await;
        }
        // Left alone it would take 30 s.
        world.caught_up("bursts", Duration::from_secs(25)).await;
    }
    world.equal("bursts").await;
}
