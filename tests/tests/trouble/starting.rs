//! `_start` that cannot be: refused at once, in words, with nothing left behind.

use serde_json::json;
use slipstream_tests::agents::{ALIAS, Options, SOON};

use slipstream_tests::world::{World, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_leader_alias_is_named() {
    let world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    let body = json!({ "leader_alias": "nobody", "leader_index": "lead" });
    let (status, answer) = world
        .agents
        .gateway
        .put("/_plugins/_replication/f/_start", &body)
        .await;
    let kind = "no_such_remote_cluster_exception";
    refusal(
        (status, &answer),
        404,
        kind,
        &["no such remote cluster: [nobody]"],
    );
    assert!(!world.target.exists("f").await);
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_agent_that_is_not_there_is_named_by_its_address() {
    let mut world = World::prepare(Options::default()).await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 0..10).await;
    world.start_follower().await;
    let seed = format!("127.0.0.1:{}", world.agents.leader_port());
    let body = json!({ "persistent": { "cluster": { "remote": { ALIAS: { "seeds": [seed] } } } } });
    assert_eq!(world.agents.gateway.put("/_cluster/settings", &body).await.0, 200);
    let words = [
        "cannot reach the leader agent at",
        seed.as_str(),
        "check that it runs",
        "Connection refused",
    ];
    world.refused("lead", 503, "replication_exception", &words).await;
    assert!(!world.target.exists("f").await);

    world.agents.leader.start();
    world.agents.follow_eventually("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_index_that_is_missing_is_named() {
    let world = World::start().await;
    world
        .refused(
            "lead",
            404,
            "index_not_found_exception",
            &["no such index [lead]"],
        )
        .await;
    assert!(!world.target.exists("f").await);
    world.following().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_no_leader_index() {
    let world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.put("/lead/_alias/logs", &json!({})).await;
    world
        .refused(
            "logs",
            404,
            "index_not_found_exception",
            &["no such index [logs]"],
        )
        .await;
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_leader_index_is_to_be_opened_first() {
    let world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 0..10).await;
    world.leader.call("/lead/_close").await;
    let words = ["leader index [lead] is closed; open it first"];
    world
        .refused("lead", 400, "illegal_argument_exception", &words)
        .await;
    assert!(!world.target.exists("f").await);
    world.leader.call("/lead/_open").await;
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_follows_already_is_left_as_it_is() {
    let world = World::start().await;
    world.following().await;
    let (status, answer) = world.agents.try_follow("f", "lead").await;
    let words = ["Cant use same index again for replication. Delete the index:f"];
    refusal((status, &answer), 400, "illegal_argument_exception", &words);
    assert_eq!(world.agents.status("f").await["status"], "SYNCING");
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_its_source_cannot_be_followed() {
    let world = World::start().await;
    world
        .create("lead", json!({}), json!({ "_source": { "enabled": false } }))
        .await;
    let words = [
        "leader index [lead] cannot be replicated exactly",
        "_source is disabled",
    ];
    world
        .refused("lead", 400, "illegal_argument_exception", &words)
        .await;
    assert!(!world.target.exists("f").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_index_is_refused_and_untouched() {
    let world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 0..10).await;
    world
        .target
        .put("/f/_doc/precious", &json!({ "keep": "me" }))
        .await;
    let before = world.target.es.get("/f/_settings").await.1;
    let words = ["Cant use same index again for replication. Delete the index:f"];
    world
        .refused("lead", 400, "illegal_argument_exception", &words)
        .await;
    assert_eq!(world.target.es.get("/f/_settings").await.1, before);
    assert_eq!(
        world.target.es.get("/f/_doc/precious").await.1["_source"],
        json!({ "keep": "me" })
    );
    assert_eq!(world.target.count("f").await, 1);

    world.target.delete("/f").await;
    world.agents.follow("f", "lead").await;
    world.agents.wait_for_status("f", "SYNCING", SOON).await;
    world.goes_on("lead", "f").await;
}
