//! Real servers start, survive a power cut with their data, and form clusters. One test after the other: each holds
//! up to two JVMs.

#![expect(clippy::print_stdout, reason = "how long starts take is worth a look")]

use std::time::{Duration, Instant};

use serde_json::json;
use slipstream_testkit::{
    client::eventually,
    servers::{Cluster, Release, Server, ServerConfig, or_skip},
};

async fn starts_and_restarts(release: Release) {
    let clock = Instant::now();
    let Some(mut server) = or_skip(Server::start(release, ServerConfig::named("alone")).await) else {
        return;
    };
    let start = clock.elapsed();
    let client = server.client();
    // Not `GET /`: the zip of Elasticsearch 8 lacks the module that answers it.
    let (_, nodes) = client.get("/_nodes/_local?filter_path=nodes.*.version").await;
    let (major, minor, patch) = release.version();
    assert!(
        nodes
            .to_string()
            .contains(&format!("\"{major}.{minor}.{patch}\"")),
        "{release}: {nodes}"
    );

    let settings = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}});
    assert_eq!(client.put("/kept", &settings).await.0, 200);
    assert_eq!(client.put("/kept/_doc/1", &json!({"value": 1})).await.0, 201);
    let (url, pid) = (server.url(), server.pid());
    server.kill().await;
    assert_eq!(server.pid(), None);
    assert!(
        client.try_get("/").await.is_err(),
        "{release} answers after SIGKILL"
    );

    let clock = Instant::now();
    or_skip(server.restart().await);
    println!("{release}: first start {start:?}, restart {:?}", clock.elapsed());
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
    eventually(
        "the document is back",
        Duration::from_secs(30),
        async || match client.get("/kept/_doc/1").await {
            (200, document) if document["_source"] == json!({"value": 1}) => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        },
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn elasticsearch_7_10_2() {
    starts_and_restarts(Release::Elasticsearch7_10_2).await;
}

#[tokio::test]
async fn elasticsearch_7_17_29() {
    starts_and_restarts(Release::Elasticsearch7_17_29).await;
}

#[tokio::test]
async fn elasticsearch_8_19_21() {
    starts_and_restarts(Release::Elasticsearch8_19_21).await;
}

#[tokio::test]
async fn opensearch_2_19_1() {
    starts_and_restarts(Release::OpenSearch2_19_1).await;
}

#[tokio::test]
async fn opensearch_3_6_0() {
    starts_and_restarts(Release::OpenSearch3_6_0).await;
}

#[tokio::test]
async fn a_replica_takes_over_from_a_killed_primary() {
    let started = Cluster::start(Release::OpenSearch2_19_1, 2, ServerConfig::named("pair")).await;
    let Some(mut cluster) = or_skip(started) else {
        return;
    };
    let client = cluster.client();
    let settings = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 1}});
    assert_eq!(client.put("/pair", &settings).await.0, 200);
    cluster.move_primary("pair", 0, 1).await;
    assert_eq!(client.put("/pair/_doc/1", &json!({"value": 1})).await.0, 201);

    cluster.nodes[1].kill().await;
    eventually(
        "the replica is promoted",
        Duration::from_mins(1),
        async || match cluster.primary_of("pair", 0).await {
            Some(0) => Ok(()),
            other => Err(format!("the primary is on {other:?}")),
        },
    )
    .await;
    assert_eq!(client.put("/pair/_doc/2", &json!({"value": 2})).await.0, 201);
    or_skip(cluster.nodes[1].restart().await);
    cluster.wait_for_nodes(2).await;
    cluster.wait_for_green("pair").await;
}
