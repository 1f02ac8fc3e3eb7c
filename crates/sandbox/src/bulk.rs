//! `_bulk`: many writes in one request, each with an outcome of its own, in the order in which they were sent.
//!
//! A source is the bytes of its line, except for one carriage return at the end, which the engines cut off too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::call::{Call, RefreshPolicy, Reply, Wait, scalar_text};
use crate::cluster::{Cluster, Flavor, random_id};
use crate::documents::{self, written_json};
use crate::error::{ApiError, ApiResult};
use crate::index::{SharedIndex, WriteOp};
use crate::knobs::Access;
use crate::shard::{Expect, Written};
use crate::update::{Update, merge_update};
use crate::wishes::Wishes;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Index,
    Create,
    Update,
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::Index => "index",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

#[derive(Debug)]
struct Item {
    verb: Verb,
    index: String,
    id: Option<String>,
    routing: Option<String>,
    pipeline: Option<String>,
    wishes: Wishes,
    source: Option<Bytes>,
}

/// Reads the whole body before anything is done: a malformed line refuses all of it.
fn parse(call: &Call, default_index: Option<&str>) -> ApiResult<Vec<Item>> {
    if call.body.is_empty() {
        return Err(ApiError::body_required());
    }
    if call.body.last() != Some(&b'\n') {
        return Err(ApiError::illegal(
            "The bulk request must be terminated by a newline [\\n]",
        ));
    }
    let mut items = Vec::new();
    let mut at = 0;
    let mut next_line = || -> Option<Bytes> {
        let rest = call.body.get(at..).filter(|r| !r.is_empty())?;
        let length = rest.iter().position(|b| *b == b'\n')?;
        let line = call.body.slice(at..at + length);
        at += length + 1;
        Some(line)
    };
    let mut lines = 0;
    while let Some(line) = next_line() {
        lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut item = action(&line, lines, default_index)?;
        if item.verb != Verb::Delete {
            // An action whose source is missing at the very end is dropped, as the engines do.
            let Some(source) = next_line() else { break };
            lines += 1;
            let cut = usize::from(source.last() == Some(&b'\r'));
            item.source = Some(source.slice(..source.len() - cut));
        }
        item.routing = item
            .routing
            .or_else(|| call.params.get("routing").map(str::to_owned));
        item.pipeline = item
            .pipeline
            .or_else(|| call.params.get("pipeline").map(str::to_owned));
        items.push(item);
    }
    if items.is_empty() {
        return Err(ApiError::invalid("no requests added"));
    }
    // The engines too judge the wishes of all items before the first is done.
    for item in &items {
        if item.index.is_empty() {
            return Err(ApiError::invalid("index is missing"));
        }
        if let (Verb::Index | Verb::Create, Some(id)) = (item.verb, &item.id)
            && id.len() > 512
        {
            documents::check_id(id)?;
        }
        item.wishes.expect()?;
    }
    Ok(items)
}

fn action(line: &[u8], number: usize, default_index: Option<&str>) -> ApiResult<Item> {
    let malformed =
        |why: String| ApiError::illegal(format!("Malformed action/metadata line [{number}], {why}"));
    let parsed: Value =
        serde_json::from_slice(line).map_err(|e| malformed(format!("could not read it: {e}")))?;
    let members = parsed
        .as_object()
        .ok_or_else(|| malformed("expected START_OBJECT".into()))?;
    let Some((verb, body)) = members.iter().next() else {
        return Err(malformed("expected FIELD_NAME but found [END_OBJECT]".into()));
    };
    let verb = match verb.as_str() {
        "index" => Verb::Index,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "delete" => Verb::Delete,
        other => {
            let why = format!("expected one of [create, delete, index, update] but found [{other}]");
            return Err(malformed(why));
        }
    };
    let mut item = Item {
        verb,
        index: default_index.unwrap_or("").to_owned(),
        id: None,
        routing: None,
        pipeline: None,
        wishes: Wishes {
            create: verb == Verb::Create,
            ..Wishes::default()
        },
        source: None,
    };
    for (name, value) in body.as_object().into_iter().flatten() {
        let text = scalar_text(value);
        match name.as_str() {
            "_index" => item.index = text.unwrap_or_default(),
            "_id" => item.id = text,
            "routing" => item.routing = text,
            "pipeline" => item.pipeline = text,
            "version" => item.wishes.version = value.as_i64(),
            "version_type" => item.wishes.version_type = text,
            "if_seq_no" => item.wishes.if_seq_no = value.as_u64(),
            "if_primary_term" => item.wishes.if_primary_term = value.as_u64(),
            "op_type" => item.wishes.create |= text.as_deref() == Some("create"),
            "_type" | "require_alias" | "retry_on_conflict" => {}
            other => {
                return Err(ApiError::illegal(format!(
                    "Action/metadata line [{number}] contains an unknown parameter [{other}]"
                )));
            }
        }
    }
    Ok(item)
}

/// `POST [IDX/]_bulk`.
pub(crate) fn bulk(cluster: &Cluster, call: &Call, default_index: Option<&str>) -> ApiResult<Reply> {
    let started = Instant::now();
    let policy = RefreshPolicy::of(&call.params)?;
    let items = parse(call, default_index)?;
    let mut touched = Touched::new();
    let mut errors = false;
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let id = item.id.clone().unwrap_or_else(|| random_id(15));
        let outcome = one(cluster, &item, &id, &mut touched);
        errors |= outcome.is_err();
        answers.push(answer(cluster.flavor, &item, &id, outcome));
    }
    let mut waits = Vec::new();
    for (index, shards) in touched.values() {
        let mut state = index.lock();
        state.sync()?;
        for shard in shards {
            waits.extend(
                state
                    .refresh_shard(*shard, policy, cluster.clock.now())?
                    .map(Wait::Refresh),
            );
        }
    }
    let took = started.elapsed().as_millis() as u64;
    let body = json!({"took": took, "errors": errors, "items": answers});
    Ok(Reply {
        waits,
        ..Reply::json(&body)
    })
}

/// The indices that a bulk wrote to by name, and which of their shards.
type Touched = BTreeMap<String, (SharedIndex, BTreeSet<u32>)>;

struct Done {
    index: String,
    written: Written,
    copies: Value,
}

fn one(cluster: &Cluster, item: &Item, id: &str, touched: &mut Touched) -> ApiResult<Done> {
    if cluster.faults.reject_item() {
        return Err(ApiError::new(
            429,
            "es_rejected_execution_exception",
            "rejected execution of primary operation [coordinating_and_primary_bytes=0, replica_bytes=0]",
        ));
    }
    let known = touched.get(&item.index).map(|(index, _)| index.clone());
    let (index, alias_routing) = match known {
        Some(index) => (index, None),
        None => match item.verb {
            Verb::Delete if item.wishes.version_type.is_none() => {
                let target = cluster
                    .resolve_one(&item.index)?
                    .ok_or_else(|| ApiError::no_index(&item.index))?;
                (
                    target.index,
                    target
                        .alias
                        .and_then(|a| a["index_routing"].as_str().map(str::to_owned)),
                )
            }
            _ => documents::write_target(cluster, &item.index)?,
        },
    };
    if matches!(item.verb, Verb::Index | Verb::Create) {
        documents::check_pipeline(&index, item.pipeline.as_deref())?;
    }
    if item.id.is_some() {
        documents::check_id(id)?;
    }
    let routing = item.routing.as_deref().or(alias_routing.as_deref());
    let expect = item.wishes.expect()?;
    let mut state = index.lock_for(Access::Write)?;
    let copies = state.copies();
    let (source, expect) = match (item.verb, &item.source) {
        (Verb::Update, Some(body)) => {
            let number = state.routing.shard_of(id, routing);
            let present = state.shard(number)?.get(id).cloned();
            let merged = merge_update(cluster.flavor, body, id, present.as_deref());
            match merged.map_err(|e| index.placed(e, number))? {
                Update::Noop(written) => {
                    let none = json!({"total": 0, "successful": 0, "failed": 0});
                    return Ok(Done {
                        index: index.name.clone(),
                        written,
                        copies: none,
                    });
                }
                Update::Write(source) => (Some(source), expect),
            }
        }
        (Verb::Delete, _) => (None, expect),
        (Verb::Index | Verb::Create | Verb::Update, None) => (Some(Bytes::new()), Expect::Any),
        (_, Some(source)) => (Some(source.clone()), expect),
    };
    let op = WriteOp {
        id,
        routing,
        expect,
        source,
    };
    let (shard, written) = cluster.with_surroundings(|around| index.write(&mut state, op, around))?;
    let entry = touched
        .entry(index.name.clone())
        .or_insert_with(|| (index.clone(), BTreeSet::new()));
    entry.1.insert(shard);
    Ok(Done {
        index: index.name.clone(),
        written,
        copies,
    })
}

fn answer(flavor: Flavor, item: &Item, id: &str, outcome: ApiResult<Done>) -> Value {
    let body = match outcome {
        Ok(done) => {
            let status = match done.written.result {
                "created" => StatusCode::CREATED,
                "not_found" => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            };
            let mut body = written_json(flavor, &done.index, id, done.written, &done.copies);
            body["status"] = json!(status.as_u16());
            body
        }
        Err(error) => {
            let mut body = json!({"_index": item.index, "_id": id, "status": error.status.as_u16(), "error": error.item()});
            if flavor == Flavor::Elasticsearch {
                body["_type"] = json!("_doc");
            }
            body
        }
    };
    json!({ item.verb.name(): body })
}
