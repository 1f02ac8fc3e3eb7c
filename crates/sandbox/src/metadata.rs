//! `_settings`, `_mapping` and `_block`: an index's metadata, read and changed.

use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::cluster::Cluster;
use crate::create::shown_settings;
use crate::error::ApiResult;
use crate::index::SharedIndex;
use crate::knobs::Access;
use crate::mapping;
use crate::resolve::glob;
use crate::settings::{self, Flat};

/// `GET [IDX/]_settings[/NAME]`.
pub(crate) fn get_settings(
    cluster: &Cluster,
    call: &Call,
    names: &str,
    only: Option<&str>,
) -> ApiResult<Reply> {
    let mut out = Map::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let state = target.index.lock();
        state
            .knobs
            .blocks
            .check(Access::MetadataRead, &target.index.name)?;
        let shown = match only {
            None | Some("_all" | "*") => shown_settings(&state, call.params.on("flat_settings")),
            Some(pattern) => {
                let taken = |name: &str| pattern.split(',').any(|p| glob(p, name));
                let some: Flat = state
                    .settings
                    .iter()
                    .filter(|(n, _)| taken(n))
                    .map(|(n, v)| (n.clone(), v.clone()))
                    .collect();
                if call.params.on("flat_settings") {
                    json!(some)
                } else {
                    settings::nest(&some)
                }
            }
        };
        out.insert(target.index.name.clone(), json!({"settings": shown}));
    }
    Ok(Reply::json(&Value::Object(out)))
}

/// `PUT [IDX/]_settings`.
pub(crate) fn put_settings(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let mut body = call.json_required()?;
    if let Some(inner) = body.get_mut("settings").filter(|s| s.is_object()) {
        body = inner.take();
    }
    let change = settings::flatten_index(&body);
    for target in cluster.resolve(names, call.params.resolve(true))? {
        change_settings(cluster, &target.index, &change)?;
    }
    Ok(Reply::acknowledged())
}

/// Changes settings; only a request that is about read-only blocks alone passes them.
pub(crate) fn change_settings(cluster: &Cluster, index: &SharedIndex, change: &Flat) -> ApiResult<()> {
    let mut state = index.lock();
    let lifts = |name: &String| {
        matches!(
            name.as_str(),
            "index.blocks.read_only"
                | "index.blocks.read_only_allow_delete"
                | "index.blocks.write"
                | "index.blocks.read"
                | "index.blocks.metadata"
        )
    };
    if !(change.len() == 1 && change.keys().all(lifts)) {
        state.knobs.blocks.check(Access::MetadataWrite, &index.name)?;
    }
    let next = settings::updated(&state.settings, change, state.open, &index.name, &index.uuid)?;
    if next == state.settings {
        return Ok(());
    }
    state.set_settings(next);
    state.versions.settings += 1;
    cluster.with_surroundings(|around| index.save(&mut state, around))
}

/// `PUT IDX/_block/NAME`.
pub(crate) fn put_block(cluster: &Cluster, call: &Call, names: &str, block: &str) -> ApiResult<Reply> {
    let change = settings::flatten_index(&json!({ format!("blocks.{block}"): true }));
    let mut blocked = Vec::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        change_settings(cluster, &target.index, &change)?;
        blocked.push(json!({"name": target.index.name, "blocked": true}));
    }
    Ok(Reply::json(
        &json!({"acknowledged": true, "shards_acknowledged": true, "indices": blocked}),
    ))
}

/// `GET [IDX/]_mapping`.
pub(crate) fn get_mapping(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let mut out = Map::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let state = target.index.lock();
        state
            .knobs
            .blocks
            .check(Access::MetadataRead, &target.index.name)?;
        out.insert(target.index.name.clone(), json!({"mappings": state.mapping}));
    }
    Ok(Reply::json(&Value::Object(out)))
}

/// `PUT IDX/_mapping`.
pub(crate) fn put_mapping(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let change = mapping::normalised(&call.json_required()?)?;
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let mut state = target.index.lock();
        state
            .knobs
            .blocks
            .check(Access::MetadataWrite, &target.index.name)?;
        cluster.with_surroundings(|around| target.index.merge_mapping(&mut state, &change, around))?;
    }
    Ok(Reply::acknowledged())
}
