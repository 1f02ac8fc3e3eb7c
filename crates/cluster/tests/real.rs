//! The same calls against real servers: what the other tests take for granted is tried here.
//!
//! `SLIPSTREAM_TEST_CLUSTERS=http://127.0.0.1:9200,… cargo test -p slipstream-cluster --test real -- --ignored`
//! Makes and removes indices named `slipstream-cluster-test-*`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use slipstream_cluster::{
    BulkItem, Cluster, ClusterConfig, ErrorKind, ItemOutcome, PageQuery, RetryReason, Searcher, fits_bulk,
};
use slipstream_model::settings::Settings;
use slipstream_model::{
    Change, Checkpoint, DocRef, IndexName, Op, PrimaryTerm, SeqNo, SeqRange, ShardId, Version,
};

fn clusters() -> Vec<Cluster> {
    let urls = std::env::var("SLIPSTREAM_TEST_CLUSTERS").expect("SLIPSTREAM_TEST_CLUSTERS names the servers");
    urls.split(',')
        .map(|url| Cluster::new(&ClusterConfig::new(url)).expect("a client"))
        .collect()
}

fn op(id: &str, routing: Option<&str>, version: i64, source: &[u8]) -> Op {
    Op {
        seq_no: SeqNo::ZERO,
        term: PrimaryTerm(1),
        version: Version(version),
        doc: DocRef {
            id: id.into(),
            routing: routing.map(str::to_owned),
        },
        change: Change::Index {
            source: Bytes::copy_from_slice(source),
        },
    }
}

fn settings(pairs: &[(&str, Value)]) -> Settings {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn small() -> Settings {
    settings(&[
        ("index.number_of_shards", json!("1")),
        ("index.number_of_replicas", json!("0")),
    ])
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

async fn fresh(cluster: &Cluster, name: &str, settings: &Settings) -> IndexName {
    let index = IndexName::new(format!("slipstream-cluster-test-{name}"));
    if cluster.exists(&index).await.expect("exists") {
        cluster.delete_index(&index).await.expect("delete");
    }
    cluster
        .create_index(&index, settings, &raw("{}"), &Map::new())
        .await
        .expect("create");
    index
}

async fn searcher(cluster: &Cluster, index: &IndexName) -> Searcher {
    let stats = cluster
        .seq_stats(std::slice::from_ref(index))
        .await
        .expect("stats");
    Searcher::new(
        index.clone(),
        ShardId(0),
        stats[index].shards[&ShardId(0)].node.clone(),
    )
}

fn all(target: &Searcher) -> PageQuery<'_> {
    PageQuery {
        target,
        range: SeqRange::new(Checkpoint::NONE, Checkpoint::NONE),
        unbounded: true,
        size: 1_000,
        max_bytes: 64 << 20,
        count_live: true,
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn documents_come_back_as_they_were_written() {
    let long = "ж".repeat(255);
    let utf16: Vec<u8> = "{\"a\":\"∢}\"}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let docs: [(&str, Option<&str>, i64, &[u8]); 15] = [
        ("utf-16", None, 4, &utf16),
        ("bulk 8", None, 4, b"{}"),
        (".", None, 0, b"{\"a\":\n1}"),
        ("..", Some("r"), 7, b"{\"a\":1}//x"),
        ("a/b?c#d %+&=", Some("x/y&z"), 9, b" {\"a\":1} // comment\n"),
        ("/", None, 1, b"{\"a\":1}\r"),
        ("%2E", None, 1, b"{\"a\":1}\n"),
        (
            "😀\u{1}\"\\",
            Some("😀"),
            5,
            b"\n {\"v\":12345678901234567890123.10} \n",
        ),
        (&long, None, i64::MAX, b"{\"a\":1}"),
        ("bulk 1", Some("ü\"\\"), 3, b"  { \"a\" : 1.00 } "),
        ("bulk 2", None, 4, b"{/* { */\"a\":1,/*]*/\"b\":\"/*\"}/* \" */"),
        ("bulk 3", None, 4, b"{\"a\":1} // open end"),
        ("bulk 4", None, 4, b"\xef\xbb\xbf{\"a\":1}"),
        ("bulk 5", None, 4, "{\"ключ\":\"значение 😀\"}".as_bytes()),
        ("bulk 6", None, 4, b"{\r\"a\":1 //c\r}"),
    ];
    for cluster in clusters() {
        let index = fresh(&cluster, "bytes", &small()).await;
        let ops: Vec<Op> = docs
            .iter()
            .map(|(id, routing, version, source)| op(id, *routing, *version, source))
            .collect();
        let mut written = Vec::new();
        for op in &ops {
            let Change::Index { source } = &op.change else {
                unreachable!()
            };
            let outcome = if fits_bulk(source) {
                let mut outcomes = cluster
                    .bulk(&index, &[BulkItem::Index { op }], "t")
                    .await
                    .expect("bulk");
                outcomes.pop().expect("an outcome")
            } else {
                cluster.put_document(&index, op, "t").await.expect("put")
            };
            assert_eq!(outcome, ItemOutcome::Applied, "{} {:?}", cluster.url(), op.doc);
            // The same again is accepted, a lower version is not.
            if op.version.0 > 0 {
                let lower = Op {
                    version: Version(op.version.0 - 1),
                    ..op.clone()
                };
                let outcome = cluster.put_document(&index, &lower, "t").await.expect("put");
                assert_eq!(outcome, ItemOutcome::Conflict, "{} {:?}", cluster.url(), op.doc);
            }
            written.push((op.doc.clone(), op.version, source.clone()));
        }
        cluster.refresh(&index).await.expect("refresh");
        let now = searcher(&cluster, &index).await;
        let pit = cluster.open_pit(&now).await.expect("pit");
        for target in [Some(&now), pit.as_ref()].into_iter().flatten() {
            let page = cluster.read_page(&all(target)).await.expect("a page");
            let read: Vec<_> = page
                .ops
                .iter()
                .map(|op| match &op.change {
                    Change::Index { source } => (op.doc.clone(), op.version, source.clone()),
                    _ => unreachable!(),
                })
                .collect();
            assert_eq!(read, written, "{}", cluster.url());
            assert_eq!(page.live, Some(docs.len() as u64));
            assert!(!page.full);
        }
        if let Some(pit) = pit {
            cluster.close_pit(pit.clone()).await;
            let error = cluster.read_page(&all(&pit)).await.expect_err("closed");
            assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        }
        let docs: Vec<DocRef> = ops.iter().map(|op| op.doc.clone()).collect();
        assert_eq!(
            cluster.present(&index, &docs).await.expect("mget"),
            vec![true; docs.len()]
        );
        let items: Vec<_> = docs.iter().map(|doc| BulkItem::Delete { doc }).collect();
        for _ in 0..2 {
            let outcomes = cluster.bulk(&index, &items, "t").await.expect("bulk");
            assert_eq!(
                outcomes,
                vec![ItemOutcome::Applied; docs.len()],
                "{}",
                cluster.url()
            );
        }
        assert_eq!(
            cluster.present(&index, &docs).await.expect("mget"),
            vec![false; docs.len()]
        );
        cluster.delete_index(&index).await.expect("delete");
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn windows_counts_and_holes_agree() {
    for cluster in clusters() {
        let index = fresh(&cluster, "windows", &small()).await;
        let ops: Vec<Op> = (0..100)
            .map(|n| op(&format!("d{n}"), None, 1, b"{\"a\":1}"))
            .collect();
        let items: Vec<_> = ops.iter().map(|op| BulkItem::Index { op }).collect();
        assert!(
            cluster
                .bulk(&index, &items, "t")
                .await
                .expect("bulk")
                .iter()
                .all(|o| *o == ItemOutcome::Applied)
        );
        let before = cluster
            .seq_stats(std::slice::from_ref(&index))
            .await
            .expect("stats")[&index]
            .clone();
        let gone: Vec<_> = ops[10..20]
            .iter()
            .map(|op| BulkItem::Delete { doc: &op.doc })
            .collect();
        cluster.bulk(&index, &gone, "t").await.expect("bulk");
        cluster.refresh(&index).await.expect("refresh");
        let after = cluster
            .seq_stats(std::slice::from_ref(&index))
            .await
            .expect("stats")[&index]
            .clone();
        let (before, after) = (&before.shards[&ShardId(0)], &after.shards[&ShardId(0)]);
        assert_eq!(after.max_seq_no, Checkpoint::new(109));
        assert_eq!(after.global_checkpoint.0, after.local_checkpoint);
        assert_eq!(before.history_uuid, after.history_uuid);
        assert!(after.refreshes > before.refreshes);

        let now = searcher(&cluster, &index).await;
        let pit = cluster.open_pit(&now).await.expect("pit");
        for target in [Some(&now), pit.as_ref()].into_iter().flatten() {
            let range = SeqRange::new(Checkpoint::new(4), Checkpoint::new(24));
            let query = PageQuery {
                range,
                unbounded: false,
                size: 5,
                ..all(target)
            };
            let page = cluster.read_page(&query).await.expect("a page");
            let seqs: Vec<u64> = page.ops.iter().map(|op| op.seq_no.get()).collect();
            assert_eq!(seqs, [5, 6, 7, 8, 9]);
            assert!(page.full && page.live == Some(90));
            let living = cluster.living(target, range, 10_000).await.expect("living");
            let expected: Vec<u64> = (5..10).chain(20..25).collect();
            assert_eq!(living.iter().map(|seq| seq.get()).collect::<Vec<_>>(), expected);
            assert_eq!(cluster.living(target, range, 3).await.expect("living").len(), 3);
            let histogram = cluster
                .live_histogram(target, 16, Checkpoint::new(i64::MAX - 1))
                .await
                .expect("histogram");
            assert_eq!(
                histogram,
                BTreeMap::from([(0, 10), (16, 12), (32, 16), (48, 16), (64, 16), (80, 16), (96, 4)])
            );
            let error = cluster
                .read_page(&PageQuery {
                    max_bytes: 2_000,
                    ..all(target)
                })
                .await
                .expect_err("large");
            assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        }
        let elsewhere = Searcher::new(index.clone(), ShardId(0), "nope");
        let error = cluster
            .read_page(&all(&elsewhere))
            .await
            .expect_err("no such node");
        assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        if pit.is_some() {
            let error = cluster.open_pit(&elsewhere).await.expect_err("no such node");
            assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        }
        let elsewhere = Searcher {
            shard: ShardId(9),
            ..now
        };
        let error = cluster
            .read_page(&all(&elsewhere))
            .await
            .expect_err("no such shard");
        assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        cluster.delete_index(&index).await.expect("delete");
        let error = cluster
            .read_page(&all(&elsewhere))
            .await
            .expect_err("no such index");
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn indices_are_described_and_changed() {
    for cluster in clusters() {
        let identity = cluster.identity().await.expect("identity");
        println!(
            "{} {} {} pit: {}",
            identity.engine,
            identity.version,
            identity.uuid,
            identity.supports_pit()
        );
        let index = fresh(&cluster, "meta", &small()).await;
        let alias = "slipstream-cluster-test-alias";
        let add = Map::from_iter([(
            alias.to_owned(),
            json!({ "filter": { "term": { "a": 1 } }, "index_routing": "r" }),
        )]);
        let versions = cluster
            .index_state(&index)
            .await
            .expect("state")
            .expect("there")
            .versions;
        let cluster_version = cluster.state_version().await.expect("version");
        cluster
            .put_mapping(&index, &raw(r#"{"properties":{"a":{"type":"long"}}}"#))
            .await
            .expect("mapping");
        cluster
            .put_settings(&index, &settings(&[("index.refresh_interval", json!("7s"))]))
            .await
            .expect("settings");
        cluster.update_aliases(&index, &add, &[]).await.expect("aliases");
        let description = cluster.describe(&index).await.expect("describe").expect("there");
        assert_eq!(
            description.mapping.get(),
            r#"{"properties":{"a":{"type":"long"}}}"#
        );
        assert_eq!(description.settings["index.refresh_interval"], json!("7s"));
        assert_eq!(
            description.aliases[alias]["filter"],
            json!({ "term": { "a": 1 } })
        );
        assert_eq!(description.aliases[alias]["index_routing"], json!("r"));
        let state = &description.state;
        assert!(state.open && state.shards == 1 && state.routing_shards > 1);
        assert!(state.versions.mapping > versions.mapping && state.versions.settings > versions.settings);
        assert!(state.versions.aliases > versions.aliases && state.state_version > cluster_version);
        assert_eq!(
            state.primary_terms,
            BTreeMap::from([(ShardId(0), PrimaryTerm(1))])
        );

        let name = IndexName::new(alias);
        assert_eq!(cluster.index_state(&name).await.expect("state"), None);
        assert!(cluster.describe(&name).await.expect("describe").is_none());
        assert!(cluster.exists(&name).await.expect("exists"));
        assert!(
            cluster
                .seq_stats(std::slice::from_ref(&name))
                .await
                .expect("stats")
                .is_empty()
        );
        let missing = IndexName::from("slipstream-cluster-test-nope");
        assert_eq!(cluster.index_state(&missing).await.expect("state"), None);
        assert!(!cluster.exists(&missing).await.expect("exists"));
        let stats = cluster
            .seq_stats(&[missing.clone(), index.clone(), name.clone()])
            .await
            .expect("stats");
        assert_eq!(stats.keys().collect::<Vec<_>>(), [&index]);
        assert_eq!(stats[&index].uuid, state.uuid);
        let names = cluster
            .index_names("slipstream-cluster-test-m*")
            .await
            .expect("names");
        assert_eq!(names, [(index.clone(), state.uuid.clone(), true)]);
        assert_eq!(
            cluster
                .index_names("slipstream-cluster-test-al*")
                .await
                .expect("names"),
            []
        );
        assert_eq!(
            cluster
                .index_names("slipstream-cluster-nope*")
                .await
                .expect("names"),
            []
        );

        let error = cluster
            .create_index(&index, &small(), &raw("{}"), &Map::new())
            .await
            .expect_err("exists");
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        let error = cluster.delete_index(&missing).await.expect_err("missing");
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        let conflict = raw(r#"{"properties":{"a":{"type":"keyword"}}}"#);
        let error = cluster
            .put_mapping(&index, &conflict)
            .await
            .expect_err("conflict");
        assert!(
            error.kind == ErrorKind::BadRequest && error.to_string().contains("[a]"),
            "{error}"
        );

        cluster
            .put_settings(&index, &settings(&[("index.refresh_interval", Value::Null)]))
            .await
            .expect("settings");
        cluster
            .update_aliases(&index, &Map::new(), &[alias.to_owned()])
            .await
            .expect("aliases");
        let description = cluster.describe(&index).await.expect("describe").expect("there");
        assert!(
            !description.settings.contains_key("index.refresh_interval") && description.aliases.is_empty()
        );

        cluster.close_index(&index).await.expect("close");
        assert!(
            !cluster
                .index_state(&index)
                .await
                .expect("state")
                .expect("there")
                .open
        );
        assert!(
            !cluster
                .index_names("slipstream-cluster-test-meta")
                .await
                .expect("names")[0]
                .2
        );
        assert!(cluster.describe(&index).await.expect("describe").is_some());
        assert!(
            cluster
                .seq_stats(std::slice::from_ref(&index))
                .await
                .expect("stats")
                .is_empty()
        );
        assert_eq!(
            cluster.refresh(&index).await.expect_err("closed").kind,
            ErrorKind::IndexClosed
        );
        let doc = op("a", None, 1, b"{\"a\":1}");
        let outcomes = cluster
            .bulk(&index, &[BulkItem::Index { op: &doc }], "t")
            .await
            .expect("bulk");
        assert!(
            matches!(outcomes[0], ItemOutcome::Retry(RetryReason::Blocked, _)),
            "{outcomes:?}"
        );
        let error = cluster
            .present(&index, std::slice::from_ref(&doc.doc))
            .await
            .expect_err("closed");
        assert_eq!(error.kind, ErrorKind::IndexClosed, "{error}");
        cluster.open_index(&index).await.expect("open");

        for block in ["index.blocks.write", "index.blocks.read_only_allow_delete"] {
            cluster
                .put_settings(&index, &settings(&[(block, json!(true))]))
                .await
                .expect("settings");
            let outcomes = cluster
                .bulk(&index, &[BulkItem::Index { op: &doc }], "t")
                .await
                .expect("bulk");
            assert!(
                matches!(outcomes[0], ItemOutcome::Retry(RetryReason::Blocked, _)),
                "{outcomes:?}"
            );
            let outcome = cluster.put_document(&index, &doc, "t").await.expect("put");
            assert!(
                matches!(outcome, ItemOutcome::Retry(RetryReason::Blocked, _)),
                "{outcome:?}"
            );
            cluster
                .put_settings(&index, &settings(&[(block, Value::Null)]))
                .await
                .expect("settings");
        }
        let wrong = op("a", None, 1, b"{\"a\":\"x\"}");
        for outcome in [
            cluster
                .bulk(&index, &[BulkItem::Index { op: &wrong }], "t")
                .await
                .expect("bulk")
                .remove(0),
            cluster.put_document(&index, &wrong, "t").await.expect("put"),
        ] {
            let ItemOutcome::Rejected(error) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(error.status == 400 && error.reason.contains("[a]"), "{error:?}");
        }
        assert!(!cluster.bulk_running(&["t"]).await.expect("tasks"));
        cluster.delete_index(&index).await.expect("delete");
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn a_blocked_index_does_not_hide_the_others() {
    for cluster in clusters() {
        let blocked = fresh(&cluster, "blocked", &small()).await;
        let open = fresh(&cluster, "unblocked", &small()).await;
        let block = |on: Value| settings(&[("index.blocks.metadata", on)]);
        cluster
            .put_settings(&blocked, &block(json!(true)))
            .await
            .expect("settings");
        let stats = cluster
            .seq_stats(&[blocked.clone(), open.clone()])
            .await
            .expect("stats");
        assert_eq!(stats.keys().collect::<Vec<_>>(), [&open]);
        let error = cluster
            .seq_stats(std::slice::from_ref(&blocked))
            .await
            .expect_err("blocked");
        assert_eq!(error.kind, ErrorKind::Blocked, "{error}");
        cluster
            .put_settings(&blocked, &block(Value::Null))
            .await
            .expect("settings");
        cluster.delete_index(&blocked).await.expect("delete");
        cluster.delete_index(&open).await.expect("delete");
    }
}

/// A bulk that waits for a shard which never comes is seen running, then gives up by itself.
#[tokio::test]
#[ignore = "needs real servers"]
async fn a_running_bulk_is_seen() {
    let urls = std::env::var("SLIPSTREAM_TEST_CLUSTERS").expect("SLIPSTREAM_TEST_CLUSTERS names the servers");
    for url in urls.split(',') {
        let mut config = ClusterConfig::new(url);
        config.timeouts.bulk = Duration::from_secs(8);
        let cluster = Cluster::new(&config).expect("a client");
        let index = fresh(&cluster, "running", &small()).await;
        cluster.delete_index(&index).await.expect("delete");
        let mut nowhere = small();
        nowhere.insert("index.routing.allocation.require._name".into(), json!("nope"));
        let outcome = cluster
            .create_index(&index, &nowhere, &raw("{}"), &Map::new())
            .await;
        assert!(outcome.is_err(), "the primary cannot start");
        let writer = {
            let (cluster, index) = (cluster.clone(), index.clone());
            tokio::spawn(async move {
                let doc = op("a", None, 1, b"{}");
                cluster
                    .bulk(&index, &[BulkItem::Index { op: &doc }], "running-1")
                    .await
            })
        };
        let mut seen = false;
        while !writer.is_finished() {
            seen |= cluster.bulk_running(&["running-1"]).await.expect("tasks");
            assert!(!cluster.bulk_running(&["running-2"]).await.expect("tasks"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(seen, "{url}");
        let outcomes = writer
            .await
            .expect("no panic")
            .expect("answered within the deadline");
        assert!(
            matches!(outcomes[0], ItemOutcome::Retry(RetryReason::Unavailable, _)),
            "{outcomes:?}"
        );
        assert!(!cluster.bulk_running(&["running-1"]).await.expect("tasks"));
        // An index without any assigned copy is not in the statistics at all.
        assert_eq!(
            cluster
                .seq_stats(std::slice::from_ref(&index))
                .await
                .expect("stats"),
            BTreeMap::new()
        );
        cluster.delete_index(&index).await.expect("delete");
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn the_node_beside_the_client_holds_the_copies_of_a_single_node() {
    for cluster in clusters() {
        let index = fresh(&cluster, "copies", &small()).await;
        let node = cluster.local_node().await.expect("node");
        let copies = cluster.shard_copies(&index).await.expect("copies").expect("open");
        let stats = cluster
            .seq_stats(std::slice::from_ref(&index))
            .await
            .expect("stats");
        let (copy, primary) = (&copies.shards[&ShardId(0)], &stats[&index].shards[&ShardId(0)]);
        assert_eq!(copies.uuid, stats[&index].uuid);
        assert_eq!((copy.len(), copy[0].primary), (1, true));
        assert_eq!((&copy[0].node, &copy[0].node), (&node.id, &primary.node));
        assert_eq!(copy[0].history_uuid, primary.history_uuid);
        assert!(!copy[0].translog_uuid.is_empty(), "{copy:?}");
        assert!(!copy[0].data_path.is_empty(), "{copy:?}");
        cluster.delete_index(&index).await.expect("delete");
        assert_eq!(cluster.shard_copies(&index).await.expect("copies"), None);
    }
}
