//! `_stats`, `_refresh`, `_flush` and `_forcemerge`.

use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::cluster::Cluster;
use crate::error::{ApiError, ApiResult};
use crate::index::Index;
use crate::knobs::Access;
use crate::shard::{Counters, Shard};

const METRICS: &[&str] = &[
    "docs",
    "store",
    "indexing",
    "get",
    "search",
    "merge",
    "refresh",
    "flush",
    "warmer",
    "query_cache",
    "fielddata",
    "completion",
    "segments",
    "translog",
    "request_cache",
    "recovery",
    "suggest",
];

/// What is added up over shards.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    docs: u64,
    bytes: u64,
    counters: Counters,
}

impl Sums {
    fn of(shard: &Shard) -> Sums {
        Sums {
            docs: shard.view().docs.len() as u64,
            bytes: shard.bytes(),
            counters: shard.counters,
        }
    }

    fn add(&mut self, other: Sums) {
        self.docs += other.docs;
        self.bytes += other.bytes;
        let (mine, theirs) = (&mut self.counters, other.counters);
        mine.indexed += theirs.indexed;
        mine.index_failed += theirs.index_failed;
        mine.deleted += theirs.deleted;
        mine.gets += theirs.gets;
        mine.queries += theirs.queries;
        mine.refreshes += theirs.refreshes;
        mine.flushes += theirs.flushes;
    }

    fn show(self, wants: &dyn Fn(&str) -> bool) -> Map<String, Value> {
        let c = self.counters;
        let all = [
            ("docs", json!({"count": self.docs, "deleted": 0})),
            (
                "store",
                json!({"size_in_bytes": self.bytes, "reserved_in_bytes": 0}),
            ),
            (
                "indexing",
                json!({
                    "index_total": c.indexed, "index_time_in_millis": 0, "index_current": 0,
                    "index_failed": c.index_failed, "delete_total": c.deleted, "delete_time_in_millis": 0,
                    "delete_current": 0, "is_throttled": false, "throttle_time_in_millis": 0,
                }),
            ),
            ("get", json!({"total": c.gets, "time_in_millis": 0, "current": 0})),
            (
                "search",
                json!({
                    "open_contexts": 0, "query_total": c.queries, "query_time_in_millis": 0, "query_current": 0,
                    "fetch_total": c.queries,
                }),
            ),
            (
                "refresh",
                json!({
                    "total": c.refreshes, "total_time_in_millis": 0, "external_total": c.refreshes,
                    "external_total_time_in_millis": 0, "listeners": 0,
                }),
            ),
            (
                "flush",
                json!({"total": c.flushes, "periodic": 0, "total_time_in_millis": 0}),
            ),
            ("segments", json!({"count": u64::from(self.docs > 0)})),
            (
                "translog",
                json!({"operations": c.indexed + c.deleted, "size_in_bytes": self.bytes}),
            ),
        ];
        all.into_iter()
            .filter(|(name, _)| wants(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// `GET [IDX/]_stats[/METRICS]`.
pub(crate) fn stats(cluster: &Cluster, call: &Call, names: &str, metrics: Option<&str>) -> ApiResult<Reply> {
    let metrics = metrics.filter(|m| *m != "_all");
    if let Some(unknown) = metrics
        .into_iter()
        .flat_map(|m| m.split(','))
        .find(|m| !METRICS.contains(m))
    {
        let reason = format!(
            "request [{}] contains unrecognized metric: [{unknown}]",
            call.path
        );
        return Err(ApiError::illegal(reason));
    }
    let wants = |name: &str| metrics.is_none_or(|m| m.split(',').any(|m| m == name));
    let level = call.params.get("level").unwrap_or("indices");
    let (mut all, mut primaries, mut copies, mut indices) = (Sums::default(), 0_u64, 0_u64, Map::new());
    for target in cluster.resolve(names, call.params.resolve(false))? {
        let state = target.index.lock_for(Access::MetadataRead)?;
        let mut sums = Sums::default();
        let mut shards = Map::new();
        for (number, shard) in state.shards.iter().enumerate() {
            sums.add(Sums::of(shard));
            if level == "shards" {
                shards.insert(number.to_string(), json!([shard_json(cluster, shard, &wants)]));
            }
        }
        primaries += state.shards.len() as u64;
        copies += state.shards.len() as u64 * u64::from(state.knobs.replicas + 1);
        all.add(sums);
        let shown = Value::Object(sums.show(&wants));
        let mut about = json!({"uuid": target.index.uuid, "primaries": shown, "total": shown});
        if level == "shards" {
            about["shards"] = Value::Object(shards);
        }
        indices.insert(target.index.name.clone(), about);
    }
    let shown = Value::Object(all.show(&wants));
    let mut out = json!({
        "_shards": {"total": copies, "successful": primaries, "failed": 0},
        "_all": {"primaries": shown, "total": shown},
    });
    if level != "cluster" {
        out["indices"] = Value::Object(indices);
    }
    Ok(Reply::json(&out))
}

fn shard_json(cluster: &Cluster, shard: &Shard, wants: &dyn Fn(&str) -> bool) -> Value {
    let mut out = Sums::of(shard).show(wants);
    let max = shard.max_seq_no();
    let more = json!({
        "routing": {"state": "STARTED", "primary": true, "node": cluster.node, "relocating_node": null},
        "commit": {
            "id": shard.history, "generation": 1, "num_docs": shard.view().docs.len(),
            "user_data": {
                "history_uuid": shard.history, "translog_uuid": shard.history, "local_checkpoint": max.to_string(),
                "max_seq_no": max.to_string(), "max_unsafe_auto_id_timestamp": "-1",
            },
        },
        "seq_no": {"max_seq_no": max, "local_checkpoint": max, "global_checkpoint": max},
        "retention_leases": {"primary_term": shard.term, "version": 1, "leases": []},
        "shard_path": {"state_path": "", "data_path": "", "is_custom_data_path": false},
    });
    if let Value::Object(more) = more {
        out.extend(more);
    }
    Value::Object(out)
}

/// What is done to every shard of some indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maintenance {
    Refresh,
    /// Everything is durable anyway; the counter moves, as clients may watch it.
    Flush,
    /// There are no segments to merge.
    ForceMerge,
}

/// `POST [IDX/]_refresh`, `_flush` and `_forcemerge`.
pub(crate) fn maintain(cluster: &Cluster, call: &Call, names: &str, what: Maintenance) -> ApiResult<Reply> {
    let (mut copies, mut primaries) = (0, 0);
    for target in cluster.resolve(names, call.params.resolve(false))? {
        let mut state = target.index.lock();
        if !state.open {
            return Err(target.index.closed());
        }
        match what {
            Maintenance::Refresh => Index::refresh(&mut state, cluster.clock.now()),
            Maintenance::Flush => state.shards.iter_mut().for_each(|s| s.counters.flushes += 1),
            Maintenance::ForceMerge => {}
        }
        primaries += state.shards.len() as u32;
        copies += state.shards.len() as u32 * (state.knobs.replicas + 1);
    }
    Ok(Reply::json(
        &json!({"_shards": {"total": copies, "successful": primaries, "failed": 0}}),
    ))
}
