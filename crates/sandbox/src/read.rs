//! Reads of single documents: get, `_source` and `_mget`. Always realtime.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::{Call, Reply, scalar_text};
use crate::cluster::{Cluster, Flavor};
use crate::documents::existing;
use crate::error::{ApiError, ApiResult};
use crate::index::SharedIndex;
use crate::json::write_string;
use crate::knobs::Access;
use crate::shard::Doc;

/// `GET|HEAD IDX/_doc/ID` and `IDX/_source/ID`; always realtime.
pub(crate) fn get(
    cluster: &Cluster,
    call: &Call,
    name: &str,
    id: &str,
    source_only: bool,
) -> ApiResult<Reply> {
    let (index, alias_routing) = existing(cluster, name)?;
    let routing = call.params.get("routing").or(alias_routing.as_deref());
    let mut state = index.lock_for(Access::Read)?;
    let number = state.routing.shard_of(id, routing);
    let shard = state.shard(number)?;
    shard.counters.gets += 1;
    let Some(doc) = shard.get(id).cloned() else {
        if source_only {
            let reason = format!("Document not found [{name}]/[{id}]");
            return Err(ApiError::new(404, "resource_not_found_exception", reason));
        }
        let mut out = Vec::new();
        write_missing(&mut out, cluster.flavor, &index.name, id);
        return Ok(Reply::bytes(out).with_status(404));
    };
    drop(state);
    if source_only {
        return Ok(Reply::bytes(doc.source.to_vec()));
    }
    let mut out = Vec::with_capacity(doc.source.len() + 160);
    write_found(
        &mut out,
        cluster.flavor,
        &index.name,
        &doc,
        call.params.get("_source") != Some("false"),
    );
    Ok(Reply::bytes(out))
}

/// Opens a document's object with what tells where it is.
pub(crate) fn write_head(out: &mut Vec<u8>, flavor: Flavor, index: &str, id: &str) {
    out.extend_from_slice(b"{\"_index\":");
    write_string(out, index);
    if flavor == Flavor::Elasticsearch {
        out.extend_from_slice(b",\"_type\":\"_doc\"");
    }
    out.extend_from_slice(b",\"_id\":");
    write_string(out, id);
}

fn write_missing(out: &mut Vec<u8>, flavor: Flavor, index: &str, id: &str) {
    write_head(out, flavor, index, id);
    out.extend_from_slice(b",\"found\":false}");
}

fn write_found(out: &mut Vec<u8>, flavor: Flavor, index: &str, doc: &Doc, source: bool) {
    write_head(out, flavor, index, &doc.id);
    let numbers = format!(
        ",\"_version\":{},\"_seq_no\":{},\"_primary_term\":{}",
        doc.version, doc.seq_no, doc.term
    );
    out.extend_from_slice(numbers.as_bytes());
    // A read without the source reads no stored field at all in the engines, the routing included.
    if let Some(routing) = doc.routing.as_ref().filter(|_| source) {
        out.extend_from_slice(b",\"_routing\":");
        write_string(out, routing);
    }
    out.extend_from_slice(b",\"found\":true");
    if source {
        out.extend_from_slice(b",\"_source\":");
        out.extend_from_slice(&doc.source);
    }
    out.push(b'}');
}

/// `_mget` and `IDX/_mget`.
pub(crate) fn mget(cluster: &Cluster, call: &Call, name: Option<&str>) -> ApiResult<Reply> {
    let body = call.json_required()?;
    let mut wanted: Vec<Value> = body["docs"].as_array().cloned().unwrap_or_default();
    if let Some(ids) = body["ids"].as_array() {
        wanted.extend(ids.iter().map(|id| json!({"_id": id})));
    }
    if wanted.is_empty() {
        return Err(ApiError::invalid("no documents to get"));
    }
    let mut out = b"{\"docs\":[".to_vec();
    for (n, doc) in wanted.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        let index_name = doc["_index"].as_str().or(name).unwrap_or("");
        if index_name.is_empty() {
            return Err(ApiError::invalid("index is missing"));
        }
        let id = scalar_text(&doc["_id"]).ok_or_else(|| ApiError::invalid("id is missing"))?;
        let routing = scalar_text(&doc["routing"]);
        let source = doc["_source"] != json!(false) && call.params.get("_source") != Some("false");
        match mget_one(cluster, index_name, &id, routing.as_deref()) {
            Ok((index, Some(doc))) => write_found(&mut out, cluster.flavor, &index.name, &doc, source),
            Ok((index, None)) => write_missing(&mut out, cluster.flavor, &index.name, &id),
            Err(error) => {
                write_head(&mut out, cluster.flavor, index_name, &id);
                out.extend_from_slice(b",\"error\":");
                out.extend_from_slice(error.with_root().to_string().as_bytes());
                out.push(b'}');
            }
        }
    }
    out.extend_from_slice(b"]}");
    Ok(Reply::bytes(out))
}

fn mget_one(
    cluster: &Cluster,
    name: &str,
    id: &str,
    routing: Option<&str>,
) -> ApiResult<(SharedIndex, Option<Arc<Doc>>)> {
    let (index, alias_routing) = existing(cluster, name)?;
    let mut state = index.lock_for(Access::Read)?;
    let number = state.routing.shard_of(id, routing.or(alias_routing.as_deref()));
    let shard = state.shard(number)?;
    shard.counters.gets += 1;
    let doc = shard.get(id).cloned();
    drop(state);
    Ok((index, doc))
}
