//! Trouble on the leader's side: an index that is gone, closed or another one; a cluster or an agent that is away.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::SOON;

use slipstream_tests::world::{World, pass, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_index_that_is_deleted_pauses_its_follower_and_takes_nothing_from_it() {
    let world = World::start().await;
    world.following().await;
    world.leader.delete("/lead").await;
    let words = ["the leader index of [lead][0] was deleted", "stop following it"];
    world.held("PAUSED", &words).await;
    assert_eq!(world.target.count("f").await, 10);
    world.agents.command("f", "_resume").await;
    world.held("PAUSED", &["was deleted"]).await;

    world.agents.command("f", "_stop").await;
    assert_eq!(world.target.count("f").await, 10);
    world.target.put("/f/_doc/mine", &json!({ "n": 1 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_leader_index_replaced_while_the_follower_was_down_pauses_it_and_nothing_is_written() {
    let mut world = World::start().await;
    world.following().await;
    world.agents.follower.kill();
    let before =
        world.target.es.get("/f/_stats?level=shards").await.1["indices"]["f"]["shards"]["0"][0]["seq_no"]
            .clone();
    world.leader.delete("/lead").await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 100..130).await;

    world.start_follower().await;
    let words = [
        "deleted and created again",
        "stop, delete the follower index and start again",
    ];
    world.held("PAUSED", &words).await;
    // Also after an operator's "go on": this is another index.
    world.agents.command("f", "_resume").await;
    world.held("PAUSED", &words).await;
    let after =
        world.target.es.get("/f/_stats?level=shards").await.1["indices"]["f"]["shards"]["0"][0]["seq_no"]
            .clone();
    assert_eq!(after, before);
    assert_eq!(world.target.count("f").await, 10);

    world.agents.command("f", "_stop").await;
    world.target.delete("/f").await;
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_index_that_is_closed_pauses_its_follower_and_opened_it_goes_on_by_itself() {
    let mut world = World::start().await;
    world.following().await;
    let closed = ["the leader index of [lead][0] is closed; its follower goes on by itself once it is open"];
    for round in 1..4 {
        world.leader.write("lead", round * 10..round * 10 + 10).await;
        world.leader.call("/lead/_close").await;
        world.held("PAUSED", &closed).await;
        // Nobody has to be there to see it, nor all the time.
        if round == 2 {
            world.agents.follower.kill();
        }
        world.leader.call("/lead/_open").await;
        world.leader.delete(&format!("/lead/_doc/{round}")).await;
        if round == 2 {
            world.start_follower().await;
        }
        world.agents.wait_for_status("f", "SYNCING", SOON).await;
        world.goes_on("lead", "f").await;
    }

    // What an operator holds meanwhile stays held: he has another reason.
    world.leader.call("/lead/_close").await;
    world.held("PAUSED", &closed).await;
    let pause = json!({ "reason": "maintenance" });
    let (status, answer) = world
        .agents
        .gateway
        .post("/_plugins/_replication/f/_pause", &pause)
        .await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    world.leader.call("/lead/_open").await;
    pass(Duration::from_millis(2_500)).await;
    world.held("PAUSED", &["maintenance"]).await;
    world.agents.command("f", "_resume").await;
    world.goes_on("lead", "f").await;

    // Another index under that name is not what was closed.
    world.leader.call("/lead/_close").await;
    world.held("PAUSED", &closed).await;
    world.leader.delete("/lead").await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 500..510).await;
    pass(Duration::from_millis(2_500)).await;
    world.held("PAUSED", &closed).await;
    assert_ne!(world.target.count("f").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cluster_that_goes_away_is_waited_for() {
    let mut world = World::start().await;
    world.following().await;
    world.leader.down().await;
    world.waits(&["leader cluster failed", &world.leader.url()]).await;
    assert_eq!(world.agents.status("f").await["status"], "SYNCING");
    let (status, answer) = world.agents.try_follow("g", "lead").await;
    let words = ["cannot serve now", "leader cluster", "cannot connect"];
    refusal((status, &answer), 503, "replication_exception", &words);

    world.leader.up().await;
    world.leader.write("lead", 10..20).await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_agent_that_is_killed_is_waited_for() {
    let mut world = World::start().await;
    world.following().await;
    world.agents.leader.kill();
    world.leader.write("lead", 10..20).await;
    world.waits(&["leader agent"]).await;
    assert_eq!(world.agents.status("f").await["status"], "SYNCING");
    world.agents.leader.start();
    world.goes_on("lead", "f").await;
    for round in 2..5 {
        world.leader.write("lead", round * 10..round * 10 + 10).await;
        world.agents.leader.crash();
        world.leader.delete(&format!("/lead/_doc/{round}")).await;
    }
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_or_silent_is_waited_for() {
    let world = World::start().await;
    world.following().await;
    world.agents.link.cut();
    world.leader.write("lead", 10..20).await;
    world.waits(&["leader agent"]).await;
    world.agents.link.resume();
    world.goes_on("lead", "f").await;
    world.agents.link.corrupt(0.01, 7);
    world.leader.write("lead", 20..40).await;
    world.waits(&["leader agent"]).await;
    world.agents.link.resume();
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_a_limit_raised_on_the_leader_arrives_before_the_fields_that_need_it() {
    let mut world = World::start().await;
    world
        .create(
            "lead",
            json!({ "index.mapping.total_fields.limit": 5 }),
            json!({}),
        )
        .await;
    world.leader.write("lead", 0..10).await;
    world.agents.follow("f", "lead").await;
    world.agents.wait_for_status("f", "SYNCING", SOON).await;
    world.equal("lead", "f").await;
    world.agents.follower.kill();
    world
        .leader
        .put(
            "/lead/_settings",
            &json!({ "index.mapping.total_fields.limit": 20 }),
        )
        .await;
    world
        .leader
        .put("/lead/_doc/wide", &json!({ "a": 1, "b": 2, "c": 3, "d": 4 }))
        .await;
    world.start_follower().await;
    world.goes_on("lead", "f").await;

    // And the other way round: a limit lowered after the fields were made.
    world.agents.restart_follower(Duration::ZERO).await;
    world.agents.follower.kill();
    world
        .leader
        .put("/lead/_doc/wider", &json!({ "e": 1, "g": 2, "h": 3, "i": 4 }))
        .await;
    world
        .leader
        .put(
            "/lead/_settings",
            &json!({ "index.mapping.total_fields.limit": 5 }),
        )
        .await;
    world.start_follower().await;
    world.goes_on("lead", "f").await;
}

/// An index may give less in one answer than most do: what is gone of it is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn i3_deletes_are_found_in_an_index_with_small_answers() {
    let world = World::start().await;
    world
        .create("lead", json!({ "max_result_window": 20 }), json!({}))
        .await;
    world.leader.write("lead", 0..400).await;
    world.agents.follow("f", "lead").await;
    world.agents.wait_for_status("f", "SYNCING", SOON).await;
    for id in (0..400).step_by(3) {
        world.leader.delete(&format!("/lead/_doc/{id}")).await;
    }
    eventually("what is gone is gone", SOON, async || {
        match world.target.count("f").await {
            266 => Ok(()),
            count => Err(format!("{count} documents")),
        }
    })
    .await;
    // The comparison asks for more at once.
    let default = json!({ "index": { "max_result_window": null } });
    world.leader.put("/lead/_settings", &default).await;
    world.equal("lead", "f").await;
}
