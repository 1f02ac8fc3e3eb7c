//! The leader's disk fills up while its translog is read. The engine fails what it cannot write, gives up the shard after some
//! tries, and an operator makes room. What it acknowledged before and after arrives, and nothing that it did not.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
use slipstream_tests::agents::{LONG, Options};

use crate::world::{World, bulk, copy};

/// Enough for the engine's own files and a translog, and soon full.
const DISK_MB: u32 = 96;

pub(crate) async fn full_and_emptied(release: Release) {
    let config = ServerConfig {
        disk_mb: Some(DISK_MB),
        // Else the cluster makes indices read-only long before anything fails.
        ..ServerConfig::named("small").with("cluster.routing.allocation.disk.threshold_enabled", "false")
    };
    let Some(leader) = or_skip(Server::start(release, config).await) else {
        return;
    };
    let Some(target) = or_skip(Server::ready(release, ServerConfig::named("target")).await) else {
        return;
    };
    let world = World::of(leader, Some(target), Options::default()).await;
    let source = world.source();
    let body =
        json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" } });
    assert_eq!(source.put("/small", &body).await.0, 200);
    bulk(&source, "small", 0..100).await;
    world.follow("small").await;
    world.tailed("small").await;
    world.caught_up("small", LONG).await;

    world.leader.fill_disk().expect("the disk can be filled");
    let acknowledged = write_until_it_fails(&source).await;
    // As far as the follower knows there is trouble, and it says so or has seen nothing of it; it never gives up by itself.
    let status = world.agents.status(&copy("small")).await;
    assert_eq!(status["status"], "SYNCING", "{status}");

    world.leader.empty_disk().expect("there is room again");
    eventually("the shard is back", LONG, async || {
        let (status, answer) = source.post_bytes("/_cluster/reroute?retry_failed=true", "").await;
        let (_, health) = source.get("/_cluster/health/small").await;
        if status == 200 && health["status"] == "green" {
            Ok(())
        } else {
            Err(format!("{status}: {} {health}", answer["acknowledged"]))
        }
    })
    .await;
    bulk(&source, "small", 200_000..200_100).await;
    world.caught_up("small", LONG).await;
    world.equal("small").await;
    world.tailed("small").await;
    // What was acknowledged is on both sides, for both are equal; and it was not lost on the leader either.
    let (_, found) = source.get("/small/_count").await;
    assert!(found["count"].as_u64() >= Some(200 + acknowledged), "{found}");
}

/// Writes documents until the engine has refused some for want of space. How many it acknowledged.
async fn write_until_it_fails(source: &Es) -> u64 {
    let mut acknowledged = 0;
    let text = "x".repeat(2_000);
    for id in 0..50_000 {
        let path = format!("/small/_doc/full-{id}?timeout=1s");
        let body = json!({ "text": text }).to_string().into_bytes();
        let put = source.try_send("PUT", &path, Some(("application/json", body)));
        match tokio::time::timeout(Duration::from_secs(30), put).await {
            Ok(Ok((200 | 201, _))) => acknowledged += 1,
            Ok(Ok((status, answer))) => {
                let reason = String::from_utf8_lossy(&answer);
                assert!(status >= 500 || status == 429, "{status}: {reason}");
                return acknowledged;
            }
            Ok(Err(_)) | Err(_) => return acknowledged,
        }
    }
    panic!("the disk is not full after {acknowledged} documents")
}
