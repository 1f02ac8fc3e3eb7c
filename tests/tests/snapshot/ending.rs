//! Commands in the middle of a restore, when neither the target nor the agent stays up long enough to clear up.

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_tests::agents::{LONG, SOON};

use super::world::{World, copy};

/// An index whose restore goes on until it is ended: the target may read a few kilobytes a second.
pub(crate) async fn restoring(world: &World, index: &str) {
    recovers(&world.target(), json!("20kb")).await;
    world.fill(index, 30_000).await;
    world.agents.follow(&copy(index), index).await;
    eventually("the target restores", LONG, async || {
        let details = world.agents.details(&copy(index)).await;
        // From then on the agent knows the index for its own, whatever becomes of the target.
        if details["files"]["bytes_restored"].as_u64() > Some(0) {
            Ok(())
        } else {
            Err(details.to_string())
        }
    })
    .await;
}

/// How fast a cluster may recover; `null` puts the default back.
pub(crate) async fn recovers(cluster: &Es, speed: Value) {
    let setting = json!({ "transient": { "indices.recovery.max_bytes_per_sec": speed } });
    let (status, answer) = cluster.put("/_cluster/settings", &setting).await;
    assert_eq!(status, 200, "{answer}");
}

/// A stop that cannot be carried out at once, because the target is away, is by the agent's next life, and leaves nothing.
pub(crate) async fn a_stop_while_the_target_is_away(world: &mut World) {
    restoring(world, "stopping").await;
    let asked = away(world, "stopping", "_stop").await;
    world.agents.follower.terminate().await;
    assert!(asked.await.expect("a task") != 200, "it was not done");
    back(world).await;
    eventually("it is stopped", SOON, async || {
        let status = world.agents.status(&copy("stopping")).await;
        if status["status"] == "REPLICATION NOT IN PROGRESS" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    world.nothing_is_left().await;
    assert_eq!(world.target().get(&format!("/{}", copy("stopping"))).await.0, 404);
}

/// The same of a pause, after which it can be gone on with.
pub(crate) async fn a_pause_while_the_target_is_away(world: &mut World) {
    restoring(world, "pausing").await;
    let asked = away(world, "pausing", "_pause").await;
    world.agents.follower.terminate().await;
    let _ = asked.await;
    back(world).await;
    world
        .agents
        .wait_for_status(&copy("pausing"), "PAUSED", SOON)
        .await;
    world.nothing_is_left().await;
    assert_eq!(world.target().get(&format!("/{}", copy("pausing"))).await.0, 404);
    world.agents.command(&copy("pausing"), "_resume").await;
    world.in_step("pausing").await;
    world.begun_with("pausing", "files: ").await;
    world.equal("pausing").await;
    world.nothing_is_left().await;
    world.agents.command(&copy("pausing"), "_stop").await;
}

/// Ends the target and asks for something meanwhile; the status of the answer, when it comes.
async fn away(world: &mut World, index: &str, verb: &str) -> tokio::task::JoinHandle<u16> {
    world.target.kill().await;
    let (gateway, path) = (
        world.agents.gateway.clone(),
        format!("/_plugins/_replication/{}/{verb}", copy(index)),
    );
    let asked = tokio::spawn(async move {
        let body = json!({}).to_string();
        match gateway
            .try_send("POST", &path, Some(("application/json", body.into())))
            .await
        {
            Ok((status, _)) => status,
            // The agent ended before it could answer.
            Err(_) => 0,
        }
    });
    eventually("the target is waited for, by what was asked", LONG, async || {
        let details = world.agents.details(&copy(index)).await;
        // The restore waits for it too.
        let taken = details["phase"] != "BOOTSTRAPPING";
        if taken && details["waiting_for"].is_string() {
            Ok(())
        } else {
            Err(details.to_string())
        }
    })
    .await;
    asked
}

/// Both are there again.
async fn back(world: &mut World) {
    world.target.restart().await.expect("the target comes back");
    recovers(&world.target(), Value::Null).await;
    world.agents.follower.start();
    world.agents.wait_for_gateway().await;
}
