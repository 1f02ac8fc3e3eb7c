//! Indices come and go here: create, look at, delete, open, close.

use serde_json::{Map, Value, json};

use crate::aliases;
use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor, random_uuid};
use crate::error::{ApiError, ApiResult};
use crate::index::{Index, SharedIndex, State};
use crate::knobs::Access;
use crate::mapping::{self, Fields};
use crate::persist::{IndexMeta, ShardMeta, Versions};
use crate::settings::{self, Flat};
use crate::time::unix_millis;

fn check_name(name: &str) -> ApiResult<()> {
    let why = if name.chars().any(char::is_uppercase) {
        "must be lowercase"
    } else if name.starts_with(['_', '-', '+']) {
        "must not start with '_', '-', or '+'"
    } else if name == "." || name == ".." {
        "must not be '.' or '..'"
    } else if name.contains(['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':']) {
        "must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]"
    } else if name.len() > 255 {
        "index name is too long"
    } else {
        return Ok(());
    };
    let reason = format!("Invalid index name [{name}], {why}");
    Err(ApiError::new(400, "invalid_index_name_exception", reason)
        .with("index", name)
        .with("index_uuid", "_na_"))
}

/// How many slots a new index's documents are hashed onto, so that it can be split later: as the engines choose it.
fn default_routing_shards(shards: u32) -> u32 {
    let log2 = 32 - (shards - 1).leading_zeros();
    shards << (10u32.saturating_sub(log2)).max(1)
}

fn make(cluster: &Cluster, name: &str, body: &Value) -> ApiResult<SharedIndex> {
    check_name(name)?;
    let mut flat = settings::for_create(&body["settings"])?;
    let mapping = match &body["mappings"] {
        Value::Null => Fields::new(),
        given => mapping::normalised(given)?,
    };
    let mut known = Fields::new();
    if let Some(given) = body["aliases"].as_object() {
        for (alias, definition) in given {
            known.insert(alias.clone(), aliases::definition(definition));
        }
    }
    aliases::refuse_second_write_indices(cluster, |held| {
        for (alias, definition) in &known {
            let holders = held.entry(alias.clone()).or_default();
            holders.insert(name.to_owned(), definition.clone());
        }
    })?;
    let number = |flat: &Flat, name: &str| {
        flat.get(name)
            .and_then(Value::as_str)
            .and_then(|t| t.parse::<u32>().ok())
    };
    let shards = number(&flat, "index.number_of_shards").unwrap_or(1);
    let asked = number(&flat, "index.number_of_routing_shards");
    let routing_shards = asked.unwrap_or_else(|| default_routing_shards(shards));
    if routing_shards % shards != 0 {
        let reason = format!("the number of source shards [{shards}] must be a factor of [{routing_shards}]");
        return Err(ApiError::illegal(reason));
    }
    let uuid = random_uuid();
    let mut put = |name: &str, value: String| flat.insert(name.to_owned(), json!(value));
    put("index.uuid", uuid.clone());
    put("index.creation_date", unix_millis().to_string());
    put("index.provided_name", name.to_owned());
    put("index.version.created", cluster.flavor.created().to_owned());
    put("index.number_of_shards", shards.to_string());
    if cluster.flavor == Flavor::Elasticsearch {
        // It keeps the number, and shows it in the cluster state only.
        flat.remove("index.number_of_routing_shards");
    } else {
        flat.entry("index.replication.type".into())
            .or_insert_with(|| json!("DOCUMENT"));
    }
    flat.entry("index.number_of_replicas".into())
        .or_insert_with(|| json!("1"));
    cluster.add(IndexMeta {
        name: name.to_owned(),
        uuid,
        settings: flat,
        mapping,
        aliases: known,
        open: true,
        routing_shards,
        versions: Versions {
            index: 4,
            mapping: 1,
            settings: 1,
            aliases: 1,
        },
        shards: (0..shards)
            .map(|_| ShardMeta {
                term: 1,
                history: random_uuid(),
            })
            .collect(),
    })
}

/// The index that a write to a missing name makes.
pub(crate) fn automatically(cluster: &Cluster, name: &str) -> ApiResult<SharedIndex> {
    let made = make(cluster, name, &json!({}));
    // Another write may have been quicker.
    match (made, cluster.index(name)) {
        (Err(_), Some(index)) => Ok(index),
        (made, _) => made,
    }
}

/// `PUT IDX`.
pub(crate) fn create(cluster: &Cluster, call: &Call, name: &str) -> ApiResult<Reply> {
    make(cluster, name, &call.json()?)?;
    Ok(Reply::json(
        &json!({"acknowledged": true, "shards_acknowledged": true, "index": name}),
    ))
}

/// Settings as they are shown.
pub(crate) fn shown_settings(state: &State, flat: bool) -> Value {
    if flat {
        json!(state.settings)
    } else {
        settings::nest(&state.settings)
    }
}

/// `GET IDX`.
pub(crate) fn get(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    if !names.contains('*') && names.starts_with('_') && names != "_all" {
        check_name(names)?;
    }
    let flat = call.params.on("flat_settings");
    let mut out = Map::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let state = target.index.lock();
        state
            .knobs
            .blocks
            .check(Access::MetadataRead, &target.index.name)?;
        let about = json!({
            "aliases": state.aliases, "mappings": state.mapping, "settings": shown_settings(&state, flat),
        });
        out.insert(target.index.name.clone(), about);
    }
    Ok(Reply::json(&Value::Object(out)))
}

/// `DELETE IDX`.
pub(crate) fn delete(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let targets = cluster.resolve(names, call.params.resolve(true))?;
    if let Some(alias) = targets.iter().find(|t| t.alias.is_some() && !names.contains('*')) {
        return Err(ApiError::illegal(format!(
            "The provided expression [{names}] matches an alias, specify the corresponding concrete indices instead \
             (such as [{}])",
            alias.index.name
        )));
    }
    for target in &targets {
        target
            .index
            .lock()
            .knobs
            .blocks
            .check(Access::DeleteIndex, &target.index.name)?;
    }
    for target in targets.iter().filter(|t| t.alias.is_none()) {
        cluster.remove(&target.index)?;
    }
    Ok(Reply::acknowledged())
}

/// `POST IDX/_close` and `IDX/_open`.
pub(crate) fn set_open(cluster: &Cluster, call: &Call, names: &str, open: bool) -> ApiResult<Reply> {
    let mut closed = Map::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let index = &target.index;
        let mut state = index.lock();
        state.knobs.blocks.check(Access::MetadataWrite, &index.name)?;
        closed.insert(index.name.clone(), json!({"closed": true}));
        if state.open != open {
            if !open {
                // Closing flushes, so everything is there when the index opens again.
                Index::refresh(&mut state, cluster.clock.now());
            }
            state.open = open;
            state.next_term();
            cluster.with_surroundings(|around| index.save(&mut state, around))?;
        }
    }
    let mut body = json!({"acknowledged": true, "shards_acknowledged": true});
    if !open {
        body["indices"] = Value::Object(closed);
    }
    Ok(Reply::json(&body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_shards_are_chosen_as_the_engines_choose_them() {
        for (shards, slots) in [(1, 1024), (2, 1024), (3, 768), (5, 640), (1024, 2048)] {
            assert_eq!(default_routing_shards(shards), slots, "{shards}");
        }
    }
}
