//! Aliases: other names for indices, with a filter for searches and a routing for both searches and writes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::cluster::Cluster;
use crate::error::{ApiError, ApiResult};
use crate::index::SharedIndex;
use crate::knobs::Access;
use crate::resolve::glob;

/// An alias as it is kept and shown, from the body that asked for it.
pub(crate) fn definition(body: &Value) -> Value {
    let mut out = Map::new();
    let text = |name: &str| {
        body[name]
            .as_str()
            .map(str::to_owned)
            .or_else(|| body[name].as_i64().map(|n| n.to_string()))
    };
    if body["filter"].is_object() {
        out.insert("filter".into(), body["filter"].clone());
    }
    for name in ["index_routing", "search_routing"] {
        if let Some(routing) = text(name).or_else(|| text("routing")) {
            out.insert(name.into(), json!(routing));
        }
    }
    for name in ["is_write_index", "is_hidden"] {
        if let Some(on) = body[name].as_bool() {
            out.insert(name.into(), json!(on));
        }
    }
    Value::Object(out)
}

fn missing(names: &str) -> ApiError {
    ApiError::new(
        404,
        "aliases_not_found_exception",
        format!("aliases [{names}] missing"),
    )
    .with("resource.id", names)
    .with("resource.type", "aliases")
}

enum Action {
    Add(SharedIndex, String, Value),
    Remove(SharedIndex, String),
    RemoveIndex(SharedIndex),
}

/// One name or a list of them, under either spelling.
fn list(body: &Value, one: &str, many: &str) -> Vec<String> {
    let texts = |v: &Value| match v {
        Value::String(s) => s.split(',').map(str::to_owned).collect(),
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    let mut all = texts(&body[one]);
    all.extend(texts(&body[many]));
    all
}

/// `POST _aliases`: all actions or none.
pub(crate) fn update(cluster: &Cluster, call: &Call) -> ApiResult<Reply> {
    let body = call.json_required()?;
    let mut actions = Vec::new();
    for entry in body["actions"].as_array().into_iter().flatten() {
        let Some((verb, what)) = entry.as_object().and_then(|o| o.iter().next()) else {
            return Err(ApiError::illegal("an alias action must be an object"));
        };
        let (indices, names) = (list(what, "index", "indices"), list(what, "alias", "aliases"));
        if indices.is_empty() {
            return Err(ApiError::invalid("index is missing"));
        }
        let targets = cluster.resolve(&indices.join(","), call.params.resolve(true))?;
        let mut found = false;
        for target in targets {
            match verb.as_str() {
                "remove_index" => actions.push(Action::RemoveIndex(target.index)),
                "add" => {
                    for name in &names {
                        actions.push(Action::Add(target.index.clone(), name.clone(), definition(what)));
                    }
                }
                "remove" => {
                    let known: Vec<String> = target.index.lock().aliases.keys().cloned().collect();
                    for name in known.into_iter().filter(|k| names.iter().any(|n| glob(n, k))) {
                        found = true;
                        actions.push(Action::Remove(target.index.clone(), name));
                    }
                }
                other => return Err(ApiError::illegal(format!("[aliases] unknown field [{other}]"))),
            }
        }
        if verb == "remove" && !found && what["must_exist"] != json!(false) {
            return Err(missing(&names.join(",")));
        }
    }
    if actions.is_empty() {
        return Err(ApiError::invalid("Must specify at least one alias action"));
    }
    apply(cluster, actions)?;
    Ok(Reply::acknowledged())
}

fn apply(cluster: &Cluster, actions: Vec<Action>) -> ApiResult<()> {
    for action in &actions {
        match action {
            Action::Add(index, name, _) if cluster.index(name).is_some() => {
                let reason =
                    format!("Invalid alias name [{name}]: an index or data stream exists with the same name");
                return Err(ApiError::new(400, "invalid_alias_name_exception", reason)
                    .with("index", index.name.as_str()));
            }
            Action::Add(index, ..) | Action::Remove(index, _) => {
                index
                    .lock()
                    .knobs
                    .blocks
                    .check(Access::MetadataWrite, &index.name)?;
            }
            Action::RemoveIndex(index) => index
                .lock()
                .knobs
                .blocks
                .check(Access::DeleteIndex, &index.name)?,
        }
    }
    refuse_second_write_indices(cluster, |held| {
        for action in &actions {
            match action {
                Action::Add(index, alias, definition) => {
                    let holders = held.entry(alias.clone()).or_default();
                    holders.insert(index.name.clone(), definition.clone());
                }
                Action::Remove(index, alias) => {
                    held.entry(alias.clone()).or_default().remove(&index.name);
                }
                Action::RemoveIndex(index) => held.values_mut().for_each(|holders| {
                    holders.remove(&index.name);
                }),
            }
        }
    })?;
    for action in actions {
        match action {
            Action::Add(index, name, definition) => {
                change(cluster, &index, |aliases| aliases.insert(name, definition))?;
            }
            Action::Remove(index, name) => change(cluster, &index, |aliases| aliases.remove(&name))?,
            Action::RemoveIndex(index) => cluster.remove(&index)?,
        }
    }
    Ok(())
}

/// Alias → index → definition.
type Held = BTreeMap<String, BTreeMap<String, Value>>;

/// One index behind an alias may take its writes. The engines call another one an illegal state, and answer 500.
pub(crate) fn refuse_second_write_indices(
    cluster: &Cluster,
    change: impl FnOnce(&mut Held),
) -> ApiResult<()> {
    let mut held = Held::new();
    for index in cluster.indices() {
        for (alias, definition) in &index.lock().aliases {
            let holders = held.entry(alias.clone()).or_default();
            holders.insert(index.name.clone(), definition.clone());
        }
    }
    change(&mut held);
    for (alias, holders) in held {
        let writes = |(_, definition): &(&String, &Value)| definition["is_write_index"] == true;
        let writers: Vec<&str> = holders
            .iter()
            .filter(writes)
            .map(|(name, _)| name.as_str())
            .collect();
        if writers.len() > 1 {
            let reason = format!(
                "alias [{alias}] has more than one write index [{}]",
                writers.join(",")
            );
            return Err(ApiError::new(500, "illegal_state_exception", reason));
        }
    }
    Ok(())
}

fn change<T>(
    cluster: &Cluster,
    index: &SharedIndex,
    edit: impl FnOnce(&mut Map<String, Value>) -> T,
) -> ApiResult<()> {
    let mut state = index.lock();
    let before = state.aliases.clone();
    edit(&mut state.aliases);
    if before == state.aliases {
        return Ok(());
    }
    state.versions.aliases += 1;
    cluster.with_surroundings(|around| index.save(&mut state, around))
}

/// `PUT IDX/_alias/NAME`.
pub(crate) fn put(cluster: &Cluster, call: &Call, names: &str, alias: &str) -> ApiResult<Reply> {
    let definition = definition(&call.json()?);
    let targets = cluster.resolve(names, call.params.resolve(true))?;
    let add = |t: crate::resolve::Target| Action::Add(t.index, alias.to_owned(), definition.clone());
    apply(cluster, targets.into_iter().map(add).collect())?;
    Ok(Reply::acknowledged())
}

/// `DELETE IDX/_alias/NAME`.
pub(crate) fn delete(cluster: &Cluster, call: &Call, names: &str, alias: &str) -> ApiResult<Reply> {
    let mut actions = Vec::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let known: Vec<String> = target.index.lock().aliases.keys().cloned().collect();
        let taken = known
            .into_iter()
            .filter(|k| alias.split(',').any(|a| a == "_all" || glob(a, k)));
        actions.extend(taken.map(|name| Action::Remove(target.index.clone(), name)));
    }
    if actions.is_empty() {
        return Err(missing(alias));
    }
    apply(cluster, actions)?;
    Ok(Reply::acknowledged())
}

/// `GET [IDX/]_alias[/NAME]`.
pub(crate) fn get(cluster: &Cluster, call: &Call, names: &str, alias: Option<&str>) -> ApiResult<Reply> {
    let mut out = Map::new();
    let mut found = false;
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let state = target.index.lock();
        let taken: Map<String, Value> = state
            .aliases
            .iter()
            .filter(|(name, _)| alias.is_none_or(|a| a.split(',').any(|p| p == "_all" || glob(p, name))))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        found |= !taken.is_empty();
        if alias.is_none() || !taken.is_empty() {
            out.insert(target.index.name.clone(), json!({"aliases": taken}));
        }
    }
    match alias {
        Some(alias) if !found && !alias.contains('*') && alias != "_all" => {
            Err(ApiError::bare(404, format!("alias [{alias}] missing")))
        }
        _ => Ok(Reply::json(&Value::Object(out))),
    }
}
