//! `_cluster/state`, `_cluster/health` and `_cluster/settings`.

use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor, random_uuid};
use crate::create::shown_settings;
use crate::error::{ApiError, ApiResult};
use crate::resolve::{Resolve, Target};
use crate::settings::{flatten, nest};

/// The indices that a state or health request is about; names that do not exist are passed over.
fn targets(cluster: &Cluster, names: &str) -> ApiResult<Vec<Target>> {
    let how = Resolve {
        ignore_unavailable: true,
        closed: true,
        hidden: true,
    };
    cluster.resolve(names, how)
}

/// `GET _cluster/state[/METRICS[/IDX]]`.
pub(crate) fn state(cluster: &Cluster, call: &Call, metrics: &str, names: &str) -> ApiResult<Reply> {
    let wants = |metric: &str| metrics.split(',').any(|m| m == metric || m == "_all");
    // The version is read first: what is shown may be newer than it says, never older.
    let version = cluster.version();
    let mut out = json!({"cluster_name": cluster.name, "cluster_uuid": cluster.uuid});
    if wants("version") {
        out["version"] = json!(version);
        out["state_uuid"] = json!(random_uuid());
    }
    if wants("master_node") || wants("cluster_manager_node") {
        out["master_node"] = json!(cluster.node);
    }
    if wants("blocks") {
        out["blocks"] = json!({});
    }
    if wants("nodes") {
        out["nodes"] = json!({&cluster.node: crate::nodes::summary(cluster)});
    }
    if wants("metadata") {
        let mut indices = Map::new();
        for target in targets(cluster, names)? {
            indices.insert(target.index.name.clone(), metadata(&target, call));
        }
        out["metadata"] = json!({
            "cluster_uuid": cluster.uuid, "cluster_uuid_committed": true, "templates": {}, "indices": indices,
            "index-graveyard": {"tombstones": []},
        });
    }
    if wants("routing_table") {
        let mut indices = Map::new();
        for target in targets(cluster, names)? {
            let state = target.index.lock();
            let shards: Map<String, Value> = (0..state.shards.len())
                .map(|n| (n.to_string(), json!([routing(cluster, &target, n)])))
                .collect();
            indices.insert(target.index.name.clone(), json!({"shards": shards}));
        }
        out["routing_table"] = json!({"indices": indices});
    }
    Ok(Reply::json(&out))
}

fn metadata(target: &Target, call: &Call) -> Value {
    let state = target.index.lock();
    let aliases: Vec<&String> = state.aliases.keys().collect();
    let mappings = if state.mapping.is_empty() {
        json!({})
    } else {
        json!({"_doc": state.mapping})
    };
    json!({
        "version": state.versions.index,
        "mapping_version": state.versions.mapping,
        "settings_version": state.versions.settings,
        "aliases_version": state.versions.aliases,
        "routing_num_shards": state.routing.routing_shards,
        "state": if state.open { "open" } else { "close" },
        "settings": shown_settings(&state, call.params.on("flat_settings")),
        "mappings": mappings,
        "aliases": aliases,
        "primary_terms": state.primary_terms(),
        "rollover_info": {},
        "system": false,
    })
}

fn routing(cluster: &Cluster, target: &Target, shard: usize) -> Value {
    json!({
        "state": "STARTED", "primary": true, "node": cluster.node, "relocating_node": null, "shard": shard,
        "index": target.index.name,
    })
}

/// `GET _cluster/health[/IDX]`. What is not so yet will not become so here: a wish that is not met times out at once.
pub(crate) fn health(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let targets = targets(cluster, names)?;
    let missing = !names.is_empty() && !names.contains('*') && targets.is_empty();
    let (mut primaries, mut unassigned, mut indices) = (0_u64, 0_u64, Map::new());
    for target in targets {
        let state = target.index.lock();
        let shards = state.shards.len() as u64;
        let replicas = u64::from(state.knobs.replicas);
        primaries += shards;
        unassigned += shards * replicas;
        let about = json!({
            "status": if replicas == 0 { "green" } else { "yellow" }, "number_of_shards": shards,
            "number_of_replicas": replicas, "active_primary_shards": shards, "active_shards": shards,
            "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": shards * replicas,
        });
        indices.insert(target.index.name.clone(), about);
    }
    let (status, rank) = match (missing, unassigned) {
        (true, _) => ("red", 2),
        (false, 0) => ("green", 0),
        _ => ("yellow", 1),
    };
    let wished = match call.params.get("wait_for_status") {
        Some("green") => 0,
        Some("yellow") => 1,
        _ => 2,
    };
    let timed_out = missing || rank > wished;
    let all = primaries + unassigned;
    let percent = if all == 0 {
        100.0
    } else {
        100.0 * primaries as f64 / all as f64
    };
    let mut out = json!({
        "cluster_name": cluster.name, "status": status, "timed_out": timed_out, "number_of_nodes": 1,
        "number_of_data_nodes": 1, "active_primary_shards": primaries, "active_shards": primaries,
        "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": unassigned,
        "delayed_unassigned_shards": 0, "number_of_pending_tasks": 0, "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": percent,
    });
    if cluster.flavor == Flavor::OpenSearch {
        out["discovered_master"] = json!(true);
        out["discovered_cluster_manager"] = json!(true);
    }
    if matches!(call.params.get("level"), Some("indices" | "shards")) {
        out["indices"] = Value::Object(indices);
    }
    Ok(Reply::json(&out).with_status(if timed_out { 408 } else { 200 }))
}

/// `GET _cluster/settings`.
pub(crate) fn get_settings(cluster: &Cluster, call: &Call) -> Reply {
    let settings = cluster.settings().clone();
    let show = |flat| {
        if call.params.on("flat_settings") {
            json!(flat)
        } else {
            nest(flat)
        }
    };
    Reply::json(&json!({"persistent": show(&settings.persistent), "transient": show(&settings.transient)}))
}

/// Groups of cluster settings that may be changed.
const KNOWN: &[&str] = &[
    "cluster.",
    "indices.",
    "action.",
    "search.",
    "logger.",
    "ingest.",
    "script.",
    "plugins.",
    "compatibility.",
];

/// `PUT _cluster/settings`.
pub(crate) fn put_settings(cluster: &Cluster, call: &Call) -> ApiResult<Reply> {
    let body = call.json_required()?;
    let (persistent, transient) = (flatten(&body["persistent"]), flatten(&body["transient"]));
    let named = |flat: &crate::settings::Flat| -> Vec<String> {
        flat.keys().filter(|k| !k.is_empty()).cloned().collect()
    };
    for (kind, flat) in [("persistent", &persistent), ("transient", &transient)] {
        if let Some(unknown) = named(flat)
            .iter()
            .find(|k| !KNOWN.iter().any(|p| k.starts_with(p)))
        {
            let reason = format!("{kind} setting [{unknown}], not recognized");
            return Err(ApiError::illegal(reason));
        }
    }
    let mut settings = cluster.settings();
    for (change, current) in [(&persistent, 0), (&transient, 1)] {
        let kept = if current == 0 {
            &mut settings.persistent
        } else {
            &mut settings.transient
        };
        for (name, value) in change.iter().filter(|(n, _)| !n.is_empty()) {
            if value.is_null() {
                // Here, unlike in an index's settings, a pattern resets everything that it matches.
                kept.retain(|n, _| !crate::resolve::glob(name, n));
            } else {
                kept.insert(name.clone(), value.clone());
            }
        }
    }
    drop(settings);
    cluster.bump();
    let set = |flat: &crate::settings::Flat| {
        nest(
            &flat
                .iter()
                .filter(|(n, v)| !n.is_empty() && !v.is_null())
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        )
    };
    Ok(Reply::json(
        &json!({"acknowledged": true, "persistent": set(&persistent), "transient": set(&transient)}),
    ))
}
