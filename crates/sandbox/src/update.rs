//! `_update`: a partial document merged into the present one.

use bytes::Bytes;
use serde_json::json;

use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor};
use crate::documents::{check_id, write_one, write_target, written_json};
use crate::error::{ApiError, ApiResult};
use crate::index::WriteOp;
use crate::json::Json;
use crate::knobs::Access;
use crate::shard::{Doc, Expect, Written};
use crate::wishes::Wishes;

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
                    &none,
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
