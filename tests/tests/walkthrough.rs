//! The operator contract's walkthrough, on every pair of engines that is promised: what a new user does first.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::Release;
use slipstream_tests::agents::{Agents, Options, SOON};
use slipstream_tests::real::Pair;

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_to_opensearch_2_19() {
    walk(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_to_elasticsearch_7_10() {
    walk(Release::Elasticsearch7_10_2, Release::Elasticsearch7_10_2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_to_opensearch_2_19() {
    walk(Release::Elasticsearch7_10_2, Release::OpenSearch2_19_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_to_opensearch_3_6() {
    walk(Release::OpenSearch2_19_1, Release::OpenSearch3_6_0).await;
}

/// To an older release: what the incumbent refuses.
#[tokio::test(flavor = "multi_thread")]
async fn opensearch_3_6_to_opensearch_2_19() {
    walk(Release::OpenSearch3_6_0, Release::OpenSearch2_19_1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_17_to_elasticsearch_8_19() {
    walk(Release::Elasticsearch7_17_29, Release::Elasticsearch8_19_21).await;
}

/// A request that must be answered with this status.
async fn put(cluster: &Es, path: &str, body: &Value, wanted: u16) {
    let (status, answer) = cluster.put(path, body).await;
    assert_eq!(status, wanted, "PUT {path}: {answer}");
}

async fn walk(leader: Release, target: Release) {
    // 1. Two clusters and an agent beside each; 2. the gateway learns where the leader agent is.
    let Some(pair) = Pair::start(leader, target).await else {
        return;
    };
    let agents = Agents::start(&pair.leader.url(), &pair.target.url(), Options::default()).await;
    let (leader, target) = (pair.leader.client(), pair.target.client());

    // 3. An index with three documents.
    let one_shard = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0 } });
    put(&leader, "/leader-01", &one_shard, 200).await;
    put(&leader, "/leader-01/_doc/1", &json!({ "value": "data1" }), 201).await;
    put(&leader, "/leader-01/_doc/3", &json!({ "value": "data3" }), 201).await;

    // 4. Replication starts, in the words of Open Distro.
    let start = json!({ "remote_cluster": "leader-cluster", "remote_index": "leader-01" });
    let (status, answer) = agents
        .gateway
        .put("/_opendistro/_replication/follower-01/_start", &start)
        .await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    agents.wait_for_status("follower-01", "SYNCING", SOON).await;

    // 5. The leader changes.
    put(
        &leader,
        "/leader-01/_doc/1",
        &json!({ "value": "data1-modified" }),
        200,
    )
    .await;
    put(&leader, "/leader-01/_doc/2", &json!({ "value": "data2" }), 201).await;
    assert_eq!(leader.delete("/leader-01/_doc/3").await.0, 200);

    // 6. The follower has the same two documents, versions included.
    let documents = eventually("both documents are found on the follower", SOON, async || {
        let (_, answer) = target
            .get("/follower-01/_search?version=true&sort=value.keyword")
            .await;
        let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
        let seen: Vec<_> = hits
            .iter()
            .map(|hit| {
                (
                    hit["_id"].clone(),
                    hit["_version"].clone(),
                    hit["_source"].clone(),
                )
            })
            .collect();
        let wanted = vec![
            (json!("1"), json!(2), json!({ "value": "data1-modified" })),
            (json!("2"), json!(1), json!({ "value": "data2" })),
        ];
        if seen == wanted {
            Ok(seen)
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    assert_eq!(documents.len(), 2);
    let (_, listed) = target.get("/_cat/indices/follower-01?format=json").await;
    assert_eq!(listed[0]["docs.count"], "2", "{listed}");
    pair.wait_until_equal("leader-01", "follower-01", SOON).await;
    eventually("the status has caught up", SOON, async || {
        let status = agents.status("follower-01").await;
        let details = &status["syncing_details"];
        let caught_up = details["leader_checkpoint"] == 4 && details["follower_checkpoint"] == 4;
        if caught_up {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;

    // The product's own comparison agrees with the test's.
    let verify = "/_slipstream/v1/indices/follower-01/verify";
    assert_eq!(agents.gateway.post(verify, &json!({})).await.0, 200);
    let compared = eventually("it has been compared", SOON, async || {
        let (_, told) = agents.gateway.get(verify).await;
        if told["outcome"] == "running" {
            Err(told.to_string())
        } else {
            Ok(told)
        }
    })
    .await;
    assert_eq!(
        (&compared["outcome"], &compared["documents"]),
        (&json!("equal"), &json!(2)),
        "{compared}"
    );

    // 7. Writes to the following index are refused.
    let (status, answer) = agents.gateway.put("/follower-01/_doc/9", &json!({})).await;
    assert_eq!(status, 403, "{answer}");
    assert_eq!(answer["error"]["type"], "cluster_block_exception", "{answer}");

    // 8. After the stop it takes writes, and later changes of the leader do not arrive.
    let (status, answer) = agents
        .gateway
        .post("/_opendistro/_replication/follower-01/_stop", &json!({}))
        .await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    put(&target, "/follower-01/_doc/9", &json!({ "value": "mine" }), 201).await;
    put(
        &leader,
        "/leader-01/_doc/2?refresh=true",
        &json!({ "value": "too late" }),
        200,
    )
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_, answer) = target.get("/follower-01/_doc/2").await;
    assert_eq!(answer["_source"], json!({ "value": "data2" }));
    let (_, settings) = target.get("/follower-01/_settings?flat_settings=true").await;
    let settings = &settings["follower-01"]["settings"];
    assert!(
        settings.get("index.gc_deletes").is_none(),
        "a held setting was not put back: {settings}"
    );
    assert_eq!(
        agents.status("follower-01").await,
        json!({ "status": "REPLICATION NOT IN PROGRESS" })
    );
}
