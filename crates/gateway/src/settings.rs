//! Settings objects as callers write them: nested, flat, or half of each; and back.

use serde_json::{Map, Value};
use slipstream_model::settings::Settings;

use crate::error::ApiError;

/// All leaves of an object under their dotted names, in the order of names. Arrays are leaves; so are empty objects and
/// `null`.
pub(crate) fn flatten(object: &Map<String, Value>) -> Result<Vec<(String, Value)>, ApiError> {
    let mut flat = Vec::new();
    walk("", object, &mut flat);
    flat.sort_by(|a, b| a.0.cmp(&b.0));
    match flat.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(ApiError::illegal(format!(
            "setting [{}] is given twice",
            pair[0].0
        ))),
        None => Ok(flat),
    }
}

fn walk(prefix: &str, object: &Map<String, Value>, flat: &mut Vec<(String, Value)>) {
    for (name, value) in object {
        let name = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Object(inner) if !inner.is_empty() => walk(&name, inner, flat),
            _ => flat.push((name, value.clone())),
        }
    }
}

/// Puts flat names into nested objects, as the engines print settings by default. A name that is also the beginning of
/// another one stays flat.
pub(crate) fn nest(flat: &[(String, Value)]) -> Map<String, Value> {
    let mut root = Map::new();
    for (name, value) in flat {
        if !insert(&mut root, name, value) {
            root.insert(name.clone(), value.clone());
        }
    }
    root
}

fn insert(object: &mut Map<String, Value>, name: &str, value: &Value) -> bool {
    match name.split_once('.') {
        None if object.contains_key(name) => false,
        None => {
            object.insert(name.to_owned(), value.clone());
            true
        }
        Some((first, rest)) => match object.entry(first).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => insert(inner, rest, value),
            _ => false,
        },
    }
}

/// The index settings of a `_start` body: flat, prefixed, values as the engines print them.
pub(crate) fn overrides(object: &Map<String, Value>) -> Result<Settings, ApiError> {
    let mut settings = Settings::new();
    for (name, value) in flatten(object)? {
        let name = if name.starts_with("index.") {
            name
        } else {
            format!("index.{name}")
        };
        if let Some(why) = never_overridden(&name) {
            return Err(ApiError::illegal(format!(
                "setting [{name}] cannot be overridden: {why}"
            )));
        }
        let value = printed(&name, value)?;
        if settings.insert(name.clone(), value).is_some() {
            return Err(ApiError::illegal(format!("setting [{name}] is given twice")));
        }
    }
    Ok(settings)
}

/// Why an override of this setting could not have the effect it asks for.
fn never_overridden(name: &str) -> Option<&'static str> {
    match name {
        "index.number_of_shards" | "index.number_of_routing_shards" | "index.routing_partition_size" => {
            Some("the follower's shards must be the leader's, one to one")
        }
        "index.soft_deletes.enabled" => Some("it decides what the index can be replicated from later"),
        "index.uuid" | "index.creation_date" | "index.provided_name" | "index.history.uuid" => {
            Some("it identifies the index")
        }
        _ if name.starts_with("index.version.") => Some("it identifies the index"),
        _ if name.starts_with("index.blocks.") => Some("it would block the replication itself"),
        _ => None,
    }
}

/// Settings come back from the engines as texts, whatever they were given as.
fn printed(name: &str, value: Value) -> Result<Value, ApiError> {
    match value {
        Value::String(_) => Ok(value),
        Value::Bool(_) | Value::Number(_) => Ok(Value::String(value.to_string())),
        Value::Array(items) => items
            .into_iter()
            .map(|item| printed(name, item))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Value::Null | Value::Object(_) => Err(ApiError::illegal(format!(
            "setting [{name}] has no value: leave it out to have the leader's"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("{value}")
        };
        map
    }

    #[test]
    fn every_spelling_flattens_to_the_same() {
        let expected = vec![("cluster.remote.x.seeds".to_owned(), json!(["h:1"]))];
        for spelling in [
            json!({"cluster": {"remote": {"x": {"seeds": ["h:1"]}}}}),
            json!({"cluster.remote.x.seeds": ["h:1"]}),
            json!({"cluster.remote": {"x.seeds": ["h:1"]}}),
        ] {
            assert_eq!(flatten(&map(spelling)).unwrap(), expected);
        }
        assert!(flatten(&map(json!({"a": {"b": 1}, "a.b": 2}))).is_err());
    }

    #[test]
    fn nesting_is_the_way_back_and_loses_nothing() {
        let flat = flatten(&map(json!({"a": {"b": 1, "c": [2]}, "d": "e"}))).unwrap();
        assert_eq!(
            Value::Object(nest(&flat)),
            json!({"a": {"b": 1, "c": [2]}, "d": "e"})
        );
        let clash = vec![("a".to_owned(), json!(1)), ("a.b".to_owned(), json!(2))];
        assert_eq!(Value::Object(nest(&clash)), json!({"a": 1, "a.b": 2}));
    }

    #[test]
    fn overrides_are_prefixed_and_printed_as_the_engines_print_them() {
        let settings = overrides(&map(json!({
            "index": {"number_of_replicas": 0}, "refresh_interval": "5s",
            "index.analysis": {"analyzer": {"a": {"filter": ["x", 1]}}}, "hidden": true
        })))
        .unwrap();
        assert_eq!(settings["index.number_of_replicas"], "0");
        assert_eq!(settings["index.refresh_interval"], "5s");
        assert_eq!(settings["index.hidden"], "true");
        assert_eq!(settings["index.analysis.analyzer.a.filter"], json!(["x", "1"]));
    }

    #[test]
    fn overrides_without_effect_are_refused() {
        for body in [
            json!({"index.number_of_shards": 2}),
            json!({"blocks": {"write": true}}),
            json!({"refresh_interval": null}),
            json!({"hidden": true, "index.hidden": false}),
        ] {
            assert!(overrides(&map(body.clone())).is_err(), "{body}");
        }
    }
}
