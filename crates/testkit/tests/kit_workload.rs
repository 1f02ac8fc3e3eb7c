//! The random writer against real servers: they understand what it sends, and the comparison tells equal from almost
//! equal there.

#![expect(clippy::print_stdout, reason = "what was done, and how fast, is worth a look")]

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::{
    client::eventually,
    compare,
    servers::{Release, Server, ServerConfig, or_skip},
    workload::{Workload, Writers},
};

async fn steps(writers: &Writers, wanted: u64) {
    eventually(
        &format!("{wanted} steps"),
        Duration::from_mins(2),
        async || match writers.summary() {
            summary if summary.done >= wanted => Ok(()),
            summary => Err(format!("{summary:?}")),
        },
    )
    .await;
}

async fn writes_and_compares(release: Release) {
    let Some(mut server) = or_skip(Server::start(release, ServerConfig::named("storm")).await) else {
        return;
    };
    let client = server.client();
    let workload = Workload::new(20_261_124);
    workload.create_indices(&client).await;
    let clock = std::time::Instant::now();
    let writers = workload.start(&server.url());
    // As many steps as it takes, however slow the machine, before and after a power cut.
    steps(&writers, 150).await;
    or_skip(server.restart().await);
    let before = writers.summary().done;
    steps(&writers, before + 150).await;
    let summary = writers.stop().await;
    println!("{release}: {summary:?} in {:?}", clock.elapsed());
    assert!(summary.unanswered > 0, "{summary:?}");
    assert!(summary.rejected * 50 < summary.done, "{summary:?}");

    for index in workload.indices() {
        let name = &index.name;
        let (_, count) = client.get(&format!("/{name}/_count")).await;
        assert!(count["count"].as_u64() > Some(50), "{name}: {count}");
        assert_eq!(
            compare::indices(&client, name, &client, name).await,
            Vec::<String>::new()
        );
    }

    // Two indices that differ in one spelling, one version, one mapped field, one alias.
    for name in ["ours", "theirs"] {
        let body = json!({"settings": {"number_of_shards": 2, "number_of_replicas": 0}});
        assert_eq!(client.put(&format!("/{name}"), &body).await.0, 200);
        let source = if name == "ours" {
            "{\"a\": 1.0}"
        } else {
            "{\"a\":  1.0}"
        };
        client
            .put_bytes(&format!("/{name}/_doc/1?routing=x"), source)
            .await;
        client
            .put_bytes(
                &format!("/{name}/_doc/2?version=7&version_type=external"),
                "{\"b\":1}",
            )
            .await;
    }
    client
        .put_bytes("/theirs/_doc/2?version=8&version_type=external", "{\"b\":1}")
        .await;
    client
        .put(
            "/theirs/_mapping",
            &json!({"properties": {"c": {"type": "keyword"}}}),
        )
        .await;
    client.put("/theirs/_alias/other", &json!({})).await;
    client
        .put("/theirs/_settings", &json!({"index": {"refresh_interval": "3s"}}))
        .await;
    let found = compare::indices(&client, "ours", &client, "theirs").await;
    println!("{found:#?}");
    let wanted = [
        "mapping → properties → c",
        "aliases → other",
        "index.refresh_interval",
        "\"1\" routed",
        "7 against 8",
    ];
    for text in wanted {
        assert_eq!(
            found.iter().filter(|line| line.contains(text)).count(),
            1,
            "{text}: {found:#?}"
        );
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
}

#[tokio::test]
async fn elasticsearch_7_10_2() {
    writes_and_compares(Release::Elasticsearch7_10_2).await;
}

#[tokio::test]
async fn opensearch_2_19_1() {
    writes_and_compares(Release::OpenSearch2_19_1).await;
}
