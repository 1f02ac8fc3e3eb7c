//! Every kind of change arrives, with no refresh and no search on the leader: routed documents and their deletes (which keep
//! no routing in the log) over several shards, partitioned routing, versions that restart, mappings that change in the
//! middle.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::workload::{StormIndex, Workload, mapping};
use slipstream_tests::agents::LONG;
use tokio::time::sleep;

use crate::world::{World, bulk, copy, looks};

pub(crate) async fn every_kind(world: &World, seed: u64) {
    let names = ["spread", "restarting", "partitioned"];
    let indices = names.map(|name| StormIndex {
        name: name.to_owned(),
        shards: 3,
        versions_restart: name == "restarting",
    });
    for index in &indices {
        // Nothing would be found by searching: no index refreshes by itself.
        let mut settings =
            json!({ "number_of_shards": index.shards, "number_of_replicas": 0, "refresh_interval": "-1" });
        let mut mapping = mapping();
        if index.versions_restart {
            settings["gc_deletes"] = json!("0s");
        }
        if index.name == "partitioned" {
            settings["routing_partition_size"] = json!(2);
            mapping["_routing"] = json!({ "required": true });
        }
        let body = json!({ "settings": { "index": settings }, "mappings": mapping });
        let (status, answer) = world.source().put(&format!("/{}", index.name), &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let mut workload = Workload::new(seed).with_indices(indices.to_vec()).quietly();
    if world.is_alone() {
        workload = workload.within_one_cluster();
    }

    // What is in the translog already needs no other bootstrap.
    let writers = workload.start(&world.leader.url());
    sleep(Duration::from_secs(1)).await;
    for name in names {
        world.follow(name).await;
        world.tailed(name).await;
    }
    sleep(Duration::from_secs(2)).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    for name in names {
        world.caught_up(name, LONG).await;
        // Where both sides are one cluster the writers' realtime reads count like anybody's.
        let (_, searches) = looks(&world.source(), name).await;
        assert_eq!(searches, 0, "[{name}] was searched");
    }
    let log = world.agents.leader.log();
    assert!(
        !log.contains("the translog is not tailed"),
        "windows served for a while:\n{log}"
    );
    for name in names {
        world.equal(name).await;
        world.agents.wait_for_status(&copy(name), "SYNCING", LONG).await;
        world.tailed(name).await;
    }
}

/// I7: a field that documents had before anybody mapped it. What is written right after the mapping is found by it on the
/// follower too; what was written before may be found there and not on the leader, for its mapping was never too old.
pub(crate) async fn fields_that_are_mapped_late(world: &World) {
    const FIELDS: usize = 20;
    const EACH: u32 = 10;
    let (leader, target) = (world.source(), world.target());
    let body = json!({
        "settings": { "number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "-1" },
        "mappings": { "dynamic": false, "properties": { "when": { "type": "keyword" } } },
    });
    assert_eq!(leader.put("/late", &body).await.0, 200);
    world.follow("late").await;
    world.tailed("late").await;
    for field in 0..FIELDS {
        write_field(&leader, field, "before", EACH).await;
        let mapping = json!({ "properties": { format!("field_{field}"): { "type": "keyword" } } });
        assert_eq!(leader.put("/late/_mapping", &mapping).await.0, 200);
        write_field(&leader, field, "after", EACH).await;
    }
    world.caught_up("late", LONG).await;
    world.equal("late").await;
    for (server, index) in [(&leader, "late".to_owned()), (&target, copy("late"))] {
        for field in 0..FIELDS {
            let (_, found) = server
                .get(&format!("/{index}/_count?q=field_{field}:x+AND+when:after"))
                .await;
            assert_eq!(found["count"], EACH, "field_{field} of [{index}]: {found}");
        }
    }
}

async fn write_field(leader: &Es, field: usize, when: &str, count: u32) {
    let mut lines = String::new();
    for number in 0..count {
        let action = json!({ "index": { "_id": format!("{when}-{field}-{number}") } });
        let _ = writeln!(
            lines,
            "{action}\n{}",
            json!({ "when": when, format!("field_{field}"): "x" })
        );
    }
    let (status, answer) = leader.bulk("/late/_bulk", lines).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
}

/// Documents larger than anything that is read at once, and one that the log does not keep as JSON: windows bring it, and
/// the tail goes on behind it.
pub(crate) async fn large_and_foreign_documents(world: &World) {
    let leader = world.source();
    let body = json!({
        "settings": { "number_of_shards": 1, "number_of_replicas": 0 },
        "mappings": { "properties": { "text": { "type": "text", "index": false } } },
    });
    assert_eq!(leader.put("/odd", &body).await.0, 200);
    world.follow("odd").await;
    world.tailed("odd").await;
    for (round, megabytes) in [(0, 1), (1, 3), (2, 12)] {
        let text = "large ".repeat(megabytes * 1024 * 1024 / 6);
        let (status, answer) = leader
            .put(&format!("/odd/_doc/large-{round}"), &json!({ "text": text }))
            .await;
        assert_eq!(status, 201, "{answer}");
        bulk(&leader, "odd", round * 10..round * 10 + 10).await;
    }
    // {"counter": 7}
    let cbor = b"\xa1\x67counter\x07".to_vec();
    let put = leader
        .try_send("PUT", "/odd/_doc/cbor", Some(("application/cbor", cbor)))
        .await;
    assert!(put.as_ref().is_ok_and(|(status, _)| *status == 201), "{put:?}");
    bulk(&leader, "odd", 100..110).await;
    world.caught_up("odd", LONG).await;
    world.equal("odd").await;
    world.tailed("odd").await;
}

/// A shard that has been quiet for so long that it sleeps: a mapping that changes without a document arrives all the same, and the next
/// document as soon as ever.
pub(crate) async fn after_a_long_quiet(world: &World) {
    let (leader, target) = (world.source(), world.target());
    let body =
        json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" } });
    assert_eq!(leader.put("/quiet", &body).await.0, 200);
    world.follow("quiet").await;
    world.tailed("quiet").await;
    // Longer than what makes it quiet.
    sleep(Duration::from_secs(35)).await;
    let mapping = json!({ "properties": { "late": { "type": "keyword" } } });
    assert_eq!(leader.put("/quiet/_mapping", &mapping).await.0, 200);
    eventually("the mapping has arrived", Duration::from_secs(15), async || {
        let (_, found) = target.get(&format!("/{}/_mapping", copy("quiet"))).await;
        let kind = &found[copy("quiet")]["mappings"]["properties"]["late"]["type"];
        if kind == "keyword" {
            Ok(())
        } else {
            Err(found.to_string())
        }
    })
    .await;
    bulk(&leader, "quiet", 0..10).await;
    world.caught_up("quiet", Duration::from_secs(10)).await;
    world.equal("quiet").await;
}
