//! Index settings: which exist, which may change on an open index, and what the engine reads out of them.
//!
//! The table is a subset of what the engines know; a setting outside it is refused the way an engine refuses one that
//! it does not know, so that a client meets that refusal in tests.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};
use crate::time::Span;

/// Flat settings: name with its `index.` prefix → a string or a list of strings.
pub(crate) type Flat = BTreeMap<String, Value>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    /// Only when the index is created.
    Final,
    /// When the index is created or while it is closed.
    Static,
    Dynamic,
}

/// Exact names, and prefixes that end with a dot.
const KNOWN: &[(&str, Update)] = &[
    ("index.number_of_shards", Update::Final),
    ("index.number_of_routing_shards", Update::Final),
    ("index.routing_partition_size", Update::Final),
    ("index.soft_deletes.enabled", Update::Final),
    ("index.sort.", Update::Final),
    ("index.replication.type", Update::Final),
    ("index.hidden", Update::Dynamic),
    ("index.number_of_replicas", Update::Dynamic),
    ("index.auto_expand_replicas", Update::Dynamic),
    ("index.refresh_interval", Update::Dynamic),
    ("index.gc_deletes", Update::Dynamic),
    ("index.max_result_window", Update::Dynamic),
    ("index.max_inner_result_window", Update::Dynamic),
    ("index.max_docvalue_fields_search", Update::Dynamic),
    ("index.max_terms_count", Update::Dynamic),
    ("index.max_ngram_diff", Update::Dynamic),
    ("index.max_shingle_diff", Update::Dynamic),
    ("index.search.idle.after", Update::Dynamic),
    ("index.search.default_pipeline", Update::Dynamic),
    ("index.search.slowlog.", Update::Dynamic),
    ("index.indexing.slowlog.", Update::Dynamic),
    ("index.blocks.read_only", Update::Dynamic),
    ("index.blocks.read_only_allow_delete", Update::Dynamic),
    ("index.blocks.read", Update::Dynamic),
    ("index.blocks.write", Update::Dynamic),
    ("index.blocks.metadata", Update::Dynamic),
    ("index.default_pipeline", Update::Dynamic),
    ("index.final_pipeline", Update::Dynamic),
    ("index.priority", Update::Dynamic),
    ("index.query.default_field", Update::Dynamic),
    ("index.requests.cache.enable", Update::Dynamic),
    ("index.routing.", Update::Dynamic),
    ("index.unassigned.node_left.delayed_timeout", Update::Dynamic),
    ("index.write.wait_for_active_shards", Update::Dynamic),
    ("index.soft_deletes.retention_lease.period", Update::Dynamic),
    ("index.soft_deletes.retention.operations", Update::Dynamic),
    ("index.translog.durability", Update::Dynamic),
    ("index.translog.flush_threshold_size", Update::Dynamic),
    ("index.translog.generation_threshold_size", Update::Dynamic),
    ("index.translog.retention.", Update::Dynamic),
    ("index.translog.sync_interval", Update::Dynamic),
    ("index.merge.", Update::Dynamic),
    ("index.mapping.total_fields.limit", Update::Dynamic),
    ("index.mapping.depth.limit", Update::Dynamic),
    ("index.mapping.nested_fields.limit", Update::Dynamic),
    ("index.mapping.nested_objects.limit", Update::Dynamic),
    ("index.mapping.field_name_length.limit", Update::Dynamic),
    ("index.mapping.ignore_malformed", Update::Static),
    ("index.mapping.coerce", Update::Static),
    ("index.analysis.", Update::Static),
    ("index.similarity.", Update::Static),
    ("index.codec", Update::Static),
    ("index.store.", Update::Static),
    ("index.shard.check_on_startup", Update::Static),
];

/// Settings whose value is a duration.
const DURATIONS: &[&str] = &[
    "index.refresh_interval",
    "index.gc_deletes",
    "index.search.idle.after",
    "index.translog.sync_interval",
    "index.unassigned.node_left.delayed_timeout",
    "index.soft_deletes.retention_lease.period",
];

/// Settings whose value is a whole number, with the least one allowed.
const NUMBERS: &[(&str, u64)] = &[
    ("index.number_of_shards", 1),
    ("index.number_of_routing_shards", 1),
    ("index.routing_partition_size", 1),
    ("index.number_of_replicas", 0),
    ("index.max_result_window", 1),
    ("index.mapping.total_fields.limit", 1),
];

fn update_of(name: &str) -> Option<Update> {
    KNOWN
        .iter()
        .find(|(k, _)| {
            if k.ends_with('.') {
                name.starts_with(k)
            } else {
                name == *k
            }
        })
        .map(|(_, u)| *u)
}

/// Flattens a settings body (nested, dotted or both, with or without `index.`) without judging it. `null` stays.
pub(crate) fn flatten(body: &Value) -> Flat {
    fn walk(prefix: &str, value: &Value, flat: &mut Flat) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let path = if prefix.is_empty() {
                        name.clone()
                    } else {
                        format!("{prefix}.{name}")
                    };
                    walk(&path, member, flat);
                }
            }
            Value::Array(items) => {
                let texts = items.iter().map(|v| Value::String(text_of(v))).collect();
                flat.insert(prefix.to_owned(), Value::Array(texts));
            }
            Value::Null => {
                flat.insert(prefix.to_owned(), Value::Null);
            }
            scalar => {
                flat.insert(prefix.to_owned(), Value::String(text_of(scalar)));
            }
        }
    }
    let mut flat = Flat::new();
    walk("", body, &mut flat);
    flat
}

/// [`flatten`], with every name under `index.`.
pub(crate) fn flatten_index(body: &Value) -> Flat {
    flatten(body)
        .into_iter()
        .map(|(name, value)| {
            if name.starts_with("index.") {
                (name, value)
            } else {
                (format!("index.{name}"), value)
            }
        })
        .collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Nests flat names, the way settings are shown without `flat_settings`.
pub(crate) fn nest(flat: &Flat) -> Value {
    let mut root = Map::new();
    for (name, value) in flat {
        let mut at = &mut root;
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                at.insert(part.to_owned(), value.clone());
                break;
            }
            let next = at.entry(part).or_insert_with(|| json!({}));
            if !next.is_object() {
                *next = json!({});
            }
            let Some(inner) = next.as_object_mut() else { break };
            at = inner;
        }
    }
    Value::Object(root)
}

/// Refuses what an engine does not know or cannot read.
fn validate(name: &str, value: &Value) -> ApiResult<Update> {
    let Some(update) = update_of(name) else {
        return Err(ApiError::illegal(format!(
            "unknown setting [{name}] please check that any required plugins are installed, or check the breaking \
             changes documentation for removed settings"
        )));
    };
    let Some(text) = value.as_str() else {
        return Ok(update);
    };
    if DURATIONS.contains(&name) && Span::parse(text).is_none() {
        return Err(ApiError::illegal(format!(
            "failed to parse setting [{name}] with value [{text}] as a time value: unit is missing or unrecognized"
        )));
    }
    if let Some((_, least)) = NUMBERS.iter().find(|(n, _)| *n == name) {
        let number: Result<u64, _> = text.parse();
        match number {
            Ok(n) if n >= *least => {}
            Ok(_) => {
                let reason =
                    format!("Failed to parse value [{text}] for setting [{name}] must be >= {least}");
                return Err(ApiError::illegal(reason));
            }
            Err(_) => {
                let reason = format!("Failed to parse value [{text}] for setting [{name}]");
                return Err(ApiError::illegal(reason));
            }
        }
    }
    Ok(update)
}

/// Judges the settings of a new index; `null` values are dropped.
pub(crate) fn for_create(body: &Value) -> ApiResult<Flat> {
    let mut flat = flatten_index(body);
    flat.retain(|_, value| !value.is_null());
    for (name, value) in &flat {
        validate(name, value)?;
    }
    Ok(flat)
}

/// The settings after a change, which is judged as a whole: all of it or nothing. `null` puts a default back.
pub(crate) fn updated(current: &Flat, change: &Flat, open: bool, index: &str, uuid: &str) -> ApiResult<Flat> {
    let mut refused = Vec::new();
    for (name, value) in change {
        match validate(name, value)? {
            Update::Static | Update::Final if open => refused.push(format!("[{name}]")),
            Update::Dynamic | Update::Static => {}
            Update::Final => {
                return Err(ApiError::illegal(format!(
                    "final {index} setting [{name}], not updateable"
                )));
            }
        }
    }
    if !refused.is_empty() {
        let list = refused.join(", ");
        return Err(ApiError::illegal(format!(
            "Can't update non dynamic settings [{list}] for open indices [[{index}/{uuid}]]"
        )));
    }
    let mut next = current.clone();
    for (name, value) in change {
        if !value.is_null() {
            next.insert(name.clone(), value.clone());
        } else if name == "index.number_of_replicas" {
            next.insert(name.clone(), json!("1"));
        } else {
            next.remove(name);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_flattened_and_nested_back() {
        let flat = flatten_index(&json!({"index": {"a": 1, "b.c": true}, "refresh_interval": "5s"}));
        assert_eq!(flat["index.a"], json!("1"));
        assert_eq!(flat["index.b.c"], json!("true"));
        assert_eq!(nest(&flat)["index"]["b"]["c"], json!("true"));
        assert_eq!(flat["index.refresh_interval"], json!("5s"));
    }

    #[test]
    fn static_settings_change_only_while_closed_and_final_ones_never() {
        let current = Flat::new();
        let codec = flatten_index(&json!({"codec": "best_compression"}));
        assert!(updated(&current, &codec, true, "i", "u").is_err());
        assert!(updated(&current, &codec, false, "i", "u").is_ok());
        let shards = flatten_index(&json!({"number_of_shards": 2}));
        assert!(updated(&current, &shards, false, "i", "u").is_err());
    }
}
