//! The calls for many indices at once.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_sandbox::Endpoint;
use slipstream_testkit::client::{Es, eventually};
use slipstream_tests::agents::{ALIAS, SOON};
use slipstream_tests::world::{World, refusal};

use super::{BASE, create};

/// Begins a task over many indices, and waits until it has ended.
async fn many(gateway: &Es, call: &str, body: Value) -> Value {
    let (status, answer) = gateway.post(&format!("{BASE}/{call}"), &body).await;
    assert_eq!(
        (status, &answer["acknowledged"]),
        (200, &json!(true)),
        "{call}: {answer}"
    );
    let task = answer["task_id"].as_str().expect("a task").to_owned();
    eventually(&format!("{call} has ended"), SOON, async || {
        let (_, told) = gateway.get(&format!("{BASE}/_task_status/{task}")).await;
        if told["completed"] == true {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await
}

fn numbers(told: &Value) -> [Option<u64>; 4] {
    ["num_success", "num_failed", "num_pending", "num_cancelled"].map(|name| told[name].as_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_indices_are_started_paused_resumed_and_stopped_by_a_pattern() {
    let mut world = World::start().await;
    create(&world, &["logs-1", "logs-2", "logs-3", "logs-skip", "other"]).await;
    // One that cannot be started: its name is taken.
    world
        .target
        .put("/logs-3/_doc/mine", &json!({ "mine": true }))
        .await;
    let gateway = world.agents.gateway.clone();
    let start =
        json!({ "leader_alias": ALIAS, "pattern": "logs-*", "filters": { "exclude_index": ["*-skip"] } });
    let told = many(&gateway, "_bulk_start", start.clone()).await;
    assert_eq!(numbers(&told), [Some(2), Some(1), Some(0), Some(0)], "{told}");
    assert_eq!(told["failed_indices"][0]["index"], "logs-3", "{told}");
    let why = told["failed_indices"][0]["failure_reason"]
        .as_str()
        .unwrap_or_default();
    assert!(why.contains("Delete the index:logs-3"), "{told}");
    // The same again does what is left, and what is done counts as done.
    world.target.delete("/logs-3").await;
    let told = many(&gateway, "_bulk_start", start).await;
    assert_eq!(numbers(&told), [Some(3), Some(0), Some(0), Some(0)], "{told}");
    for index in ["logs-1", "logs-2", "logs-3"] {
        world.agents.wait_for_status(index, "SYNCING", SOON).await;
    }
    for index in ["logs-skip", "other"] {
        let status = world.agents.status(index).await;
        assert_eq!(
            status["status"], "REPLICATION NOT IN PROGRESS",
            "{index}: {status}"
        );
    }

    let all = json!({ "pattern": "logs-*" });
    for (call, states) in [
        ("_bulk_pause", vec!["PAUSED"]),
        ("_bulk_resume", vec!["SYNCING", "RUNNING"]),
    ] {
        for _ in 0..2 {
            let told = many(&gateway, call, all.clone()).await;
            assert_eq!(
                numbers(&told),
                [Some(3), Some(0), Some(0), Some(0)],
                "{call}: {told}"
            );
        }
        let (_, told) = gateway.get(&format!("{BASE}/_bulk_status?pattern=logs-*")).await;
        let told = told["indices"].as_object().cloned().unwrap_or_default();
        assert_eq!(told.len(), 3, "{told:?}");
        for (index, status) in told {
            assert!(
                states.contains(&status["status"].as_str().unwrap_or_default()),
                "{index}: {status}"
            );
        }
    }

    // One task at a time, which can be cancelled; what it has begun is carried through.
    world
        .target
        .faults()
        .delay(Endpoint::All, Duration::from_millis(300), Duration::ZERO);
    let (_, begun) = gateway
        .post(&format!("{BASE}/_bulk_stop"), &json!({ "pattern": "*" }))
        .await;
    let task = begun["task_id"].as_str().expect("a task").to_owned();
    let (status, answer) = gateway.post(&format!("{BASE}/_bulk_pause"), &all).await;
    refusal(
        (status, &answer),
        409,
        "illegal_state_exception",
        &[&task, "is still running"],
    );
    let (status, answer) = gateway
        .post(&format!("{BASE}/_task_cancel/{task}"), &json!({}))
        .await;
    assert_eq!(status, 200, "{answer}");
    world.target.faults().clear();
    let told = eventually("it has ended", SOON, async || {
        let (_, told) = gateway.get(&format!("{BASE}/_task_status/{task}")).await;
        if told["completed"] == true {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await;
    let [done, failed, pending, cancelled] = numbers(&told).map(Option::unwrap_or_default);
    assert_eq!((done + cancelled, failed, pending), (3, 0, 0), "{told}");
    let (status, answer) = gateway
        .post(&format!("{BASE}/_task_cancel/{task}"), &json!({}))
        .await;
    refusal(
        (status, &answer),
        404,
        "resource_not_found_exception",
        &["not found or already completed"],
    );

    // A task ends with the agent; the same request in the next life does the rest.
    world.agents.restart_follower(Duration::ZERO).await;
    let (status, answer) = gateway.get(&format!("{BASE}/_task_status/{task}")).await;
    refusal(
        (status, &answer),
        404,
        "resource_not_found_exception",
        &["not found or already completed"],
    );
    let (status, answer) = gateway
        .post(&format!("{BASE}/_bulk_stop"), &json!({ "pattern": "*" }))
        .await;
    assert!(status == 200 || (status == 404 && done == 3), "{status} {answer}");
    eventually("all are stopped", SOON, async || {
        let (_, told) = gateway.get(&format!("{BASE}/_bulk_status?pattern=*")).await;
        if told["indices"] == json!({}) {
            Ok(())
        } else {
            Err(told.to_string())
        }
    })
    .await;
    assert_eq!(world.target.count("logs-1").await, 10);
}
