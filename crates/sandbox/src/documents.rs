//! Single documents: index, create, get, delete, update and `_mget`.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::call::{Call, Params, RefreshPolicy, Reply, Wait};
use crate::cluster::{Cluster, Flavor, Target, random_id};
use crate::create;
use crate::error::{ApiError, ApiResult};
use crate::index::{SharedIndex, WriteOp};
use crate::json::{Json, write_string};
use crate::settings::Access;
use crate::shard::{Doc, Expect, Written};

/// The longest id that the engines take, in bytes.
const MAX_ID: usize = 512;

/// The version wishes of one write, as parameters or as members of a bulk line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wishes {
    pub(crate) version: Option<i64>,
    pub(crate) version_type: Option<String>,
    pub(crate) if_seq_no: Option<u64>,
    pub(crate) if_primary_term: Option<u64>,
    pub(crate) create: bool,
}

impl Wishes {
    fn of(params: &Params) -> ApiResult<Wishes> {
        Ok(Wishes {
            version: params.number("version")?,
            version_type: params.get("version_type").map(str::to_owned),
            if_seq_no: params.number("if_seq_no")?,
            if_primary_term: params.number("if_primary_term")?,
            create: params.get("op_type") == Some("create"),
        })
    }

    /// What the shard has to check; refuses wishes that contradict each other.
    pub(crate) fn expect(&self) -> ApiResult<Expect> {
        let kind = self.version_type.as_deref().unwrap_or("internal");
        let external = match kind {
            "internal" => None,
            "external" | "external_gt" | "external_gte" => {
                let version = self.version.unwrap_or(-3);
                if self.create {
                    return Err(ApiError::invalid(
                        "create operations only support internal versioning. use index instead",
                    ));
                }
                if version < 0 {
                    let name = if kind == "external_gte" {
                        "EXTERNAL_GTE"
                    } else {
                        "EXTERNAL"
                    };
                    let reason = format!("illegal version value [{version}] for version type [{name}]");
                    return Err(ApiError::invalid(&reason));
                }
                Some(version)
            }
            other => return Err(ApiError::illegal(format!("No version type match [{other}]"))),
        };
        match (external, self.if_seq_no, self.if_primary_term) {
            (Some(_), Some(_), _) => Err(ApiError::invalid(
                "compare and write operations can not use versioning",
            )),
            (Some(version), None, _) if kind == "external_gte" => Ok(Expect::ExternalGte(version)),
            (Some(version), None, _) => Ok(Expect::External(version)),
            (None, ..) if self.version.is_some() => Err(ApiError::invalid(
                "internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and \
                 `if_primary_term` instead",
            )),
            (None, Some(seq), Some(term)) if term > 0 => Ok(Expect::Seq(seq, term)),
            (None, Some(_), _) => Err(ApiError::invalid("ifSeqNo is set, but primary term is [0]")),
            (None, None, Some(term)) => {
                let reason = format!("ifSeqNo is unassigned, but primary term is [{term}]");
                Err(ApiError::invalid(&reason))
            }
            (None, None, None) if self.create => Ok(Expect::Absent),
            (None, None, None) => Ok(Expect::Any),
        }
    }
}

/// The index that a write goes to, made where it is missing, and the routing that its alias adds.
pub(crate) fn write_target(cluster: &Cluster, name: &str) -> ApiResult<(SharedIndex, Option<String>)> {
    match cluster.resolve_one(name)? {
        Some(Target { index, alias }) => {
            let routing = alias
                .as_ref()
                .and_then(|a| a["index_routing"].as_str())
                .map(str::to_owned);
            Ok((index, routing))
        }
        None => Ok((create::automatically(cluster, name)?, None)),
    }
}

/// Refuses pipelines: the sandbox has none, so naming one is naming one that does not exist.
pub(crate) fn check_pipeline(index: &SharedIndex, asked: Option<&str>) -> ApiResult<()> {
    let state = index.lock();
    let first = match asked {
        Some("_none") => None,
        Some(name) => Some(name),
        None => state.knobs.default_pipeline.as_deref(),
    };
    match first.or(state.knobs.final_pipeline.as_deref()) {
        Some(name) => Err(ApiError::illegal(format!(
            "pipeline with id [{name}] does not exist"
        ))),
        None => Ok(()),
    }
}

pub(crate) fn check_id(id: &str) -> ApiResult<()> {
    if id.is_empty() {
        return Err(ApiError::illegal("if _id is specified it must not be empty"));
    }
    if id.len() > MAX_ID {
        let reason = format!(
            "id [{id}] is too long, must be no longer than {MAX_ID} bytes but was: {}",
            id.len()
        );
        return Err(ApiError::invalid(&reason));
    }
    Ok(())
}

/// Does one write and makes it durable; the answer may have to wait for a refresh.
fn write_one(cluster: &Cluster, index: &SharedIndex, op: WriteOp<'_>, params: &Params) -> ApiResult<Reply> {
    let policy = RefreshPolicy::of(params)?;
    let id = op.id.to_owned();
    let mut state = index.lock_for(Access::Write)?;
    let written = cluster.with_surroundings(|around| index.write(&mut state, op, around));
    state.sync()?;
    let (shard, written) = written?;
    let wait = state.refresh_shard(shard, policy, cluster.clock.now())?;
    let waits = wait.map(Wait::Refresh).into_iter().collect();
    let body = written_json(cluster.flavor, &index.name, &id, written, state.copies());
    let status = match written.result {
        "created" => 201,
        "not_found" => 404,
        _ => 200,
    };
    Ok(Reply {
        waits,
        ..Reply::json(&body)
    }
    .with_status(status))
}

/// The answer to a write, alone or as an item of a bulk.
pub(crate) fn written_json(flavor: Flavor, index: &str, id: &str, written: Written, copies: Value) -> Value {
    let mut body = json!({
        "_index": index, "_id": id, "_version": written.version, "result": written.result, "_shards": copies,
        "_seq_no": written.seq_no, "_primary_term": written.term,
    });
    if flavor == Flavor::Elasticsearch {
        body["_type"] = json!("_doc");
    }
    body
}

/// `PUT|POST IDX/_doc/ID`, `IDX/_create/ID`, `POST IDX/_doc`.
pub(crate) fn index(
    cluster: &Cluster,
    call: &Call,
    name: &str,
    id: Option<&str>,
    create: bool,
) -> ApiResult<Reply> {
    if call.body.is_empty() {
        return Err(ApiError::body_required());
    }
    let mut wishes = Wishes::of(&call.params)?;
    wishes.create |= create || id.is_none();
    let expect = wishes.expect()?;
    let id = id.map_or_else(|| random_id(15), str::to_owned);
    check_id(&id)?;
    let (index, alias_routing) = write_target(cluster, name)?;
    check_pipeline(&index, call.params.get("pipeline"))?;
    let routing = call.params.get("routing").or(alias_routing.as_deref());
    let op = WriteOp {
        id: &id,
        routing,
        expect,
        source: Some(call.body.clone()),
    };
    write_one(cluster, &index, op, &call.params)
}

/// `DELETE IDX/_doc/ID`.
pub(crate) fn delete(cluster: &Cluster, call: &Call, name: &str, id: &str) -> ApiResult<Reply> {
    let wishes = Wishes::of(&call.params)?;
    let expect = wishes.expect()?;
    // An external version may bring a delete before its document: then the engines make the index too.
    let (index, alias_routing) = if wishes.version_type.is_some() {
        write_target(cluster, name)?
    } else {
        existing(cluster, name)?
    };
    let routing = call.params.get("routing").or(alias_routing.as_deref());
    let op = WriteOp {
        id,
        routing,
        expect,
        source: None,
    };
    write_one(cluster, &index, op, &call.params)
}

/// An index that must be there, and the routing that its alias adds to writes.
fn existing(cluster: &Cluster, name: &str) -> ApiResult<(SharedIndex, Option<String>)> {
    let target = cluster
        .resolve_one(name)?
        .ok_or_else(|| ApiError::no_index(name))?;
    let routing = target
        .alias
        .as_ref()
        .and_then(|a| a["index_routing"].as_str())
        .map(str::to_owned);
    Ok((target.index, routing))
}

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
) -> ApiResult<(SharedIndex, Option<std::sync::Arc<Doc>>)> {
    let (index, alias_routing) = existing(cluster, name)?;
    let mut state = index.lock_for(Access::Read)?;
    let number = state.routing.shard_of(id, routing.or(alias_routing.as_deref()));
    let shard = state.shard(number)?;
    shard.counters.gets += 1;
    let doc = shard.get(id).cloned();
    drop(state);
    Ok((index, doc))
}

/// A string, or a number as its text.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What an update comes to once the present document is known.
pub(crate) enum Update {
    Write(Bytes),
    Noop(Written),
}

/// Works out `_update`: merges `doc` into the present document, or takes `upsert`.
pub(crate) fn merge_update(
    flavor: Flavor,
    body: &[u8],
    id: &str,
    present: Option<&Doc>,
) -> ApiResult<Update> {
    let wrong = |e: String| ApiError::new(400, "x_content_parse_exception", e);
    let body = Json::parse(body).map_err(wrong)?;
    if body.get("script").is_some() {
        return Err(ApiError::illegal(
            "the sandbox runs no scripts; send `doc` or `upsert`",
        ));
    }
    let printed = |doc: &Json| {
        let mut out = Vec::new();
        doc.write(&mut out);
        Update::Write(Bytes::from(out))
    };
    let Some(present) = present else {
        let as_upsert = body.get("doc_as_upsert") == Some(&Json::Bool(true));
        let new = body
            .get("upsert")
            .or_else(|| body.get("doc").filter(|_| as_upsert));
        return new.map(printed).ok_or_else(|| {
            let kind = if flavor == Flavor::Elasticsearch {
                "[_doc]"
            } else {
                ""
            };
            ApiError::new(
                404,
                "document_missing_exception",
                format!("{kind}[{id}]: document missing"),
            )
        });
    };
    let Some(partial) = body.get("doc") else {
        return Err(ApiError::invalid("script or doc is missing"));
    };
    let mut doc = Json::parse(&present.source).map_err(wrong)?;
    if !doc.merge(partial) && body.get("detect_noop") != Some(&Json::Bool(false)) {
        let (version, seq_no, term) = (present.version, present.seq_no, present.term);
        return Ok(Update::Noop(Written {
            version,
            seq_no,
            term,
            result: "noop",
        }));
    }
    Ok(printed(&doc))
}

/// `POST IDX/_update/ID`.
pub(crate) fn update(cluster: &Cluster, call: &Call, name: &str, id: &str) -> ApiResult<Reply> {
    if call.body.is_empty() {
        return Err(ApiError::body_required());
    }
    check_id(id)?;
    let wishes = Wishes::of(&call.params)?;
    let asked = wishes.expect()?;
    let (index, alias_routing) = write_target(cluster, name)?;
    let routing = call.params.get("routing").or(alias_routing.as_deref());
    loop {
        let mut state = index.lock_for(Access::Write)?;
        let number = state.routing.shard_of(id, routing);
        let present = state.shard(number)?.get(id).cloned();
        drop(state);
        let merged = merge_update(cluster.flavor, &call.body, id, present.as_deref());
        match merged.map_err(|e| index.placed(e, number))? {
            Update::Noop(written) => {
                let none = json!({"total": 0, "successful": 0, "failed": 0});
                return Ok(Reply::json(&written_json(
                    cluster.flavor,
                    &index.name,
                    id,
                    written,
                    none,
                )));
            }
            Update::Write(source) => {
                let expect = match (asked, &present) {
                    (Expect::Any, Some(doc)) => Expect::Seq(doc.seq_no, doc.term),
                    (Expect::Any, None) => Expect::Absent,
                    (asked, _) => asked,
                };
                let op = WriteOp {
                    id,
                    routing,
                    expect,
                    source: Some(source),
                };
                match write_one(cluster, &index, op, &call.params) {
                    // Somebody wrote in between: look again, unless the caller named the version to be changed.
                    Err(e) if e.status.as_u16() == 409 && asked == Expect::Any => {}
                    other => return other,
                }
            }
        }
    }
}
