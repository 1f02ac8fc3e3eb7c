//! `_search` and `_count` over the refreshed state of shards, or over a point in time.

mod answer;
mod request;
mod run;
mod shards;

use std::time::Instant;

use serde_json::json;

pub(crate) use shards::{Part, parts};

use self::answer::answer;
use self::request::Search;
use self::run::run;
use self::shards::with_view;
use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor};
use crate::error::{ApiError, ApiResult};

/// `[IDX/]_search`.
pub(crate) fn search(cluster: &Cluster, call: &Call, names: Option<&str>) -> ApiResult<Reply> {
    if call.params.get("search_pipeline").is_some() && cluster.flavor == Flavor::Elasticsearch {
        let reason = format!(
            "request [{}] contains unrecognized parameter: [search_pipeline] -> did you mean [search_type]?",
            call.path
        );
        return Err(ApiError::illegal(reason));
    }
    let started = Instant::now();
    let body = call.json()?;
    let mut search = Search::parse(call, &body)?;
    let pit = body["pit"]["id"].as_str();
    let parts = match pit {
        Some(_) if names.is_some() => {
            return Err(ApiError::invalid("[indices] cannot be used with point in time"));
        }
        Some(_) if call.params.get("preference").is_some() => {
            return Err(ApiError::invalid(
                "[preference] cannot be used with point in time",
            ));
        }
        Some(id) => cluster.pits.parts(id, body["pit"]["keep_alive"].as_str())?,
        None => parts(cluster, call, names.unwrap_or(""))?,
    };
    for part in &parts {
        let most = part.index.lock().knobs.max_result_window;
        if search.from + search.size > most {
            return Err(too_large(part, search.from + search.size, most));
        }
    }
    let found = run(cluster, &mut search, &parts)?;
    let mut out = answer(cluster.flavor, &search, &found, parts.len(), started, pit)?;
    out.push(b'}');
    Ok(Reply::bytes(out))
}

fn too_large(part: &Part, asked: usize, most: usize) -> ApiError {
    let reason = format!(
        "Result window is too large, from + size must be less than or equal to: [{most}] but was [{asked}]. See the \
         scroll api for a more efficient way to request large data sets. This limit can be set by changing the \
         [index.max_result_window] index level setting."
    );
    ApiError::new(400, "search_phase_execution_exception", "all shards failed")
        .with("phase", "query")
        .with("grouped", true)
        .with(
            "failed_shards",
            json!([{"shard": part.shard, "index": part.index.name}]),
        )
        .caused_by("illegal_argument_exception", reason)
}

/// `[IDX/]_count`.
pub(crate) fn count(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let body = call.json()?;
    let counted = Call {
        method: call.method.clone(),
        path: call.path.clone(),
        segments: Vec::new(),
        params: call.params.clone(),
        body: bytes::Bytes::new(),
    };
    let mut search = Search::parse(
        &counted,
        &json!({"query": body["query"], "size": 0, "track_total_hits": true}),
    )?;
    let parts = parts(cluster, call, names)?;
    let found = run(cluster, &mut search, &parts)?;
    let shards = parts.len();
    Ok(Reply::json(&json!({
        "count": found.total, "_shards": {"total": shards, "successful": shards, "skipped": 0, "failed": 0},
    })))
}

/// How many documents searches see in some indices.
pub(crate) fn visible(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<u64> {
    let mut total = 0;
    for part in parts(cluster, call, names)? {
        total += with_view(cluster, &part, |view| view.docs.len() as u64)?;
    }
    Ok(total)
}
