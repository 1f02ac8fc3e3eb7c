//! Starting, stopping, pausing and resuming in the middle of writes at full speed.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_testkit::servers::Release;
use slipstream_testkit::workload::{StormIndex, Workload};
use slipstream_tests::agents::{Agents, LONG, Options, SOON};
use slipstream_tests::real::Pair;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn start_stop_pause_and_resume_in_the_middle_of_writes() {
    let Some(pair) = Pair::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    let agents = Agents::start(&pair.leader.url(), &pair.target.url(), Options::default()).await;
    let seed = 7;
    println!("seed {seed}");
    let index = StormIndex {
        name: "busy".to_owned(),
        shards: 2,
        versions_restart: true,
    };
    let workload = Workload::new(seed).with_indices(vec![index]);
    workload.create_indices(&pair.leader.client()).await;
    let writers = workload.start(&pair.leader.url());

    // Twice from nothing: the second copy must owe nothing to the first.
    for copy in ["copy-a", "copy-b"] {
        agents.follow(copy, "busy").await;
        for _ in 0..3 {
            agents.command(copy, "_pause").await;
            let status = agents.status(copy).await;
            assert_eq!(status["status"], "PAUSED", "{status}");
            sleep(Duration::from_millis(700)).await;
            agents.command(copy, "_resume").await;
            sleep(Duration::from_millis(700)).await;
        }
        agents.wait_for_status(copy, "SYNCING", LONG).await;
    }
    agents.command("copy-a", "_stop").await;
    let (status, answer) = pair
        .target
        .client()
        .put("/copy-a/_doc/mine", &json!({ "mine": true }))
        .await;
    assert_eq!(status, 201, "a stopped index takes writes: {answer}");
    // Two copies of an index cannot both be the write index of its alias: the second gets it once the first gives it up.
    let target = pair.target.client();
    let (_, held) = target.get("/copy-a/_alias").await;
    for alias in held["copy-a"]["aliases"]
        .as_object()
        .into_iter()
        .flat_map(|held| held.keys())
    {
        assert_eq!(target.delete(&format!("/copy-a/_alias/{alias}")).await.0, 200);
    }

    writers.stop().await;
    pair.wait_until_equal("busy", "copy-b", LONG).await;

    // The stopped index keeps what it had, and its name cannot be used again over its contents.
    let (status, answer) = agents.try_follow("copy-a", "busy").await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        answer["error"]["reason"],
        "Cant use same index again for replication. Delete the index:copy-a"
    );
    assert_eq!(pair.target.client().get("/copy-a/_doc/mine").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_acknowledges_before_it_syncs_is_followed_within_seconds() {
    let Some(pair) = Pair::start(Release::Elasticsearch7_10_2, Release::Elasticsearch7_10_2).await else {
        return;
    };
    let mut agents = Agents::start(&pair.leader.url(), &pair.target.url(), Options::default()).await;
    let leader = pair.leader.client();
    let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0, "translog.durability": "async" } });
    assert_eq!(leader.put("/asynchronous", &settings).await.0, 200);
    agents.follow("copy", "asynchronous").await;
    for number in 0..20 {
        assert_eq!(
            leader
                .put(&format!("/asynchronous/_doc/{number}"), &json!({ "n": number }))
                .await
                .0,
            201
        );
    }
    assert_eq!(leader.delete("/asynchronous/_doc/3").await.0, 200);
    // The global checkpoint of such an index can stay behind for 30 s after the last write.
    pair.wait_until_equal("asynchronous", "copy", Duration::from_secs(15))
        .await;
    let (_, held) = pair
        .target
        .client()
        .get("/copy/_settings?flat_settings=true")
        .await;
    assert_eq!(
        held["copy"]["settings"]["index.translog.durability"], "request",
        "I2: {held}"
    );

    // Switched back right after its last write, such an index never syncs that write by itself.
    assert_eq!(
        leader.put("/asynchronous/_doc/last", &json!({ "n": 98 })).await.0,
        201
    );
    let request = json!({ "index.translog.durability": "request" });
    assert_eq!(leader.put("/asynchronous/_settings", &request).await.0, 200);
    pair.wait_until_equal("asynchronous", "copy", SOON).await;
    let asynchronous = json!({ "index.translog.durability": "async" });
    assert_eq!(leader.put("/asynchronous/_settings", &asynchronous).await.0, 200);

    // A crash while a static setting was being put leaves the follower index closed: the next life opens it.
    agents.follower.kill();
    assert_eq!(pair.target.client().post("/copy/_close", &json!({})).await.0, 200);
    assert_eq!(
        leader.put("/asynchronous/_doc/late", &json!({ "n": 99 })).await.0,
        201
    );
    agents.restart_follower(Duration::ZERO).await;
    pair.wait_until_equal("asynchronous", "copy", SOON).await;

    agents.command("copy", "_stop").await;
    eventually("the leader's durability is put back", SOON, async || {
        let (_, settings) = pair
            .target
            .client()
            .get("/copy/_settings?flat_settings=true")
            .await;
        let durability = settings["copy"]["settings"]["index.translog.durability"].clone();
        if durability == "async" {
            Ok(())
        } else {
            Err(settings.to_string())
        }
    })
    .await;
}
