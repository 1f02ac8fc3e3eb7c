//! Trouble on the target cluster: it says no, says not now, says nothing, or was changed behind our back.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{Options, SOON};

use slipstream_tests::world::{World, pass};

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_mapping_on_the_target_fails_the_index_and_names_the_field() {
    let world = World::start().await;
    world.following().await;
    world
        .target
        .put(
            "/f/_mapping",
            &json!({ "properties": { "price": { "type": "keyword" } } }),
        )
        .await;
    world.leader.put("/lead/_doc/a", &json!({ "price": 12 })).await;
    let words = [
        "the target refuses the mapping of [lead]",
        "price",
        "keyword",
        "long",
    ];
    world.held("FAILED", &words).await;
    assert_eq!(
        world.target.es.get("/f/_doc/a").await.0,
        404,
        "written under a guessed type"
    );
    assert_eq!(world.target.count("f").await, 10);

    // Trying again does not help, and says so again.
    world.agents.command("f", "_resume").await;
    world.held("FAILED", &words).await;

    world.agents.command("f", "_stop").await;
    world.target.delete("/f").await;
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failed_index_does_not_stop_another() {
    let world = World::start().await;
    world.following().await;
    world.create("lead2", json!({}), json!({})).await;
    world.agents.follow("g", "lead2").await;
    world
        .target
        .put(
            "/f/_mapping",
            &json!({ "properties": { "price": { "type": "keyword" } } }),
        )
        .await;
    world.leader.put("/lead/_doc/a", &json!({ "price": 12 })).await;
    world
        .held("FAILED", &["the target refuses the mapping of [lead]"])
        .await;
    world.goes_on("lead2", "g").await;
    assert_eq!(world.agents.status("g").await["status"], "SYNCING");
    assert_eq!(world.agents.status("f").await["status"], "FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_index_that_waits_does_not_stop_another() {
    let world = World::start().await;
    world.following().await;
    world.create("lead2", json!({}), json!({})).await;
    world
        .target
        .put("/f/_settings", &json!({ "index.blocks.write": true }))
        .await;
    for block in 0..10 {
        world
            .leader
            .write_padded("lead", block * 100..block * 100 + 100, 20_000)
            .await;
    }
    world.waits(&["the target (blocked)"]).await;
    world.agents.follow("g", "lead2").await;
    world.leader.write_padded("lead2", 0..100, 20_000).await;
    world.goes_on("lead2", "g").await;
    world.waits(&["the target (blocked)"]).await;
    world
        .target
        .put("/f/_settings", &json!({ "index.blocks.write": null }))
        .await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_target_index_is_waited_for() {
    let world = World::start().await;
    world.following().await;
    for (block, words) in [
        ("index.blocks.write", ["blocked", "FORBIDDEN/8"]),
        ("index.blocks.read_only", ["blocked", "FORBIDDEN/5"]),
        ("index.blocks.read_only_allow_delete", ["blocked", "flood stage"]),
    ] {
        world.target.put("/f/_settings", &json!({ block: true })).await;
        world.leader.write("lead", 10..20).await;
        world
            .leader
            .put("/lead/_doc/new", &json!({ block: "a new field" }))
            .await;
        world.waits(&words).await;
        world.target.put("/f/_settings", &json!({ block: null })).await;
        world.goes_on("lead", "f").await;
        let status = world.agents.status("f").await;
        assert_eq!(status["waiting_for"], serde_json::Value::Null, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_throttles_is_waited_for() {
    let world = World::start().await;
    world.following().await;
    let faults = world.target.faults();
    faults.reject_bulks(u32::MAX);
    world.leader.write("lead", 10..200).await;
    world
        .waits(&[
            "the target",
            "429",
            "es_rejected_execution_exception",
            "the cluster is overloaded",
        ])
        .await;
    assert_eq!(world.target.count("f").await, 10);
    faults.clear();
    world.goes_on("lead", "f").await;

    faults.reject_items(u32::MAX);
    world.leader.write("lead", 200..400).await;
    world.waits(&["the target (throttled)"]).await;
    // Some items of a bulk pass and some do not.
    faults.reject_items(500);
    world.goes_on("lead", "f").await;
    let details = world.agents.details("f").await;
    assert!(details["shards"][0]["retries"].as_u64() > Some(2), "{details}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_and_refusals_of_the_whole_cluster_lose_nothing() {
    let world = World::start().await;
    world.following().await;
    let faults = world.target.faults();
    for round in 0..4 {
        let first = 100 * round;
        faults.lose_answers(2);
        world.leader.write("lead", first..first + 50).await;
        world.leader.delete(&format!("/lead/_doc/{first}")).await;
        faults.unavailable(3);
        world.equal("lead", "f").await;
    }
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_the_target_rejects_is_named_and_waits_for_the_operator() {
    let world = World::start().await;
    world
        .create("lead", json!({}), json!({ "dynamic": "false" }))
        .await;
    world.leader.write("lead", 0..10).await;
    world.agents.follow("f", "lead").await;
    world.equal("lead", "f").await;
    world
        .target
        .put("/f/_mapping", &json!({ "dynamic": "strict" }))
        .await;
    world
        .leader
        .put("/lead/_doc/odd-one", &json!({ "never": "seen" }))
        .await;
    let words = [
        "the target rejected document [odd-one] of [f][0] (seq_no 10)",
        "strict_dynamic_mapping_exception",
        "[never]",
    ];
    world.held("FAILED", &words).await;
    world.agents.follower.logged(&["phase=FAILED", "odd-one"]).await;
    world.leader.write("lead", 10..20).await;

    world
        .target
        .put("/f/_mapping", &json!({ "dynamic": "false" }))
        .await;
    world.agents.command("f", "_resume").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_limit_that_was_lowered_on_the_target_becomes_the_leaders_again() {
    let world = World::start().await;
    world.following().await;
    world
        .target
        .put("/f/_settings", &json!({ "index.mapping.total_fields.limit": 3 }))
        .await;
    world
        .leader
        .put("/lead/_doc/wide", &json!({ "a": 1, "b": 2, "c": 3 }))
        .await;
    // The leader has no such limit, so the agent takes it away before it gives up.
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_another_index_writes_through_keeps_nothing_else_away() {
    let world = World::start().await;
    world.following().await;
    world
        .target
        .put(
            "/other",
            &json!({ "aliases": { "writes": { "is_write_index": true } } }),
        )
        .await;
    world
        .leader
        .put("/lead/_alias/writes", &json!({ "is_write_index": true }))
        .await;
    world.leader.put("/lead/_alias/reads", &json!({})).await;
    world.leader.write("lead", 10..20).await;
    eventually("the documents and the other alias arrive", SOON, async || {
        let (_, held) = world.target.es.get("/f/_alias").await;
        let count = world.target.count("f").await;
        if count == 20 && held["f"]["aliases"]["reads"].is_object() {
            Ok(())
        } else {
            Err(format!("{count} documents, {held}"))
        }
    })
    .await;
    let status = world.agents.status("f").await;
    assert_eq!(status["status"], "SYNCING", "{status}");
    let told = status["warnings"].to_string();
    for words in [
        "the target refuses the alias [writes]",
        "more than one write index [f,other]",
    ] {
        assert!(told.contains(words), "`{words}` is not in: {status}");
    }

    // One that is started now is made all the same.
    world.agents.follow("g", "lead").await;
    world.agents.wait_for_status("g", "SYNCING", SOON).await;
    world.agents.command("g", "_stop").await;
    world.target.delete("/g").await;

    world.target.delete("/other").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_when_the_agent_starts_is_named() {
    let mut world = World::prepare(Options::default()).await;
    world.target.down().await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 0..10).await;
    world.start_leader().await;
    world.start_follower_alone().await;
    world.agents.register().await;
    world
        .agents
        .follower
        .logged(&["WARN", "the cluster does not answer yet", &world.target.url()])
        .await;
    let words = ["the target cluster", &world.target.url(), "cannot connect"];
    world.refused("lead", 503, "replication_exception", &words).await;

    world.target.up().await;
    world.agents.follow_eventually("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_away_is_waited_for_also_over_a_restart_of_the_agent() {
    let mut world = World::start().await;
    world.following().await;
    world.target.down().await;
    world.leader.write("lead", 10..50).await;
    world.leader.delete("/lead/_doc/3").await;
    world.waits(&["the target", &world.target.url()]).await;

    world.agents.follower.kill();
    world.start_follower_alone().await;
    world
        .waits(&["the target", &world.target.url(), "cannot connect"])
        .await;

    world.target.up().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_index_that_was_deleted_is_not_made_again_by_guessing() {
    let world = World::start().await;
    world.following().await;
    world.target.delete("/f").await;
    // The agent trusts its last look at the index for a second.
    pass(Duration::from_millis(1_200)).await;
    world.leader.write("lead", 10..20).await;
    world
        .held(
            "FAILED",
            &["the follower index [f] was deleted", "stop it, then start again"],
        )
        .await;
    assert!(!world.target.exists("f").await);

    world.agents.command("f", "_stop").await;
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

/// Too quick for the agent to see it: the engine makes an index anew for whoever writes to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_index_that_was_deleted_between_two_writes_is_told_of_at_once() {
    let world = World::start().await;
    world.following().await;
    world.target.delete("/f").await;
    world.leader.write("lead", 10..20).await;
    let said = world.held("FAILED", &["the follower index", "was deleted"]).await;
    world.agents.command("f", "_stop").await;
    if world.target.exists("f").await {
        for remedy in ["made by the last write", "stop the replication, delete the index"] {
            assert!(said.contains(remedy), "{said}");
        }
        world.target.delete("/f").await;
    }
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_index_that_was_replaced_is_left_alone() {
    let mut world = World::start().await;
    world.following().await;
    world.agents.follower.kill();
    world.target.delete("/f").await;
    world.target.put("/f/_doc/theirs", &json!({ "keep": "me" })).await;
    world.leader.write("lead", 10..20).await;
    world.start_follower().await;
    world
        .held(
            "FAILED",
            &["the follower index [f] was deleted or replaced on the target"],
        )
        .await;
    assert_eq!(world.target.count("f").await, 1);
    world.agents.command("f", "_stop").await;
    eventually("nothing of ours stays on it", SOON, async || {
        let (_, settings) = world.target.es.get("/f/_settings?flat_settings=true").await;
        let ours = settings["f"]["settings"].get("index.gc_deletes").is_some();
        if ours { Err(settings.to_string()) } else { Ok(()) }
    })
    .await;
}
