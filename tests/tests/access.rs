//! Who may control replication: secured clusters and their own users, the gateway's users, certificates, and what is
//! written down about all of them.

#[path = "access/elasticsearch.rs"]
mod elasticsearch;
#[path = "access/opensearch.rs"]
mod opensearch;
#[path = "access/own.rs"]
mod own;

use serde_json::{Value, json};
use slipstream_testkit::client::Es;

/// `_start`, by somebody.
async fn start(gateway: &Es, follower_index: &str, leader_index: &str) -> (u16, Value) {
    let body = json!({ "leader_alias": slipstream_tests::agents::ALIAS, "leader_index": leader_index });
    gateway
        .put(&format!("/_plugins/_replication/{follower_index}/_start"), &body)
        .await
}

/// The fields of each line of an audit file that say who did what.
fn audited(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("an audit file");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        for field in ["time", "from", "method", "path", "millis"] {
            assert!(!line[field].is_null(), "{field} of {line}");
        }
        json!([
            line["who"],
            line["action"],
            line["index"],
            line["status"],
            line["outcome"]
        ])
    };
    text.lines().map(line).collect()
}

/// Runs `slipstream doctor` on the follower agent's file.
async fn doctor(agents: &slipstream_tests::agents::Agents) -> String {
    let config = agents.follower.config().display().to_string();
    let (code, found, said) = own::run(&["doctor", "--config", &config], "").await;
    assert_eq!(code, Some(0), "{found}\n{said}");
    found
}

/// The reason of a refusal.
fn reason(answer: &Value) -> &str {
    answer["error"]["reason"].as_str().unwrap_or_default()
}
