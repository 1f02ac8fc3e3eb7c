//! Writes of single documents: index, create and delete, and what every write shares.

use serde_json::{Value, json};

use crate::call::{Call, Params, RefreshPolicy, Reply, Wait};
use crate::cluster::{Cluster, Flavor, random_id};
use crate::create;
use crate::error::{ApiError, ApiResult};
use crate::index::{SharedIndex, WriteOp};
use crate::knobs::Access;
use crate::resolve::Target;
use crate::shard::Written;
use crate::wishes::Wishes;

/// The longest id that the engines take, in bytes.
const MAX_ID: usize = 512;

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
pub(crate) fn write_one(
    cluster: &Cluster,
    index: &SharedIndex,
    op: WriteOp<'_>,
    params: &Params,
) -> ApiResult<Reply> {
    let policy = RefreshPolicy::of(params)?;
    let id = op.id.to_owned();
    let mut state = index.lock_for(Access::Write)?;
    let written = cluster.with_surroundings(|around| index.write(&mut state, op, around));
    state.sync()?;
    let (shard, written) = written?;
    let wait = state.refresh_shard(shard, policy, cluster.clock.now())?;
    let waits = wait.map(Wait::Refresh).into_iter().collect();
    let body = written_json(cluster.flavor, &index.name, &id, written, &state.copies());
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
pub(crate) fn written_json(flavor: Flavor, index: &str, id: &str, written: Written, copies: &Value) -> Value {
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
pub(crate) fn existing(cluster: &Cluster, name: &str) -> ApiResult<(SharedIndex, Option<String>)> {
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
