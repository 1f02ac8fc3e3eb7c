//! Which handler answers which method and path.

use axum::http::Method;

use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor};
use crate::error::{ApiError, ApiResult};
use crate::stats::Maintenance;
use crate::{
    aliases, bulk, cat, create, documents, metadata, nodes, pit, read, search, state, stats, tasks, update,
};

/// Answers one request.
pub(crate) fn dispatch(cluster: &Cluster, call: &Call) -> ApiResult<Reply> {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let answer = match segments.first() {
        None => Some(Ok(nodes::info(cluster))),
        Some(first) if first.starts_with('_') && *first != "_all" => of_cluster(cluster, call, &segments),
        Some(_) => of_index(cluster, call, &segments),
    };
    answer.unwrap_or_else(|| {
        let reason = format!(
            "no handler found for uri [{}] and method [{}]",
            call.path, call.method
        );
        Err(ApiError::bare(400, reason))
    })
}

/// Paths that begin with `_`.
fn of_cluster(cluster: &Cluster, call: &Call, segments: &[&str]) -> Option<ApiResult<Reply>> {
    let (get, post, put, delete) = methods(call);
    let pits = cluster.flavor == Flavor::OpenSearch;
    Some(match segments {
        ["_bulk"] if post || put => bulk::bulk(cluster, call, None),
        ["_mget"] if get || post => read::mget(cluster, call, None),
        ["_search"] if get || post => search::search(cluster, call, None),
        ["_search", "point_in_time"] if delete && pits => pit::delete(cluster, call, false),
        ["_search", "point_in_time", "_all"] if delete && pits => pit::delete(cluster, call, true),
        ["_search", "point_in_time", "_all"] if get && pits => Ok(pit::list(cluster)),
        ["_count"] if get || post => search::count(cluster, call, ""),
        ["_refresh"] if get || post => stats::maintain(cluster, call, "", Maintenance::Refresh),
        ["_flush"] if get || post => stats::maintain(cluster, call, "", Maintenance::Flush),
        ["_forcemerge"] if post => stats::maintain(cluster, call, "", Maintenance::ForceMerge),
        ["_stats"] if get => stats::stats(cluster, call, "", None),
        ["_stats", metrics] if get => stats::stats(cluster, call, "", Some(metrics)),
        ["_cluster", "health"] if get => state::health(cluster, call, ""),
        ["_cluster", "health", names] if get => state::health(cluster, call, names),
        ["_cluster", "state"] if get => state::state(cluster, call, "_all", ""),
        ["_cluster", "state", metrics] if get => state::state(cluster, call, metrics, ""),
        ["_cluster", "state", metrics, names] if get => state::state(cluster, call, metrics, names),
        ["_cluster", "settings"] if get => Ok(state::get_settings(cluster, call)),
        ["_cluster", "settings"] if put => state::put_settings(cluster, call),
        ["_nodes", _, "stats", ..] if get => Ok(nodes::stats(cluster)),
        ["_nodes", ..] if get => Ok(nodes::nodes(cluster)),
        ["_tasks"] if get => Ok(tasks::list(cluster, call)),
        ["_tasks", id] if get => tasks::get(cluster, id),
        ["_cat", "indices"] if get => cat::indices(cluster, call, ""),
        ["_cat", "indices", names] if get => cat::indices(cluster, call, names),
        ["_cat", "count"] if get => cat::count(cluster, call, ""),
        ["_cat", "count", names] if get => cat::count(cluster, call, names),
        ["_aliases"] if post => aliases::update(cluster, call),
        ["_aliases" | "_alias"] if get => aliases::get(cluster, call, "", None),
        ["_alias", alias] if get => aliases::get(cluster, call, "", Some(alias)),
        ["_mapping" | "_mappings"] if get => metadata::get_mapping(cluster, call, ""),
        ["_settings"] if get => metadata::get_settings(cluster, call, "", None),
        ["_settings"] if put => metadata::put_settings(cluster, call, ""),
        ["_snapshot" | "_template" | "_index_template" | "_ingest", ..] if get => {
            Ok(Reply::json(&serde_json::json!({})))
        }
        [name] if get => create::get(cluster, call, name),
        [name] if put => create::create(cluster, call, name),
        _ => return None,
    })
}

/// Paths that begin with an index.
fn of_index(cluster: &Cluster, call: &Call, segments: &[&str]) -> Option<ApiResult<Reply>> {
    let (get, post, put, delete) = methods(call);
    let pits = cluster.flavor == Flavor::OpenSearch;
    Some(match *segments {
        [index] if get => create::get(cluster, call, index),
        [index] if put => create::create(cluster, call, index),
        [index] if delete => create::delete(cluster, call, index),
        [index, "_doc"] if post => documents::index(cluster, call, index, None, false),
        [index, "_doc", id] if get => read::get(cluster, call, index, id, false),
        [index, "_doc", id] if put || post => documents::index(cluster, call, index, Some(id), false),
        [index, "_doc", id] if delete => documents::delete(cluster, call, index, id),
        [index, "_create", id] if put || post => documents::index(cluster, call, index, Some(id), true),
        [index, "_update", id] if post => update::update(cluster, call, index, id),
        [index, "_source", id] if get => read::get(cluster, call, index, id, true),
        [index, "_bulk"] if post || put => bulk::bulk(cluster, call, Some(index)),
        [index, "_mget"] if get || post => read::mget(cluster, call, Some(index)),
        [names, "_search"] if get || post => search::search(cluster, call, Some(names)),
        [names, "_search", "point_in_time"] if post && pits => pit::create(cluster, call, names),
        [names, "_count"] if get || post => search::count(cluster, call, names),
        [names, "_refresh"] if get || post => stats::maintain(cluster, call, names, Maintenance::Refresh),
        [names, "_flush"] if get || post => stats::maintain(cluster, call, names, Maintenance::Flush),
        [names, "_forcemerge"] if post => stats::maintain(cluster, call, names, Maintenance::ForceMerge),
        [names, "_stats"] if get => stats::stats(cluster, call, names, None),
        [names, "_stats", metrics] if get => stats::stats(cluster, call, names, Some(metrics)),
        [names, "_mapping" | "_mappings"] if get => metadata::get_mapping(cluster, call, names),
        [names, "_mapping" | "_mappings"] if put || post => metadata::put_mapping(cluster, call, names),
        [names, "_settings"] if get => metadata::get_settings(cluster, call, names, None),
        [names, "_settings", only] if get => metadata::get_settings(cluster, call, names, Some(only)),
        [names, "_settings"] if put => metadata::put_settings(cluster, call, names),
        [names, "_block", block] if put => metadata::put_block(cluster, call, names, block),
        [names, "_alias" | "_aliases"] if get => aliases::get(cluster, call, names, None),
        [names, "_alias" | "_aliases", alias] if get => aliases::get(cluster, call, names, Some(alias)),
        [names, "_alias" | "_aliases", alias] if put || post => aliases::put(cluster, call, names, alias),
        [names, "_alias" | "_aliases", alias] if delete => aliases::delete(cluster, call, names, alias),
        [names, "_close"] if post => create::set_open(cluster, call, names, false),
        [names, "_open"] if post => create::set_open(cluster, call, names, true),
        _ => return None,
    })
}

/// Whether it is a `GET` (or `HEAD`), `POST`, `PUT`, `DELETE`.
fn methods(call: &Call) -> (bool, bool, bool, bool) {
    let is = |method: Method| call.method == method;
    (
        is(Method::GET) || call.is_head(),
        is(Method::POST),
        is(Method::PUT),
        is(Method::DELETE),
    )
}
