//! Cases in which the replication plugin refuses, loses its place or changes something, on real servers: what comes of them here.
//! `docs/compatibility.md` names these tests.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::Release;
use slipstream_tests::agents::{ALIAS, Agents, LONG, Options, SOON};
use slipstream_tests::real::Pair;
use slipstream_tests::world::refusal;

const BASE: &str = "/_plugins/_replication";

/// Two servers with agents between them, and an index on the leader.
struct Stage {
    pair: Pair,
    agents: Agents,
    leader: Es,
    target: Es,
}

impl Stage {
    async fn start() -> Option<Stage> {
        let release = Release::OpenSearch2_19_1;
        let pair = Pair::start(release, release).await?;
        let agents = Agents::start(&pair.leader.url(), &pair.target.url(), Options::default()).await;
        let (leader, target) = (pair.leader.client(), pair.target.client());
        Some(Stage {
            pair,
            agents,
            leader,
            target,
        })
    }

    /// Makes an index of one shard on the leader, with these settings besides.
    async fn create(&self, index: &str, mut settings: Value) {
        settings["number_of_shards"] = json!(1);
        settings["number_of_replicas"] = json!(0);
        done(
            self.leader
                .put(
                    &format!("/{index}?wait_for_active_shards=0"),
                    &json!({ "settings": settings }),
                )
                .await,
        );
    }

    /// Indexes documents on the leader, with these numbers as ids.
    async fn write(&self, index: &str, ids: std::ops::Range<u32>) {
        for id in ids {
            done(
                self.leader
                    .put(&format!("/{index}/_doc/{id}"), &json!({ "n": id }))
                    .await,
            );
        }
    }
}

/// A request that must succeed.
#[track_caller]
fn done((status, answer): (u16, Value)) {
    assert!(status < 300, "{status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_not_active_is_waited_for() {
    let Some(stage) = Stage::start().await else {
        return;
    };
    let nowhere = json!({ "index.routing.allocation.require._name": "nowhere" });
    stage.create("lead", nowhere).await;
    stage.agents.follow("f", "lead").await;
    eventually("it says that it waits for the primary", SOON, async || {
        let status = stage.agents.status("f").await;
        let waits = status["waiting_for"].as_str().unwrap_or_default();
        if waits.contains("[lead][0]") && waits.contains("primary") {
            println!("{waits}");
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let anywhere = json!({ "index.routing.allocation.require._name": null });
    done(stage.leader.put("/lead/_settings", &anywhere).await);
    stage.write("lead", 0..10).await;
    stage.pair.wait_until_equal("lead", "f", LONG).await;
}

/// What an outage of more than twelve hours takes from a leader: the incumbent's leases expire by then, and the history that they held goes with
/// the next merge and flush. No lease holds anything here, so these are enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_kept_no_history_is_caught_up_with() {
    let Some(mut stage) = Stage::start().await else {
        return;
    };
    stage.create("lead", json!({})).await;
    stage.write("lead", 0..40).await;
    stage.agents.follow("f", "lead").await;
    stage.pair.wait_until_equal("lead", "f", LONG).await;

    for round in 0..2 {
        // Held by an operator, or not there at all.
        if round == 0 {
            stage.agents.command("f", "_pause").await;
        } else {
            stage.agents.follower.kill();
        }
        stage.write("lead", 10..30).await;
        stage.write("lead", 100 + round..120).await;
        for id in 0..10 {
            let path = format!("/lead/_doc/{}", id + 30 * round);
            stage.leader.delete(&path).await;
        }
        // What was overwritten and deleted is gone from the index, and the translog from the disk.
        eventually("no deleted document is left", LONG, async || {
            done(stage.leader.post_bytes("/lead/_flush?force=true", "").await);
            let merge = "/lead/_forcemerge?max_num_segments=1&flush=true";
            done(stage.leader.post_bytes(merge, "").await);
            let (_, stats) = stage.leader.get("/lead/_stats/docs,translog").await;
            let (docs, translog) = (
                &stats["_all"]["primaries"]["docs"],
                &stats["_all"]["primaries"]["translog"],
            );
            if docs["deleted"] == 0 && translog["operations"] == 0 {
                Ok(())
            } else {
                Err(stats["_all"]["primaries"].to_string())
            }
        })
        .await;
        if round == 0 {
            stage.agents.command("f", "_resume").await;
        } else {
            stage.agents.restart_follower(Duration::ZERO).await;
        }
        stage.pair.wait_until_equal("lead", "f", LONG).await;
        stage.write("lead", 200..205).await;
        stage.pair.wait_until_equal("lead", "f", LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_cannot_read_and_what_is_no_index_is_refused_and_leaves_nothing() {
    let Some(stage) = Stage::start().await else {
        return;
    };
    // A list of stop words in a file that only the leader's node has.
    let file = stage.pair.leader.config_path().join("stopwords.txt");
    std::fs::write(file, "the\n").expect("a file of the node's");
    stage
        .create(
            "worded",
            json!({ "analysis": {
                "filter": { "stopped": { "type": "stop", "stopwords_path": "stopwords.txt" } },
                "analyzer": { "mine": { "tokenizer": "standard", "filter": ["stopped"] } },
            } }),
        )
        .await;
    let (status, answer) = stage.agents.try_follow("f", "worded").await;
    refusal(
        (status, &answer),
        400,
        "illegal_argument_exception",
        &[
            "the target cannot hold a copy of [worded]",
            "stopwords_path: file not readable",
        ],
    );

    done(
        stage
            .leader
            .put(
                "/_index_template/streams",
                &json!({ "index_patterns": ["stream-*"], "data_stream": {} }),
            )
            .await,
    );
    done(stage.leader.put_bytes("/_data_stream/stream-1", "").await);
    let (status, answer) = stage.agents.try_follow("f", "stream-1").await;
    refusal(
        (status, &answer),
        404,
        "index_not_found_exception",
        &["no such index [stream-1]"],
    );
    // Nor is what a rule or a pattern means.
    let rule = json!({ "leader_alias": ALIAS, "name": "streams", "pattern": "*stream*" });
    done(
        stage
            .agents
            .gateway
            .post(&format!("{BASE}/_autofollow"), &rule)
            .await,
    );
    stage.create("downstream", json!({})).await;
    stage.agents.wait_for_status("downstream", "SYNCING", SOON).await;
    let (_, told) = stage.agents.gateway.get("/_slipstream/v1/indices").await;
    assert_eq!(told["indices"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(stage.target.get("/f").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_the_leader_and_nothing_but_indices_is_copied() {
    let Some(stage) = Stage::start().await else {
        return;
    };
    let template =
        json!({ "index_patterns": ["other-*"], "template": { "settings": { "number_of_replicas": 0 } } });
    let pipeline = json!({ "processors": [] });
    let script = json!({ "script": { "lang": "expression", "source": "1" } });
    done(stage.leader.put("/_index_template/theirs", &template).await);
    done(stage.leader.put("/_ingest/pipeline/theirs", &pipeline).await);
    done(
        stage
            .leader
            .put("/_component_template/theirs", &json!({ "template": {} }))
            .await,
    );
    // The releases of the suites have no language for scripts.
    let scripted = stage.leader.put("/_scripts/theirs", &script).await.0 < 300;
    stage.create("lead", json!({})).await;
    let held = async |es: &Es| es.get("/lead/_settings?flat_settings=true").await.1;
    let before = held(&stage.leader).await;

    stage.agents.follow("f", "lead").await;
    stage.write("lead", 0..10).await;
    stage.pair.wait_until_equal("lead", "f", LONG).await;
    assert_eq!(
        held(&stage.leader).await,
        before,
        "the leader index is left as it was"
    );
    let (_, stats) = stage.leader.get("/lead/_stats?level=shards").await;
    let leases = &stats["indices"]["lead"]["shards"]["0"][0]["retention_leases"]["leases"];
    let own = |lease: &Value| {
        let id = lease["id"].as_str().unwrap_or_default();
        id.starts_with("peer_recovery/")
    };
    assert!(
        leases.as_array().is_some_and(|all| all.iter().all(own)),
        "{leases}"
    );
    let mut theirs = vec![
        "/_index_template/theirs",
        "/_ingest/pipeline/theirs",
        "/_component_template/theirs",
    ];
    if scripted {
        theirs.push("/_scripts/theirs");
    }
    for path in theirs {
        assert_eq!(stage.leader.get(path).await.0, 200, "{path}");
        assert_eq!(stage.target.get(path).await.0, 404, "{path}");
    }
}

/// The leader index has to be closed for that. The plugin's follower would stay held from then on.
#[tokio::test(flavor = "multi_thread")]
async fn analysis_that_the_leader_changes_while_it_is_closed_arrives_by_itself() {
    let Some(stage) = Stage::start().await else {
        return;
    };
    stage.create("lead", json!({})).await;
    stage.write("lead", 0..10).await;
    stage.agents.follow("f", "lead").await;
    stage.pair.wait_until_equal("lead", "f", LONG).await;

    done(stage.leader.post_bytes("/lead/_close", "").await);
    stage.agents.wait_for_status("f", "PAUSED", SOON).await;
    let analysis = json!({ "analysis": {
        "filter": { "stopped": { "type": "stop", "stopwords": ["end"] } },
        "analyzer": { "mine": { "tokenizer": "standard", "filter": ["stopped"] } },
    } });
    done(stage.leader.put("/lead/_settings", &analysis).await);
    done(stage.leader.post_bytes("/lead/_open", "").await);
    let mapping = json!({ "properties": { "word": { "type": "text", "analyzer": "mine" } } });
    done(stage.leader.put("/lead/_mapping", &mapping).await);
    done(
        stage
            .leader
            .put("/lead/_doc/word", &json!({ "word": "no end" }))
            .await,
    );
    stage.pair.wait_until_equal("lead", "f", LONG).await;
    stage.target.refresh("f").await;
    for (word, count) in [("no", 1), ("end", 0)] {
        let asked = json!({ "query": { "term": { "word": word } } });
        let (_, found) = stage.target.post("/f/_search", &asked).await;
        assert_eq!(found["hits"]["total"]["value"], count, "{word}: {found}");
    }
    assert_eq!(stage.agents.status("f").await["status"], "SYNCING");
}

/// What the target's templates hold for an index of that name is for its own indices.
#[tokio::test(flavor = "multi_thread")]
async fn templates_of_the_target_add_nothing_to_a_follower() {
    let Some(stage) = Stage::start().await else {
        return;
    };
    let contents = json!({
        "settings": { "index.number_of_shards": 3, "index.default_pipeline": "nowhere" },
        "mappings": { "dynamic": "strict", "properties": { "extra": { "type": "keyword" } } },
        "aliases": { "all-of-them": {} },
    });
    let mut older = contents.clone();
    older["index_patterns"] = json!(["older-*"]);
    done(stage.target.put("/_template/older", &older).await);
    let newer = json!({ "index_patterns": ["newer-*"], "template": contents, "priority": 1_000_000 });
    done(stage.target.put("/_index_template/newer", &newer).await);
    let streams = json!({ "index_patterns": ["streams-*"], "data_stream": {}, "priority": 7 });
    done(stage.target.put("/_index_template/streams", &streams).await);
    // Nothing of this one is seen in a mapping; there is no such pipeline, so nothing could be written.
    let piped = json!({ "index_patterns": ["piped-*"], "settings": { "index.final_pipeline": "nowhere" } });
    done(stage.target.put("/_template/piped", &piped).await);
    for name in ["older-f", "newer-f", "streams-f", "piped-f"] {
        let lead = format!("lead-{name}");
        stage.create(&lead, json!({})).await;
        stage.write(&lead, 0..5).await;
        stage.agents.follow(name, &lead).await;
        stage.write(&lead, 5..10).await;
        stage.pair.wait_until_equal(&lead, name, LONG).await;
        let (_, mapping) = stage.target.get(&format!("/{name}/_mapping")).await;
        let only = json!({ "properties": { "n": { "type": "long" } } });
        assert_eq!(mapping[name]["mappings"], only, "{name}");
    }
    let (_, templates) = stage.target.get("/_index_template").await;
    let templates = templates["index_templates"].as_array().expect("a list");
    let ours = templates.iter().filter(|template| {
        template["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("slipstream"))
    });
    assert_eq!(ours.count(), 0, "{templates:?}");
}
