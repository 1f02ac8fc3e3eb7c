//! Points in time (OpenSearch's flavour of them): a picture of some shards that later changes do not touch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::cluster::{Cluster, random_id};
use crate::error::{ApiError, ApiResult};
use crate::knobs::Access;
use crate::search::{Part, parts};
use crate::time::{Span, unix_millis};

/// How many may be open at once, as in the engine.
const MOST: usize = 300;

/// The open points in time by id.
#[derive(Debug, Default)]
pub(crate) struct Pits {
    open: Mutex<BTreeMap<String, Pit>>,
}

#[derive(Debug)]
struct Pit {
    parts: Vec<Part>,
    keep_alive: Duration,
    until: Instant,
    created: i64,
}

fn keep_alive(text: &str) -> ApiResult<Duration> {
    Span::parse(text).and_then(Span::length).ok_or_else(|| {
        ApiError::illegal(format!(
            "failed to parse setting [keep_alive] with value [{text}] as a time value"
        ))
    })
}

impl Pits {
    /// The open ones; those whose time is over are let go.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Pit>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        open.retain(|_, pit| pit.until > now);
        open
    }

    /// Lets go of those whose time is over, and of the pictures that they hold.
    pub(crate) fn expire(&self) {
        drop(self.lock());
    }

    /// The shards of one, which lives on from now.
    pub(crate) fn parts(&self, id: &str, longer: Option<&str>) -> ApiResult<Vec<Part>> {
        let mut open = self.lock();
        let Some(pit) = open.get_mut(id) else {
            let cause = "No search context found for id";
            return Err(
                ApiError::new(404, "search_phase_execution_exception", "all shards failed")
                    .with("phase", "query")
                    .caused_by("search_context_missing_exception", cause),
            );
        };
        if let Some(text) = longer {
            pit.keep_alive = keep_alive(text)?;
        }
        pit.until = Instant::now() + pit.keep_alive;
        Ok(pit.parts.clone())
    }
}

/// `POST IDX/_search/point_in_time`.
pub(crate) fn create(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let Some(text) = call.params.get("keep_alive") else {
        return Err(ApiError::invalid("keep alive not specified"));
    };
    let keep_alive = keep_alive(text)?;
    let mut parts = parts(cluster, call, names)?;
    for part in &mut parts {
        let mut state = part.index.lock_for(Access::Read)?;
        let shard = state.shard(part.shard)?;
        shard.searched();
        part.frozen = Some(Arc::clone(shard.view()));
    }
    let (id, created, shards) = (random_id(96), unix_millis(), parts.len());
    let mut open = cluster.pits.lock();
    if open.len() >= MOST {
        let reason = format!(
            "Trying to create too many Point In Time contexts. Must be less than or equal to: [{MOST}]."
        );
        return Err(ApiError::new(429, "rejected_execution_exception", reason));
    }
    open.insert(
        id.clone(),
        Pit {
            parts,
            keep_alive,
            until: Instant::now() + keep_alive,
            created,
        },
    );
    drop(open);
    Ok(Reply::json(&json!({
        "pit_id": id, "creation_time": created,
        "_shards": {"total": shards, "successful": shards, "skipped": 0, "failed": 0},
    })))
}

/// `DELETE _search/point_in_time` with ids, or `…/_all` (then `all`).
pub(crate) fn delete(cluster: &Cluster, call: &Call, all: bool) -> ApiResult<Reply> {
    let mut open = cluster.pits.lock();
    let ids: Vec<String> = if all {
        open.keys().cloned().collect()
    } else {
        match &call.json_required()?["pit_id"] {
            Value::String(id) => vec![id.clone()],
            Value::Array(ids) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => return Err(ApiError::invalid("no pit ids specified")),
        }
    };
    let deleted: Vec<Value> = ids
        .into_iter()
        .map(|id| {
            open.remove(&id);
            json!({"pit_id": id, "successful": true})
        })
        .collect();
    Ok(Reply::json(&json!({"pits": deleted})))
}

/// `GET _search/point_in_time/_all`.
pub(crate) fn list(cluster: &Cluster) -> Reply {
    let open = cluster.pits.lock();
    let pits: Vec<Value> = open
        .iter()
        .map(|(id, p)| json!({"pit_id": id, "creation_time": p.created, "keep_alive": p.keep_alive.as_millis() as u64}))
        .collect();
    Reply::json(&json!({"pits": pits}))
}
