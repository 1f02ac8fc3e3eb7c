//! A leader index that is deleted, and whether its follower goes with it.

use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::SOON;
use slipstream_tests::world::World;

async fn switch(world: &World, on: bool) {
    let body = json!({ "persistent": { "plugins.replication.replicate.delete_index": on } });
    let (status, answer) = world.agents.gateway.put("/_cluster/settings", &body).await;
    assert_eq!(status, 200, "{answer}");
}

/// Waits until `f` neither follows nor exists.
async fn gone(world: &World) {
    eventually("[f] has gone with its leader", SOON, async || {
        let status = world.agents.status("f").await;
        let exists = world.target.exists("f").await;
        if status["status"] == "REPLICATION NOT IN PROGRESS" && !exists {
            Ok(())
        } else {
            Err(format!("{status}, exists: {exists}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_goes_with_its_leader_index_only_where_that_is_wanted_and_sure() {
    let mut world = World::start().await;
    world.following().await;
    switch(&world, true).await;

    // Not for a leader that cannot be asked, nor for one that is closed.
    world.agents.leader.kill();
    world.waits(&["cannot reach the leader agent"]).await;
    world.start_leader().await;
    world.goes_on("lead", "f").await;
    world.leader.call("/lead/_close").await;
    world.held("PAUSED", &["is closed"]).await;
    world.leader.call("/lead/_open").await;
    world.goes_on("lead", "f").await;

    // Nor for one that we may not ask: it may be there.
    world.edit("leader.toml", "indices = [\"*\"]", "indices = [\"lead-no-more\"]");
    world.agents.leader.reload();
    world.held("FAILED", &["may not read the index [lead]"]).await;
    world.leader.delete("/lead").await;
    world.agents.command("f", "_resume").await;
    world.held("FAILED", &["may not read the index [lead]"]).await;
    assert!(world.target.exists("f").await);

    // Made anew under the same name it is another index, and what there is of the old one may be wanted more than ever.
    world.create("lead", json!({}), json!({})).await;
    world.edit("leader.toml", "indices = [\"lead-no-more\"]", "indices = [\"*\"]");
    world.agents.leader.reload();
    eventually("it is held for another reason", SOON, async || {
        let status = world.agents.status("f").await;
        let reason = status["reason"].as_str().unwrap_or_default();
        if status["status"] == "PAUSED" && reason.contains("deleted and created again") {
            return Ok(());
        }
        // Until the rules are in force it fails again.
        if status["status"] == "FAILED" {
            world.agents.command("f", "_resume").await;
        }
        Err(status.to_string())
    })
    .await;
    assert!(world.target.count("f").await >= 10);

    // Deleted and not made anew it is gone for sure.
    world.leader.delete("/lead").await;
    world.agents.command("f", "_resume").await;
    gone(&world).await;

    // The name is free again.
    world.following().await;
    switch(&world, false).await;
    world.leader.delete("/lead").await;
    world.held("PAUSED", &["was deleted"]).await;
    assert_eq!(world.target.count("f").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_with_the_leader_is_carried_through_over_restarts() {
    let mut world = World::start().await;
    world.following().await;
    switch(&world, true).await;
    world.target.down().await;
    world.leader.delete("/lead").await;
    world.agents.wait_for_status("f", "STOPPING", SOON).await;
    world.agents.follower.kill();
    world.start_follower_alone().await;
    world.agents.wait_for_status("f", "STOPPING", SOON).await;
    world.target.up().await;
    gone(&world).await;
    assert!(
        world
            .agents
            .follower
            .log()
            .contains("[plugins.replication.replicate.delete_index] is on")
    );

    // Another index that has got the name meanwhile is not ours to delete.
    world.following().await;
    world.target.down().await;
    world.leader.delete("/lead").await;
    world.agents.wait_for_status("f", "STOPPING", SOON).await;
    world.agents.follower.kill();
    world.target.up().await;
    world.target.delete("/f").await;
    world.target.put("/f/_doc/mine", &json!({ "mine": true })).await;
    world.start_follower().await;
    world
        .agents
        .wait_for_status("f", "REPLICATION NOT IN PROGRESS", SOON)
        .await;
    assert_eq!(world.target.count("f").await, 1);
}
