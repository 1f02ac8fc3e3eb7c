//! The same calls against real servers: what the other tests take for granted is tried here.
//!
//! `SLIPSTREAM_TEST_CLUSTERS=http://127.0.0.1:9200,… cargo test -p slipstream-cluster --test real -- --ignored`
//! Makes and removes indices named `slipstream-cluster-test-*`.

#[path = "real/documents.rs"]
mod documents;
#[path = "real/indices.rs"]
mod indices;
#[path = "real/windows.rs"]
mod windows;

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
