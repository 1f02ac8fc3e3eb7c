//! What clients do that know nothing of slipstream: the official ones of OpenSearch, `curl`, and every way to write to an index
//! that follows, all through the gateway in front of a real target.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::Es;
use slipstream_testkit::servers::Release;
use slipstream_tests::agents::{Agents, Options, SOON};
use slipstream_tests::real::Pair;
use tokio::process::Command;

/// A script may take this long; the machine may be busy.
const SCRIPT: Duration = Duration::from_mins(5);

fn root() -> PathBuf {
    // Cargo runs tests in their package's folder.
    std::env::current_dir().expect("a folder").join("..")
}

/// Two clusters and agents whose gateway passes everything else on.
async fn proxied() -> Option<(Pair, Agents)> {
    let pair = Pair::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await?;
    let mut agents = Agents::prepare(&pair.leader.url(), &pair.target.url(), &Options::default()).await;
    let config = agents.follower.config().to_owned();
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = text.replace("[gateway]\n", "[gateway]\nproxy = true\n");
    std::fs::write(&config, text).expect("a configuration");
    agents.leader.start();
    agents.follower.start();
    agents.wait_for_gateway().await;
    Some((pair, agents))
}

/// Runs a script against the gateway, which must go well.
async fn script(program: &Path, arguments: &[&Path], pair: &Pair, agents: &Agents) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("GATEWAY", agents.gateway.url())
        .env("LEADER", pair.leader.url())
        .env("TARGET", pair.target.url())
        .env("AGENT", agents.link.address().to_string())
        .env("NO_PROXY", "*")
        .kill_on_drop(true);
    let output = tokio::time::timeout(SCRIPT, command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.expect("it takes too long").expect("it starts");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{}: {said}", program.display());
}

/// Where `scripts/clients.sh` has put the clients.
async fn clients() -> PathBuf {
    let installed = Command::new(root().join("scripts/clients.sh")).output().await;
    let installed = installed.expect("it starts");
    assert!(
        installed.status.success(),
        "{}",
        String::from_utf8_lossy(&installed.stderr)
    );
    PathBuf::from(String::from_utf8_lossy(&installed.stdout).trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_and_curl_work_through_the_gateway() {
    let Some((pair, agents)) = proxied().await else {
        return;
    };
    let scripts = root().join("tests/clients");
    let clients = clients().await;
    script(&scripts.join("walkthrough.sh"), &[], &pair, &agents).await;
    let python = clients.join("python/bin/python");
    script(&python, &[&scripts.join("opensearch_py.py")], &pair, &agents).await;
    // A module finds its packages beside itself or above.
    std::fs::copy(
        scripts.join("opensearch_js.mjs"),
        clients.join("opensearch_js.mjs"),
    )
    .expect("a copy");
    script(
        Path::new("node"),
        &[&clients.join("opensearch_js.mjs")],
        &pair,
        &agents,
    )
    .await;
}

/// A call through the gateway that must be refused as a write to `f`.
async fn blocked(gateway: &Es, method: &'static str, path: &str, body: &str) {
    let sent = gateway.try_send(method, path, Some(("application/json", body.into())));
    let (status, answer) = sent.await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (
            403,
            &json!("index [f] blocked by: [FORBIDDEN/1000/index read-only(cross-cluster-replication)];")
        ),
        "{method} {path} {body}: {answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_through_the_gateway_writes_to_a_following_index() {
    let Some((pair, agents)) = proxied().await else {
        return;
    };
    let (leader, gateway) = (pair.leader.client(), &agents.gateway);
    agents.register().await;
    let index = json!({ "settings": { "number_of_shards": 2, "number_of_replicas": 0 },
                        "aliases": { "al": { "is_write_index": true }, "part": { "filter": { "term": { "n": 1 } } } } });
    assert_eq!(leader.put("/lead", &index).await.0, 200);
    for n in 0..5 {
        assert_eq!(
            leader.put(&format!("/lead/_doc/{n}"), &json!({ "n": n })).await.0,
            201
        );
    }
    agents.follow("f", "lead").await;
    pair.wait_until_equal("lead", "f", SOON).await;
    let shards = json!({ "settings": { "number_of_shards": 2, "number_of_replicas": 0 } });
    assert_eq!(gateway.put("/other", &shards).await.0, 200);

    // By its name, its aliases, patterns, lists and date expressions, with and without a type.
    for name in [
        "f", "al", "part", "f*", "other,f", "%3Cf%3E", "%66", "_all", "*,-other",
    ] {
        blocked(gateway, "POST", &format!("/{name}/_update_by_query"), "{}").await;
        blocked(
            gateway,
            "POST",
            &format!("/{name}/_delete_by_query"),
            r#"{"query":{"match_all":{}}}"#,
        )
        .await;
        blocked(
            gateway,
            "PUT",
            &format!("/{name}/_settings"),
            r#"{"index.hidden":true}"#,
        )
        .await;
        blocked(gateway, "PUT", &format!("/{name}/_mapping"), "{}").await;
        blocked(gateway, "POST", &format!("/{name}/_close"), "").await;
        blocked(gateway, "DELETE", &format!("/{name}"), "").await;
    }
    for name in ["f", "al", "%3Cf%3E"] {
        for (method, call) in [
            ("PUT", "_doc/1"),
            ("POST", "_doc"),
            ("PUT", "_create/9"),
            ("POST", "_update/1"),
            ("DELETE", "_doc/1"),
            ("POST", "_rollover"),
            ("POST", "_rollover/other-2"),
            ("PUT", "_block/write"),
        ] {
            blocked(gateway, method, &format!("/{name}/{call}"), "{}").await;
        }
        let reindex = json!({ "source": { "index": "other" }, "dest": { "index": name.replace("%3C", "<").replace("%3E", ">") } });
        blocked(gateway, "POST", "/_reindex", &reindex.to_string()).await;
    }
    for call in [
        "f/_clone/g",
        "f/_split/g",
        "f/_shrink/g",
        "other/_clone/f",
        "other/_split/f",
    ] {
        blocked(gateway, "PUT", &format!("/{call}"), "{}").await;
    }
    for (path, body) in [
        (
            "/_aliases",
            json!({ "actions": [{ "remove": { "index": "f", "alias": "al" } }] }),
        ),
        (
            "/_aliases",
            json!({ "actions": [{ "remove_index": { "index": "al" } }] }),
        ),
        (
            "/_aliases",
            json!({ "actions": [{ "add": { "indices": ["other", "f"], "alias": "x" } }] }),
        ),
        (
            "/_data_stream/_modify",
            json!({ "actions": [{ "add_backing_index": { "data_stream": "d", "index": "f" } }] }),
        ),
        ("/_snapshot/r/s/_restore", json!({ "indices": "f*" })),
    ] {
        blocked(gateway, "POST", path, &body.to_string()).await;
    }
    let lines = ["f", "al", "<f>", "other"]
        .map(|name| json!({ "index": { "_index": name, "_id": "9" } }).to_string() + "\n{\"n\":9}\n");
    let (status, answer) = gateway.bulk("/_bulk?refresh=true", lines.concat()).await;
    let statuses: Vec<Value> = answer["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item["index"]["status"].clone())
        .collect();
    assert_eq!(
        (status, statuses),
        (200, vec![json!(403), json!(403), json!(403), json!(201)]),
        "{answer}"
    );

    // Reading is free, by every name, and so is what only keeps the index in order.
    for (path, body) in [
        ("/al/_search", "{}"),
        ("/_msearch", "{\"index\":\"f\"}\n{}\n"),
        ("/f/_count", "{}"),
        ("/_mget", r#"{"docs":[{"_index":"al","_id":"1"}]}"#),
        ("/f/_refresh", ""),
        ("/f*/_forcemerge", ""),
    ] {
        let (status, answer) = gateway.post_bytes(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    // An open index cannot be restored over, whatever a snapshot is asked for: that is the target's own refusal.
    let (status, answer) = gateway.post("/_snapshot/r/s/_restore", &json!({})).await;
    assert_eq!(
        (status, &answer["error"]["type"]),
        (404, &json!("repository_missing_exception")),
        "{answer}"
    );
    pair.wait_until_equal("lead", "f", SOON).await;
}
