//! Who and how many: the cluster's state, statistics of shards, nodes, tasks and health.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::context::{Context, cases, error_type};

cases![
    the_node_tells_the_time,
    a_cluster_introduces_itself,
    shards_tell_their_checkpoints_and_history,
    statistics_come_by_level_and_metric,
    the_cluster_state_tells_versions_and_terms,
    routing_slots_follow_from_shards,
    unknown_paths_are_refused,
    nodes_and_tasks,
    health_waits_no_longer_than_told,
    metadata_versions_can_be_waited_for,
    flush_refresh_and_force_merge_answer_for_shards,
];

async fn a_cluster_introduces_itself(c: Arc<Context>) {
    let (status, about) = c.es.get("/").await;
    if status == 405 {
        // The plain zips of Elasticsearch 8 lack the module that answers here.
        return;
    }
    for name in ["name", "cluster_name", "cluster_uuid", "tagline"] {
        assert!(about[name].is_string(), "{name}: {about}");
    }
    assert!(about["version"]["lucene_version"].is_string() && about["version"]["number"].is_string());
    let (_, state) = c.es.get("/_cluster/state/version").await;
    assert_eq!(
        (&state["cluster_uuid"], &state["cluster_name"]),
        (&about["cluster_uuid"], &about["cluster_name"])
    );
    assert!(state["state_uuid"].is_string());
}

async fn shards_tell_their_checkpoints_and_history(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 2}), json!({})).await;
    for n in 0..20 {
        c.put_ok(&format!("/_doc/{n}"), json!({"n": n})).await;
    }
    let (one, two) = (c.shard_stats(0).await, c.shard_stats(1).await);
    let max = |s: &Value| s["seq_no"]["max_seq_no"].as_i64().expect("a number");
    assert_eq!(
        max(&one) + max(&two),
        18,
        "twenty operations over two shards that count from 0"
    );
    for shard in [&one, &two] {
        assert_eq!(
            shard["seq_no"]["global_checkpoint"],
            shard["seq_no"]["max_seq_no"]
        );
        assert_eq!(
            (&shard["routing"]["primary"], &shard["routing"]["state"]),
            (&json!(true), &json!("STARTED"))
        );
        assert!(shard["routing"]["node"].is_string());
        assert!(shard["retention_leases"]["leases"].is_array());
        assert!(shard["shard_path"]["data_path"].is_string());
        assert_eq!(shard["shard_path"]["is_custom_data_path"], false);
    }
    let history = |s: &Value| s["commit"]["user_data"]["history_uuid"].clone();
    assert_ne!(history(&one), history(&two));
    assert_eq!(history(&c.shard_stats(0).await), history(&one));
}

async fn statistics_come_by_level_and_metric(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 2}), json!({})).await;
    c.put_ok("/_doc/1?refresh=true", json!({"n": 1})).await;
    let (_, stats) = c.get("/_stats").await;
    assert_eq!(
        stats["_shards"],
        json!({"total": 2, "successful": 2, "failed": 0})
    );
    assert_eq!(stats["_all"]["primaries"]["docs"]["count"], 1);
    let index = &stats["indices"][&c.index];
    assert!(index["uuid"].is_string() && index.get("shards").is_none());
    assert_eq!(index["total"]["indexing"]["index_total"], 1);
    assert!(index["primaries"]["store"]["size_in_bytes"].is_u64());
    assert!(
        index["primaries"]["refresh"]["external_total"].is_u64()
            && index["primaries"]["flush"]["total"].is_u64()
    );
    let (_, stats) = c.get("/_stats/docs?level=shards").await;
    let shard = &stats["indices"][&c.index]["shards"]["0"][0];
    assert!(
        shard.get("indexing").is_none() && shard["docs"]["count"].is_u64(),
        "{shard}"
    );
    assert!(
        shard["seq_no"]["max_seq_no"].is_i64(),
        "checkpoints come whatever the metric: {shard}"
    );
    let (_, stats) = c.get("/_stats/docs?level=cluster").await;
    assert_eq!(stats.get("indices"), None);
    let (status, answer) = c.get("/_stats/zork").await;
    assert_eq!((status, error_type(&answer)), (400, "illegal_argument_exception"));
}

async fn the_cluster_state_tells_versions_and_terms(c: Arc<Context>) {
    c.create(
        json!({"number_of_shards": 2}),
        json!({"properties": {"a": {"type": "long"}}}),
    )
    .await;
    let state = c.state().await;
    for name in [
        "version",
        "mapping_version",
        "settings_version",
        "aliases_version",
        "routing_num_shards",
    ] {
        assert!(state[name].is_u64(), "{name}: {state}");
    }
    assert_eq!((&state["state"], &state["aliases"]), (&json!("open"), &json!([])));
    assert_eq!(state["primary_terms"], json!({"0": 1, "1": 1}));
    assert_eq!(
        state["mappings"]["_doc"],
        json!({"properties": {"a": {"type": "long"}}})
    );
    assert_eq!(state["settings"]["index"]["number_of_shards"], "2");
    assert_eq!(
        state["settings"]["index"]["uuid"].as_str().map(str::len),
        Some(22)
    );
    let (status, none) =
        c.es.get(&format!("/_cluster/state/metadata/{}-none", c.index))
            .await;
    assert_eq!((status, &none["metadata"]["indices"]), (200, &json!({})));
    let (_, state) =
        c.es.get(&format!(
            "/_cluster/state/metadata,version,routing_table/{}",
            c.index
        ))
        .await;
    assert!(state["version"].is_u64());
    let copies = &state["routing_table"]["indices"][&c.index]["shards"]["1"];
    assert_eq!(
        (&copies[0]["primary"], &copies[0]["shard"]),
        (&json!(true), &json!(1))
    );
}

async fn routing_slots_follow_from_shards(c: Arc<Context>) {
    for (shards, slots) in [(1, 1024), (3, 768), (5, 640)] {
        c.create(json!({"number_of_shards": shards}), json!({})).await;
        assert_eq!(c.state().await["routing_num_shards"], slots);
        c.delete("").await;
    }
    c.create(
        json!({"number_of_shards": 2, "number_of_routing_shards": 8}),
        json!({}),
    )
    .await;
    assert_eq!(c.state().await["routing_num_shards"], 8);
}

async fn unknown_paths_are_refused(c: Arc<Context>) {
    c.create_plain().await;
    // Elasticsearch 7 still reads some unknown paths as an index and a type, and refuses those for their names.
    for path in ["/_cluster/zork", "/_zork"] {
        let (status, answer) = c.es.post(path, &json!({})).await;
        assert!(
            matches!(status, 400 | 405) && !answer["error"].is_null(),
            "{path}: {status} {answer}"
        );
    }
}

async fn nodes_and_tasks(c: Arc<Context>) {
    let (status, nodes) = c.es.get("/_nodes/_local").await;
    assert_eq!((status, &nodes["_nodes"]["successful"]), (200, &json!(1)));
    let (id, node) = nodes["nodes"]
        .as_object()
        .and_then(|n| n.iter().next())
        .expect("a node");
    assert!(node["name"].is_string() && node["version"].is_string() && node["roles"].is_array());
    assert!(node["http"]["publish_address"].is_string());
    let (status, none) =
        c.es.get("/_tasks?actions=indices:data/write/bulk*&detailed")
            .await;
    assert_eq!((status, &none["nodes"]), (200, &json!({})));
    let (_, mine) = c.es.get("/_tasks?actions=cluster:monitor/tasks/lists").await;
    let (task_id, task) = mine["nodes"][id]["tasks"]
        .as_object()
        .and_then(|t| t.iter().next())
        .expect("a task");
    assert!(task_id.starts_with(id.as_str()) && task["headers"].is_object());
    assert_eq!(
        (&task["action"], &task["node"]),
        (&json!("cluster:monitor/tasks/lists"), &json!(id))
    );
    assert!(task["running_time_in_nanos"].is_u64());
    let (status, gone) = c.es.get(&format!("/_tasks/{id}:999999")).await;
    assert_eq!((status, error_type(&gone)), (404, "resource_not_found_exception"));
}

async fn health_waits_no_longer_than_told(c: Arc<Context>) {
    c.create_plain().await;
    let path = format!("/_cluster/health/{}", c.index);
    let (status, health) =
        c.es.get(&format!("{path}?wait_for_status=green&timeout=30s"))
            .await;
    assert_eq!(
        (status, &health["status"], &health["timed_out"]),
        (200, &json!("green"), &json!(false))
    );
    assert_eq!(
        (&health["number_of_data_nodes"], &health["active_primary_shards"]),
        (&json!(1), &json!(1))
    );
    c.put_ok("/_settings", json!({"index.number_of_replicas": 1}))
        .await;
    let (status, health) =
        c.es.get(&format!("{path}?wait_for_status=green&timeout=50ms"))
            .await;
    assert_eq!(
        (status, &health["status"], &health["timed_out"]),
        (408, &json!("yellow"), &json!(true))
    );
    assert_eq!(health["unassigned_shards"], 1);
    let (status, health) = c.es.get(&format!("{path}-none?timeout=50ms")).await;
    assert_eq!((status, &health["status"]), (408, &json!("red")));
}

async fn metadata_versions_can_be_waited_for(c: Arc<Context>) {
    c.create_plain().await;
    let (_, now) = c.es.get("/_cluster/state/version").await;
    let version = now["version"].as_u64().expect("a number");
    let path = |wanted: u64| {
        format!(
            "/_cluster/state/metadata/{}?wait_for_metadata_version={wanted}&wait_for_timeout=100ms",
            c.index
        )
    };
    let (status, state) = c.es.get(&path(1)).await;
    assert_eq!(
        (status, state["metadata"]["indices"].get(&c.index).is_some()),
        (200, true)
    );
    let (status, answer) = c.es.get(&path(version + 1000)).await;
    // Some releases answer with the mistake that the time-out is in them, others say that it is one.
    assert!(
        status == 500
            || answer["wait_for_metadata_version_timed_out"] == true
            || answer["wait_for_timed_out"] == true,
        "{status} {answer}"
    );
}

async fn flush_refresh_and_force_merge_answer_for_shards(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 2}), json!({})).await;
    for verb in ["_refresh", "_flush", "_forcemerge"] {
        let (status, answer) = c.post_empty(&format!("/{verb}")).await;
        assert_eq!(
            (status, &answer["_shards"]),
            (200, &json!({"total": 2, "successful": 2, "failed": 0})),
            "{verb}: {answer}"
        );
    }
    assert!(c.shard_stats(0).await["flush"]["total"].is_u64());
}

async fn the_node_tells_the_time(c: Arc<Context>) {
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_millis() as u64
    };
    let before = now();
    let (status, answer) =
        c.es.get("/_nodes/_local/stats/jvm?filter_path=nodes.*.timestamp")
            .await;
    assert_eq!(status, 200, "{answer}");
    let nodes = answer["nodes"].as_object().expect("nodes");
    let told = nodes.values().next().and_then(|node| node["timestamp"].as_u64());
    let told = told.expect("a time");
    // The engines read a clock that is a little coarse.
    assert!((before - 1_000..=now() + 1_000).contains(&told), "{told}");
}
