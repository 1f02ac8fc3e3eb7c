//! What only a sandbox has: its data folder and its faults. All that it shares with real engines is held against them
//! by the conformance suite.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_sandbox::{Endpoint, Flavor, Sandbox, SandboxConfig};
use slipstream_testkit::client::{Es, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn start(data: Option<&Path>) -> (Sandbox, Es) {
    let config = SandboxConfig {
        engine: Flavor::OpenSearch,
        cluster_name: "test".to_owned(),
        data: data.map(Path::to_owned),
        listen: ([127, 0, 0, 1], 0).into(),
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let es = Es::new(&sandbox.url());
    (sandbox, es)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn without_term(mut state: Value) -> Value {
    state.as_object_mut().expect("an object").remove("primary_terms");
    state
}

async fn index_state(es: &Es) -> Value {
    es.get("/_cluster/state/metadata/i").await.1["metadata"]["indices"]["i"].clone()
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let (data, killed) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (sandbox, es) = start(Some(data.path())).await;
    let settings =
        json!({"settings": {"number_of_shards": 2, "number_of_replicas": 0}, "aliases": {"a": {}}});
    assert_eq!(es.put("/i", &settings).await.0, 200);
    assert_eq!(es.put("/gone", &settings["settings"]).await.0, 200);
    assert_eq!(es.delete("/gone").await.0, 200);
    assert_eq!(
        es.put_bytes("/i/_doc/1?routing=r", " {\"n\":\n1e3} ").await.0,
        201
    );
    let mut lines = String::new();
    for n in 0..50 {
        lines.extend([format!("{{\"index\":{{\"_id\":\"b{n}\"}}}}\n{{\"m\":{n}}}\n")]);
    }
    assert_eq!(es.bulk("/i/_bulk", lines).await.1["errors"], false);
    assert_eq!(
        es.put("/i/_doc/x?version=40&version_type=external_gte", &json!({}))
            .await
            .0,
        201
    );
    assert_eq!(es.delete("/i/_doc/x").await.1["_version"], 41);
    assert_eq!(
        es.put("/i/_settings", &json!({"index.refresh_interval": "7s"}))
            .await
            .0,
        200
    );
    let (about, state, shards) = (
        es.get("/").await.1,
        index_state(&es).await,
        es.get("/i/_stats?level=shards").await.1,
    );
    let version = es.get("/_cluster/state/version").await.1["version"].as_u64();
    // A kill leaves on disk what is there at this moment.
    copy(data.path(), killed.path());
    sandbox.stop().await;

    let (sandbox, es) = start(Some(killed.path())).await;
    assert_eq!(es.get("/").await.1["cluster_uuid"], about["cluster_uuid"]);
    assert_eq!(es.get("/gone").await.0, 404);
    let now = index_state(&es).await;
    assert_eq!(without_term(now.clone()), without_term(state));
    assert_eq!(
        now["primary_terms"],
        json!({"0": 2, "1": 2}),
        "a restart is a new term"
    );
    assert!(es.get("/_cluster/state/version").await.1["version"].as_u64() > version);
    let again = es.get("/i/_stats?level=shards").await.1;
    for shard in ["0", "1"] {
        let of = |stats: &Value, path: &str| stats["indices"]["i"]["shards"][shard][0].pointer(path).cloned();
        for path in ["/seq_no", "/commit/user_data/history_uuid"] {
            assert_eq!(of(&again, path), of(&shards, path), "shard {shard}");
        }
    }
    let (_, bytes) = es.get_bytes("/i/_doc/1?routing=r").await;
    assert!(String::from_utf8_lossy(&bytes).contains("\"_source\": {\"n\":\n1e3} }"));
    assert_eq!(es.get("/i/_count").await.1["count"], 51);
    // The tombstone still guards its version.
    assert_eq!(
        es.put("/i/_doc/x?version=40&version_type=external_gte", &json!({}))
            .await
            .0,
        409
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn counted_faults_refuse_and_do_nothing() {
    let (sandbox, es) = start(None).await;
    let line = "{\"index\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{}\n{\"index\":{\"_index\":\"i\",\"_id\":\"2\"}}\n{}\n";
    let faults = sandbox.faults();
    faults.reject_bulks(1);
    let (status, answer) = es.bulk("/_bulk", line).await;
    assert_eq!(
        (status, &answer["error"]["type"]),
        (429, &json!("es_rejected_execution_exception"))
    );
    assert_eq!(es.get("/i").await.0, 404);
    faults.reject_items(1);
    let (status, answer) = es.bulk("/_bulk", line).await;
    let statuses = [
        &answer["items"][0]["index"]["status"],
        &answer["items"][1]["index"]["status"],
    ];
    assert_eq!((status, statuses), (200, [&json!(429), &json!(201)]));
    faults.unavailable(1);
    assert_eq!(es.get("/i/_doc/2").await.0, 503);
    assert_eq!(es.get("/i/_doc/2").await.0, 200);
    faults.lose_answers(1);
    let lost = es
        .try_send(
            "POST",
            "/_bulk",
            Some(("application/x-ndjson", line.as_bytes().to_vec())),
        )
        .await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(es.get("/i/_doc/1").await.0, 200, "it was done all the same");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_bulk_whose_client_gave_up_goes_on_and_shows_as_a_task() {
    let (sandbox, es) = start(None).await;
    sandbox
        .faults()
        .delay(Endpoint::Bulk, Duration::from_millis(300), Duration::ZERO);
    let body = "{\"index\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{}\n";
    let mut client = TcpStream::connect(sandbox.address()).await.expect("a connection");
    let request = format!(
        "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\nx-opaque-id: lane-7\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    let bulks = async || {
        let (_, tasks) = es.get("/_tasks?actions=indices:data/write/bulk*&detailed").await;
        tasks["nodes"]
            .as_object()
            .and_then(|n| n.values().next())
            .map(|n| n["tasks"].clone())
            .unwrap_or_default()
    };
    let task = eventually("the bulk to run", Duration::from_secs(5), async || {
        let tasks = bulks().await;
        tasks
            .as_object()
            .and_then(|t| t.values().next())
            .cloned()
            .ok_or("no task yet")
    })
    .await;
    assert_eq!(task["headers"]["X-Opaque-Id"], "lane-7");
    drop(client);
    eventually("the bulk to end", Duration::from_secs(5), async || {
        if bulks().await.is_null() {
            Ok(())
        } else {
            Err("still running")
        }
    })
    .await;
    assert_eq!(es.get("/i/_doc/1").await.0, 200);
    sandbox.stop().await;
}

#[tokio::test]
async fn an_answer_after_its_delay_is_whole() {
    let (sandbox, es) = start(None).await;
    es.put("/i/_doc/1?refresh=true", &json!({"n": 1})).await;
    sandbox
        .faults()
        .delay(Endpoint::Search, Duration::ZERO, Duration::from_millis(50));
    let started = std::time::Instant::now();
    assert_eq!(es.get("/i/_search").await.1["hits"]["total"]["value"], 1);
    assert!(started.elapsed() >= Duration::from_millis(50));
    sandbox.faults().clear();
    assert_eq!(es.get("/i/_search").await.0, 200);
    sandbox.stop().await;
}

#[tokio::test]
async fn who_waits_for_metadata_is_woken_by_a_change() {
    let (sandbox, es) = start(None).await;
    assert_eq!(es.put("/i", &json!({})).await.0, 200);
    let version = es.get("/_cluster/state/version").await.1["version"]
        .as_u64()
        .expect("a number");
    let path = format!(
        "/_cluster/state/metadata/i?wait_for_metadata_version={}&wait_for_timeout=30s",
        version + 1
    );
    let waiting = es.get(&path);
    let changing = es.put_bytes("/i/_doc/1", r#"{"n":1}"#);
    let ((status, state), (written, _)) = tokio::join!(waiting, changing);
    assert_eq!((status, written), (200, 201));
    assert_eq!(
        state["metadata"]["indices"]["i"]["mappings"]["_doc"]["properties"]["n"]["type"],
        "long"
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn a_search_wakes_a_resting_shard() {
    let (sandbox, es) = start(None).await;
    es.put("/i", &json!({"settings": {"search.idle.after": "0ms"}}))
        .await;
    es.put("/i/_doc/1", &json!({"n": 1})).await;
    assert_eq!(es.get("/i/_search").await.1["hits"]["total"]["value"], 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_pretty_answer_keeps_its_sources_spelling() {
    let (sandbox, es) = start(None).await;
    es.put("/i", &json!({"mappings": {"dynamic": false}})).await;
    es.put_bytes("/i/_doc/1", "{\"n\":1e400,\"t\":\"a, {b\"}").await;
    let (_, bytes) = es.get_bytes("/i/_doc/1?pretty").await;
    let text = String::from_utf8(bytes).expect("text");
    assert!(
        text.contains("    \"n\" : 1e400,\n    \"t\" : \"a, {b\"\n"),
        "{text}"
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_what_runs() {
    let (sandbox, es) = start(None).await;
    sandbox
        .faults()
        .delay(Endpoint::Bulk, Duration::from_millis(200), Duration::ZERO);
    let address = sandbox.address();
    let mut client = TcpStream::connect(address).await.expect("a connection");
    let body = "{\"index\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{}\n";
    let request = format!(
        "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    eventually("the bulk to run", Duration::from_secs(5), async || {
        let (_, tasks) = es.get("/_tasks?actions=indices:data/write/bulk*").await;
        if tasks["nodes"] == json!({}) {
            Err("not yet")
        } else {
            Ok(())
        }
    })
    .await;
    sandbox.stop().await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"errors\":false"),
        "{answer}"
    );
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}
