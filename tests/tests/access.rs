//! Who may control replication: secured clusters and their own users, the gateway's users, certificates, and what is
//! written down about all of them.

#[path = "access/elasticsearch.rs"]
mod elasticsearch;
#[path = "access/opensearch.rs"]
mod opensearch;
#[path = "access/own.rs"]
mod own;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::{ADMIN, ADMIN_PASSWORD, Server};
use slipstream_tests::agents::{Agents, LONG, Options};
use slipstream_tests::real::Pair;

/// Agents between two secured clusters, `leader-agent` and `follower-agent` to them, by this password; their gateway asks the target who
/// callers are. These are more lines for `[cluster]` of the leader agent, for `[gateway]`, and rules.
async fn agents(pair: &Pair, password: &str, [cluster, gateway, allow]: [&str; 3]) -> Agents {
    let login = |server: &Server, name: &str| {
        let ca = server.ca_pem().map(|_| format!("ca_file = \"{name}-ca.pem\"\n"));
        let ca = ca.unwrap_or_default();
        format!("username = \"{name}\"\npassword_file = \"password\"\n{ca}")
    };
    let files = |server: &Server| format!("snapshot_path = \"{}\"\n", server.repo_path().display());
    let options = Options {
        leader_cluster: login(&pair.leader, "leader-agent") + &files(&pair.leader) + cluster,
        follower_cluster: login(&pair.target, "follower-agent") + &files(&pair.target),
        gateway: format!("auth = \"target\"\naudit_file = \"audit.jsonl\"\n{gateway}"),
        follower_extra: allow.to_owned(),
        ..Options::default()
    };
    let mut agents = Agents::prepare(&pair.leader.url(), &pair.target.url(), &options).await;
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(agents.folder.path().join(name), bytes).expect("a file of the agents");
    };
    write("password", password.as_bytes());
    for (server, name) in [(&pair.leader, "leader-agent"), (&pair.target, "follower-agent")] {
        if let Some(ca) = server.ca_pem() {
            write(&format!("{name}-ca.pem"), ca);
        }
    }
    agents.leader.start();
    agents.leader.logged(&["listening", "follower agents"]).await;
    agents.follower.start();
    agents.wait_for_gateway().await;
    agents.gateway = agents.gateway.as_user(ADMIN, ADMIN_PASSWORD);
    agents.register().await;
    agents
}

/// Waits until neither cluster has a repository.
async fn nothing_is_left(pair: &Pair) {
    let (leader, target) = (pair.leader.client(), pair.target.client());
    eventually("nothing is left", LONG, async || {
        let (left, too) = (leader.get("/_snapshot").await.1, target.get("/_snapshot").await.1);
        if (&left, &too) == (&json!({}), &json!({})) {
            Ok(())
        } else {
            Err(format!("{left} {too}"))
        }
    })
    .await;
}

/// `leader-01`, of one shard and with one document.
async fn create(leader: &Es) {
    let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0 } });
    assert_eq!(leader.put("/leader-01", &settings).await.0, 200);
    index(leader, "1?refresh", &json!({ "value": "data1" })).await;
}

/// A new document of `leader-01`.
async fn index(leader: &Es, id: &str, document: &Value) {
    let (status, answer) = leader.put(&format!("/leader-01/_doc/{id}"), document).await;
    assert_eq!(status, 201, "{answer}");
}

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
async fn doctor(agents: &Agents) -> String {
    let config = agents.follower.config().display().to_string();
    let (code, found, said) = own::run(&["doctor", "--config", &config], "").await;
    assert_eq!(code, Some(0), "{found}\n{said}");
    found
}

/// The reason of a refusal.
fn reason(answer: &Value) -> &str {
    answer["error"]["reason"].as_str().unwrap_or_default()
}
