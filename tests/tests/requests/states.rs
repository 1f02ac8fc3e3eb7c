//! What can be asked of an index in which state, and what a refusal leaves behind.

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{ALIAS, SOON};
use slipstream_tests::world::{World, refusal};

use super::{BASE, create};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_can_be_followed_in_turn() {
    let world = World::start().await;
    world.following().await;
    let mut second = world.agents.one_more_leader("second", &world.target.url()).await;
    second.process.start();
    second.process.logged(&["listening", "follower agents"]).await;
    let body =
        json!({ "persistent": { "cluster.remote.second.seeds": [second.link.address().to_string()] } });
    assert_eq!(world.agents.gateway.put("/_cluster/settings", &body).await.0, 200);
    let start = json!({ "leader_alias": "second", "leader_index": "f" });
    let (status, answer) = world
        .agents
        .gateway
        .put(&format!("{BASE}/g/_start?wait_for_restore"), &start)
        .await;
    assert_eq!(status, 200, "{answer}");
    world.leader.write("lead", 20..25).await;
    world.leader.delete("/lead/_doc/21").await;
    world.equal("lead", "f").await;
    eventually("the follower's follower has it all", SOON, async || {
        match world.target.count("g").await {
            14 => Ok(()),
            count => Err(format!("{count} documents")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_the_target_refuses_leaves_nothing_behind() {
    let world = World::start().await;
    create(&world, &["lead"]).await;
    let path = format!("{BASE}/f/_start");
    let start =
        |settings: Value| json!({ "leader_alias": ALIAS, "leader_index": "lead", "settings": settings });
    for (settings, words) in [
        (json!({ "index.bogus": 1 }), "index.bogus"),
        (
            json!({ "index.number_of_replicas": "many" }),
            "index.number_of_replicas",
        ),
        (
            json!({ "index.number_of_shards": 3 }),
            "the follower's shards must be the leader's",
        ),
        // The incumbent's own, which only a node with its plugin knows.
        (
            json!({ "index.plugins.replication.follower.ops_batch_size": 100 }),
            "index.plugins.replication.follower.ops_batch_size",
        ),
    ] {
        let (status, answer) = world.agents.gateway.put(&path, &start(settings)).await;
        refusal((status, &answer), 400, "illegal_argument_exception", &[words]);
        assert_eq!(
            world.agents.status("f").await["status"],
            "REPLICATION NOT IN PROGRESS"
        );
        assert!(!world.target.exists("f").await, "{words}");
    }
    let (status, answer) = world.agents.gateway.put(&path, &start(json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_failed_cannot_be_paused_but_resumed_and_stopped() {
    let world = World::start().await;
    world.following().await;
    let (all, none) = ("indices = [\"*\"]", "indices = [\"nothing\"]");
    for end in ["_resume", "_stop"] {
        world.edit("leader.toml", all, none);
        world.agents.leader.reload();
        world.held("FAILED", &["may not read the index [lead]"]).await;
        let (status, answer) = world
            .agents
            .gateway
            .post(&format!("{BASE}/f/_pause"), &json!({}))
            .await;
        let words = ["Cannot pause when in FAILED state"];
        refusal((status, &answer), 400, "illegal_argument_exception", &words);
        // Overrides are kept for when it goes on.
        let update = json!({ "settings": { "index.number_of_replicas": 0 } });
        let (status, answer) = world
            .agents
            .gateway
            .put(&format!("{BASE}/f/_update"), &update)
            .await;
        assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
        world.edit("leader.toml", none, all);
        world.agents.leader.reload();
        if end == "_stop" {
            world.agents.command("f", end).await;
            continue;
        }
        eventually("it goes on once the rules are in force", SOON, async || {
            let status = world.agents.status("f").await;
            match status["status"].as_str() {
                Some("SYNCING") if !status["syncing_details"].is_null() => return Ok(()),
                Some("FAILED") => world.agents.command("f", end).await,
                _ => {}
            }
            Err(status.to_string())
        })
        .await;
        world.goes_on("lead", "f").await;
    }
    world.target.put("/f/_doc/mine", &json!({ "n": -1 })).await;
}
