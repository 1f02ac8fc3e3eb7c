//! Writing documents to the target, and learning what became of each.
//!
//! Every write says `pipeline=_none`, or documents would be transformed a second time. Nothing here is repeated: a bulk
//! whose outcome is unknown may still be running, and [`Cluster::running_bulks`] tells.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;
use slipstream_model::{Change, Checkpoint, IndexName, Op};

use crate::answer::Refusal;
use crate::client::{Call, Cluster};
use crate::encode;
pub use crate::encode::{BulkItem, fits_bulk};
use crate::error::{ClusterError, ErrorKind, Result};
use crate::path;

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// Done, at this sequence number of the shard that was written to (none if the engine did not tell); for a delete also if
    /// there was nothing to delete.
    Applied(Checkpoint),
    /// The target has a higher version.
    Conflict,
    /// Not done, and worth trying again.
    Retry(RetryReason, String),
    /// Refused for what it is.
    Rejected(ItemError),
    /// There is no such index. Engines create a missing index when something is written to it unless
    /// `action.auto_create_index` forbids it, so this does not always show.
    IndexMissing,
}

/// Why a write should be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// The cluster is too busy (429).
    Throttled,
    /// A shard or node is not there, or failed (5xx).
    Unavailable,
    /// The index takes no writes: a block, the disk flood stage, or it is closed.
    Blocked,
}

/// Why the target refused a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// The status.
    pub status: u16,
    /// The engine's name for it, such as `mapper_parsing_exception`.
    pub kind: String,
    /// The engine's words, causes included.
    pub reason: String,
}

/// Items for one index, as they travel in a bulk of several.
#[derive(Debug, Clone)]
pub struct BulkPart {
    lines: Bytes,
    deletes: Vec<bool>,
}

#[derive(Deserialize)]
struct BulkAnswer {
    #[serde(default)]
    items: Vec<ItemAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ItemAnswer {
    Index(ItemResult),
    Create(ItemResult),
    Delete(ItemResult),
}

#[derive(Deserialize)]
struct ItemResult {
    status: u16,
    #[serde(rename = "_seq_no")]
    seq_no: Option<i64>,
    error: Option<Value>,
}

/// Where the shard has a write that was done by a request of its own.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "_seq_no")]
    seq_no: Option<i64>,
}

impl ItemOutcome {
    /// Reads the status of one write, where it is if it was done, and the error that came with it if not.
    fn of(status: u16, seq_no: Option<i64>, refusal: Option<Refusal>, delete: bool) -> ItemOutcome {
        let Some(refusal) = refusal else {
            return match status {
                200..=299 => ItemOutcome::applied(seq_no),
                404 if delete => ItemOutcome::applied(seq_no),
                409 => ItemOutcome::Conflict,
                _ => ItemOutcome::rejected(status, Refusal::default()),
            };
        };
        let retry = |reason| ItemOutcome::Retry(reason, refusal.reason.clone());
        match refusal.classify(status) {
            ErrorKind::Blocked | ErrorKind::IndexClosed => retry(RetryReason::Blocked),
            ErrorKind::Throttled => retry(RetryReason::Throttled),
            ErrorKind::Server | ErrorKind::Unknown | ErrorKind::Incomplete => retry(RetryReason::Unavailable),
            ErrorKind::Conflict => ItemOutcome::Conflict,
            ErrorKind::NotFound if refusal.kind.as_deref() == Some("index_not_found_exception") => {
                ItemOutcome::IndexMissing
            }
            _ => ItemOutcome::rejected(status, refusal),
        }
    }

    fn applied(seq_no: Option<i64>) -> ItemOutcome {
        ItemOutcome::Applied(seq_no.map_or(Checkpoint::NONE, Checkpoint::new))
    }

    fn rejected(status: u16, refusal: Refusal) -> ItemOutcome {
        ItemOutcome::Rejected(ItemError {
            status,
            kind: refusal.kind.unwrap_or_default(),
            reason: refusal.reason,
        })
    }
}

impl Cluster {
    /// Writes documents; one outcome for each item, in order. `opaque_id` marks the request for
    /// [`Cluster::running_bulks`].
    ///
    /// # Errors
    /// Errors are about the request as a whole. [`ErrorKind::Unknown`]: any part of it may have been carried out, or
    /// still be. [`ErrorKind::BadRequest`] without a request sent: an item cannot go by bulk (see [`fits_bulk`]).
    pub async fn bulk(
        &self,
        index: &IndexName,
        items: &[BulkItem<'_>],
        opaque_id: &str,
    ) -> Result<Vec<ItemOutcome>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let body = encode::body(items, None).map_err(|at| self.unfit(index, at))?;
        let deletes: Vec<bool> = items.iter().map(is_delete).collect();
        let path = format!("/{}/_bulk", self.segment(index)?);
        self.send_bulk(path, body, &deletes, opaque_id).await
    }

    /// What a bulk of several indices holds for one of them.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`]: an item cannot go by bulk (see [`fits_bulk`]).
    pub fn bulk_part(&self, index: &IndexName, items: &[BulkItem<'_>]) -> Result<BulkPart> {
        Ok(BulkPart {
            lines: encode::body(items, Some(index)).map_err(|at| self.unfit(index, at))?,
            deletes: items.iter().map(is_delete).collect(),
        })
    }

    /// Writes documents of several indices; the outcomes of each part's items, in order. It takes as long as the slowest of the
    /// indices, and the engine may be set not to allow it (`rest.action.multi.allow_explicit_index`).
    ///
    /// # Errors
    /// As [`Cluster::bulk`].
    pub async fn bulk_of_parts(&self, parts: &[BulkPart], opaque_id: &str) -> Result<Vec<Vec<ItemOutcome>>> {
        let mut body = BytesMut::with_capacity(parts.iter().map(BulkPart::bytes).sum());
        let mut deletes = Vec::new();
        for part in parts {
            body.extend_from_slice(&part.lines);
            deletes.extend_from_slice(&part.deletes);
        }
        let outcomes = self.send_bulk("/_bulk".to_owned(), body.freeze(), &deletes, opaque_id);
        let mut outcomes = outcomes.await?.into_iter();
        let of = |part: &BulkPart| outcomes.by_ref().take(part.deletes.len()).collect();
        Ok(parts.iter().map(of).collect())
    }

    /// Sends a bulk, and reads what became of each item; whether it is a delete is told by `deletes`.
    async fn send_bulk(
        &self,
        path: String,
        body: Bytes,
        deletes: &[bool],
        opaque_id: &str,
    ) -> Result<Vec<ItemOutcome>> {
        let query = format!(
            "pipeline=_none&timeout={}&filter_path=items.*.status,items.*._seq_no,items.*.error",
            self.shard_wait()
        );
        let call = Call::post(path, query)
            .heavy()
            .opaque_id(opaque_id)
            .body(body, "application/x-ndjson");
        // Once the engine has answered 200, a broken answer leaves the outcome unknown.
        let answer = self.ok(&call).await?;
        let BulkAnswer { items: results } = self.parse(&call, &answer.body)?;
        if results.len() != deletes.len() {
            let reason = format!("{} items were sent and {} answered", deletes.len(), results.len());
            return Err(self.error(ErrorKind::Protocol, &call).with_reason(reason));
        }
        results
            .into_iter()
            .zip(deletes)
            .map(|(result, delete)| match (result, delete) {
                (ItemAnswer::Index(result) | ItemAnswer::Create(result), false)
                | (ItemAnswer::Delete(result), true) => Ok(ItemOutcome::of(
                    result.status,
                    result.seq_no,
                    result.error.as_ref().map(Refusal::of_value),
                    *delete,
                )),
                _ => Err(self
                    .error(ErrorKind::Protocol, &call)
                    .with_reason("items are answered out of order")),
            })
            .collect()
    }

    fn unfit(&self, index: &IndexName, at: usize) -> ClusterError {
        let reason = format!("item {at} of a bulk for [{index}] is no index operation or spans lines");
        ClusterError::new(ErrorKind::BadRequest, self.url(), reason)
    }

    /// Writes one document by a request of its own, for sources that do not [fit into a bulk](fits_bulk). Any id works.
    ///
    /// # Errors
    /// As for [`Cluster::bulk`]. Engines limit the length of a request line to 4 KiB, which a very long routing value
    /// exceeds: [`ErrorKind::BadRequest`].
    pub async fn put_document(&self, index: &IndexName, op: &Op, opaque_id: &str) -> Result<ItemOutcome> {
        let Change::Index { source } = &op.change else {
            let reason = format!("operation {} for [{index}] is no index operation", op.seq_no);
            return Err(ClusterError::new(ErrorKind::BadRequest, self.url(), reason));
        };
        let call = self
            .put_call(index, op, source.clone())?
            .heavy()
            .opaque_id(opaque_id);
        let answer = self.send(&call).await?;
        if (200..300).contains(&answer.status) {
            // It is done, whatever the answer says besides.
            let written: Option<Written> = serde_json::from_slice(&answer.body).ok();
            return Ok(ItemOutcome::applied(written.and_then(|written| written.seq_no)));
        }
        let error = self.refused(&call, &answer);
        if error.engine_type().is_none()
            || matches!(error.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden)
        {
            return Err(error);
        }
        Ok(ItemOutcome::of(
            answer.status,
            None,
            Some(Refusal::of_body(&answer.body)),
            false,
        ))
    }

    fn put_call(&self, index: &IndexName, op: &Op, source: Bytes) -> Result<Call> {
        let segment = self.segment(index)?;
        let mut query = format!(
            "version={}&version_type=external_gte&pipeline=_none&timeout={}",
            op.version,
            self.shard_wait()
        );
        if let Some(routing) = &op.doc.routing {
            query.push_str("&routing=");
            query.push_str(&path::encode(routing));
        }
        let call = if matches!(op.doc.id.as_str(), "." | "..") {
            // URLs take such a segment, encoded or not, for a step up the path. The engines also read an id from the
            // parameters.
            query.push_str("&op_type=index&id=");
            query.push_str(&op.doc.id);
            Call::post(format!("/{segment}/_doc"), query)
        } else {
            Call::put(format!("/{segment}/_doc/{}", path::encode(&op.doc.id)), query)
        };
        Ok(call.body(source, "application/json"))
    }

    /// How long the engine itself waits for a shard: well below our own deadline, so that it is the engine that says
    /// so, with an outcome that is known.
    fn shard_wait(&self) -> String {
        format!(
            "{}ms",
            (self.timeouts().bulk / 2)
                .max(Duration::from_millis(1))
                .as_millis()
        )
    }

    /// The ids under which writes that are still running anywhere in the cluster were sent, some more than once.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if a node did not tell.
    pub async fn running_bulks(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            tasks: Vec<Task>,
            #[serde(default)]
            node_failures: Vec<Value>,
            #[serde(default)]
            task_failures: Vec<Value>,
        }
        #[derive(Deserialize)]
        struct Task {
            #[serde(default)]
            headers: Headers,
        }
        #[derive(Deserialize, Default)]
        struct Headers {
            #[serde(rename = "X-Opaque-Id")]
            opaque_id: Option<String>,
        }
        let call = Call::get("/_tasks", "actions=indices:data/write/bulk*&group_by=none");
        let answer: Answer = self.json(&call).await?;
        let failures = answer.node_failures.iter().chain(&answer.task_failures);
        if let Some(first) = failures.map(Refusal::of_value).next() {
            let reason = format!("a node did not tell its tasks: {}", first.reason);
            return Err(self
                .error(ErrorKind::Incomplete, &call)
                .with_reason(reason)
                .with_engine_type(first.kind));
        }
        Ok(answer
            .tasks
            .into_iter()
            .filter_map(|task| task.headers.opaque_id)
            .collect())
    }
}

impl BulkPart {
    /// What it adds to a request, in bytes.
    pub fn bytes(&self) -> usize {
        self.lines.len()
    }
}

fn is_delete(item: &BulkItem<'_>) -> bool {
    matches!(item, BulkItem::Delete { .. })
}
