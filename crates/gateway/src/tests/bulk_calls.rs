//! The calls that mean many indices by one pattern.

use super::*;

const BASE: &str = "/_plugins/_replication";

#[tokio::test]
async fn each_operation_begins_a_task() {
    let bench = Bench::new(None);
    let begun = (200, json!({"acknowledged": true, "task_id": "agent:7"}));
    for (call, body, note) in [
        (
            "_bulk_start",
            r#"{"leader_alias":"conn1","pattern":"logs-*","use_roles":{"leader_cluster_role":"a","follower_cluster_role":"b"}}"#,
            "START logs-* without []",
        ),
        (
            "_bulk_stop",
            r#"{"pattern":"logs-*","filters":{"exclude_index":["logs-a*","logs-b"]}}"#,
            r#"STOP logs-* without ["logs-a*", "logs-b"]"#,
        ),
        (
            "_bulk_pause",
            r#"{"pattern":"logs-*"}"#,
            "PAUSE logs-* without []",
        ),
        (
            "_bulk_resume",
            r#"{"pattern":"logs-*","filters":{}}"#,
            "RESUME logs-* without []",
        ),
    ] {
        assert_eq!(
            bench.send("POST", &format!("{BASE}/{call}"), body).await,
            begun,
            "{call}"
        );
        assert_eq!(bench.notes(), [note]);
    }
}

#[tokio::test]
async fn a_task_can_be_looked_at_and_cancelled() {
    let bench = Bench::new(None);
    let (status, answer) = bench
        .send("GET", &format!("{BASE}/_task_status/agent:7"), "")
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"operation_type": "STOP", "pattern": "logs-*", "start_time": 1, "num_success": 2, "num_failed": 1,
               "num_pending": 1, "num_cancelled": 0, "completed": false,
               "failed_indices": [{"index": "logs-3", "failure_reason": "no"}]})
    );
    let cancel = Request::post(format!("{BASE}/_task_cancel/agent:7"));
    let (status, _) = bench.raw(cancel.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (status, bench.notes()),
        (StatusCode::OK, vec!["cancel 7".to_owned()])
    );
    for task in ["agent:8", "other:7", "7", "agent:", "agent:x", "%20"] {
        for (method, call) in [("GET", "_task_status"), ("POST", "_task_cancel")] {
            let (status, reason) = bench.refused(method, &format!("{BASE}/{call}/{task}"), "").await;
            assert_eq!(status, 404, "{call} {task}: {reason}");
            assert!(reason.ends_with("not found or already completed"), "{reason}");
        }
    }
}

#[tokio::test]
async fn the_statuses_of_a_pattern_are_told_together() {
    let bench = Bench::new(None);
    let (_, one) = bench.send("GET", &format!("{BASE}/f1/_status"), "").await;
    let (status, all) = bench
        .send("GET", &format!("{BASE}/_bulk_status?pattern=f*"), "")
        .await;
    assert_eq!((status, all), (200, json!({"indices": {"f1": one}})));
    let (_, none) = bench
        .send("GET", &format!("{BASE}/_bulk_status?pattern=g*"), "")
        .await;
    assert_eq!(none, json!({"indices": {}}));
    let refused = bench.refused("GET", &format!("{BASE}/_bulk_status"), "").await;
    assert_eq!(refused, (400, "pattern parameter is required".to_owned()));
}

#[tokio::test]
async fn mistakes_begin_nothing() {
    let bench = Bench::new(None);
    for (call, body, status, text) in [
        (
            "_bulk_stop",
            "{}",
            400,
            "Validation Failed: 1: Mandatory params [pattern] are missing for the request;",
        ),
        (
            "_bulk_start",
            r#"{"pattern":"a*"}"#,
            400,
            "Validation Failed: 1: Mandatory params [leader_alias] are missing for the request;",
        ),
        (
            "_bulk_pause",
            r#"{"pattern":"_a"}"#,
            400,
            "Validation Failed: 1: Autofollow pattern: _a must not start with '_' or '-';",
        ),
        (
            "_bulk_pause",
            r#"{"pattern":"a","filters":{"exclude_index":"b"}}"#,
            400,
            "[FiltersParser] failed to parse field [exclude_index]",
        ),
        (
            "_bulk_pause",
            r#"{"pattern":"a","filters":{"x":1}}"#,
            400,
            "[FiltersParser] unknown field [x]",
        ),
        (
            "_bulk_resume",
            r#"{"pattern":"none-*"}"#,
            404,
            "no index matches [none-*]",
        ),
        (
            "_bulk_resume",
            r#"{"pattern":"busy-*"}"#,
            409,
            "bulk task [agent:6] is still running: wait until _task_status says that it has ended, or cancel it with _task_cancel",
        ),
    ] {
        let refused = bench.refused("POST", &format!("{BASE}/{call}"), body).await;
        assert_eq!(refused, (status, text.to_owned()), "{call} {body}");
    }
    assert!(bench.notes().is_empty());
}
