//! What the server says of the documents that are left, against what their logged operations come to.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, escape};
use slipstream_translog::Op;

use crate::folder::Folder;

/// Id, routing, version and primary term of a document, by its sequence number.
type Living = BTreeMap<u64, (String, Option<String>, i64, u64)>;

/// Compares the living documents of a shard, and the sources of those in JSON byte by byte.
pub(crate) async fn compare(client: &Es, index: &str, shard: u32, folder: &Folder) {
    let mut operations = folder.operations();
    operations.sort_by_key(Op::seq_no);
    let mut last: BTreeMap<&str, &Op<'_>> = BTreeMap::new();
    for op in &operations {
        match op {
            Op::Index { id, .. } => {
                last.insert(id, op);
            }
            Op::Delete { id, .. } => {
                last.remove(&**id);
            }
            Op::Noop { .. } => {}
        }
    }
    let logged: Living = last
        .values()
        .filter_map(|op| match op {
            Op::Index {
                id, routing, version, ..
            } => Some((
                op.seq_no(),
                (
                    id.to_string(),
                    routing.as_deref().map(str::to_owned),
                    *version,
                    op.primary_term(),
                ),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(logged, found(client, index, shard).await, "[{index}][{shard}]");

    let mut compared = 0;
    for op in last.values() {
        if let Op::Index {
            id, routing, source, ..
        } = op
            && source.trim_ascii_start().first() == Some(&b'{')
        {
            let routing = routing
                .as_ref()
                .map(|routing| format!("?routing={}", escape(routing)));
            let path = format!("/{index}/_source/{}{}", escape(id), routing.unwrap_or_default());
            let (status, said) = client.get_bytes(&path).await;
            assert_eq!(status, 200, "{path}");
            assert!(said == *source, "{path}: {}", String::from_utf8_lossy(&said));
            compared += 1;
        }
    }
    println!("[{index}][{shard}]: {compared} sources are logged as they are told");
}

/// The documents that a search finds in a shard.
async fn found(client: &Es, index: &str, shard: u32) -> Living {
    client.refresh(index).await;
    let body = json!({"size": 10_000, "version": true, "seq_no_primary_term": true, "_source": false,
        "stored_fields": ["_routing"]});
    let (status, answer) = client
        .post(&format!("/{index}/_search?preference=_shards:{shard}"), &body)
        .await;
    assert_eq!(status, 200, "{answer}");
    let hits = answer["hits"]["hits"].as_array().expect("hits");
    hits.iter()
        .map(|hit: &Value| {
            (
                hit["_seq_no"].as_u64().expect("a sequence number"),
                (
                    hit["_id"].as_str().expect("an id").to_owned(),
                    hit["_routing"].as_str().map(str::to_owned),
                    hit["_version"].as_i64().expect("a version"),
                    hit["_primary_term"].as_u64().expect("a primary term"),
                ),
            )
        })
        .collect()
}
