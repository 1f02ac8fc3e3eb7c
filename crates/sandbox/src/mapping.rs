//! An index's mapping: merging a new definition into it, and refusing one that contradicts it.
//!
//! Kept as the JSON that clients send and read; only what the engines themselves rewrite is rewritten.

use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};

/// A mapping, or the definition of one object in it.
pub(crate) type Fields = Map<String, Value>;

/// Types that the engines know without further plugins (a few of them on one side only).
const TYPES: &[&str] = &[
    "alias",
    "binary",
    "boolean",
    "byte",
    "completion",
    "constant_keyword",
    "date",
    "date_nanos",
    "date_range",
    "derived",
    "double",
    "double_range",
    "flat_object",
    "flattened",
    "float",
    "float_range",
    "geo_point",
    "geo_shape",
    "half_float",
    "integer",
    "integer_range",
    "ip",
    "ip_range",
    "join",
    "keyword",
    "knn_vector",
    "long",
    "long_range",
    "match_only_text",
    "murmur3",
    "nested",
    "object",
    "percolator",
    "rank_feature",
    "rank_features",
    "scaled_float",
    "search_as_you_type",
    "short",
    "text",
    "token_count",
    "unsigned_long",
    "wildcard",
];

/// Parameters that stay as they were when a field was created, with their defaults.
const FROZEN: &[(&str, &str)] = &[
    ("index", "true"),
    ("doc_values", "true"),
    ("store", "false"),
    ("analyzer", "default"),
    ("format", ""),
];

/// The type of a field's definition; objects may leave it out.
pub(crate) fn type_of(field: &Value) -> &str {
    field.get("type").and_then(Value::as_str).unwrap_or("object")
}

/// Whether the definition has fields of its own.
pub(crate) fn is_object(field: &Value) -> bool {
    matches!(type_of(field), "object" | "nested")
}

/// Takes a mapping as clients send it: validated, and spelt as the engines show it.
pub(crate) fn normalised(body: &Value) -> ApiResult<Fields> {
    let body = body
        .as_object()
        .ok_or_else(|| ApiError::mapper("mapping must be an object"))?;
    // Elasticsearch 7 and its heirs still take (and older clients send) the single type `_doc` around everything.
    if let (1, Some(inner)) = (body.len(), body.get("_doc")) {
        return normalised(inner);
    }
    let mut out = Fields::new();
    for (name, value) in body {
        match name.as_str() {
            "properties" => {
                let fields = properties(value)?;
                if !fields.is_empty() {
                    out.insert("properties".into(), Value::Object(fields));
                }
            }
            "dynamic" => {
                out.insert(name.clone(), json!(text(value)));
            }
            "date_detection"
            | "numeric_detection"
            | "dynamic_templates"
            | "dynamic_date_formats"
            | "_meta"
            | "_source"
            | "_routing"
            | "_data_stream_timestamp"
            | "_field_names"
            | "_size"
            | "runtime"
            | "derived" => {
                out.insert(name.clone(), value.clone());
            }
            other => {
                let reason =
                    format!("Root mapping definition has unsupported parameters:  [{other} : {value}]");
                return Err(ApiError::mapper(reason));
            }
        }
    }
    Ok(out)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn properties(value: &Value) -> ApiResult<Fields> {
    let fields = value
        .as_object()
        .ok_or_else(|| ApiError::mapper("Expected map for property [properties]"))?;
    let mut out = Fields::new();
    for (name, field) in fields {
        if name.is_empty() {
            return Err(ApiError::illegal("name cannot be empty string"));
        }
        let field = definition(name, field)?;
        // A dotted name is a path of objects.
        let nested = name
            .rsplit('.')
            .fold(None, |inner: Option<(String, Value)>, part| {
                Some(match inner {
                    None => (part.to_owned(), field.clone()),
                    Some((n, v)) => (part.to_owned(), json!({"properties": {n: v}})),
                })
            });
        if let Some((first, value)) = nested {
            let mut single = Fields::new();
            single.insert(first, value);
            merge_properties(&mut out, &single, "")?;
        }
    }
    Ok(out)
}

fn definition(name: &str, field: &Value) -> ApiResult<Value> {
    let Some(members) = field.as_object() else {
        let reason = format!("Expected map for property [fields] on field [{name}] but got a scalar");
        return Err(ApiError::mapper(reason));
    };
    let kind = type_of(field).to_owned();
    if !members.contains_key("type") && !members.contains_key("properties") && !is_bare_object(members) {
        return Err(ApiError::mapper(format!("No type specified for field [{name}]")));
    }
    if !TYPES.contains(&kind.as_str()) {
        return Err(ApiError::mapper(format!(
            "No handler for type [{kind}] declared on field [{name}]"
        )));
    }
    let mut out = members.clone();
    if is_object(field) {
        if let Some(dynamic) = members.get("dynamic") {
            out.insert("dynamic".into(), json!(text(dynamic)));
        }
        let inner = members
            .get("properties")
            .map(properties)
            .transpose()?
            .unwrap_or_default();
        if inner.is_empty() {
            out.remove("properties");
            out.insert("type".into(), json!(kind));
        } else {
            out.insert("properties".into(), Value::Object(inner));
            if kind == "object" {
                out.remove("type");
            }
        }
    } else {
        for (parameter, default) in FROZEN {
            if !default.is_empty() && out.get(*parameter).is_some_and(|v| text(v) == *default) {
                out.remove(*parameter);
            }
        }
        if let Some(sub) = members.get("fields").and_then(Value::as_object) {
            for (sub_name, sub_field) in sub {
                definition(&format!("{name}.{sub_name}"), sub_field)?;
            }
        }
    }
    Ok(Value::Object(out))
}

fn is_bare_object(members: &Fields) -> bool {
    members.keys().all(|k| {
        matches!(
            k.as_str(),
            "dynamic" | "enabled" | "include_in_parent" | "include_in_root"
        )
    })
}

/// Merges a normalised mapping into one; nothing is changed where it is refused.
pub(crate) fn merged(current: &Fields, change: &Fields) -> ApiResult<Fields> {
    let mut next = current.clone();
    for (name, value) in change {
        if name == "properties" {
            let empty = Fields::new();
            let mut fields = next
                .get("properties")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            merge_properties(&mut fields, value.as_object().unwrap_or(&empty), "")?;
            next.insert(name.clone(), Value::Object(fields));
        } else {
            next.insert(name.clone(), value.clone());
        }
    }
    Ok(next)
}

fn merge_properties(current: &mut Fields, change: &Fields, prefix: &str) -> ApiResult<()> {
    for (name, field) in change {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match current.get_mut(name) {
            None => {
                current.insert(name.clone(), field.clone());
            }
            Some(old) => merge_field(old, field, &path)?,
        }
    }
    Ok(())
}

fn merge_field(old: &mut Value, new: &Value, path: &str) -> ApiResult<()> {
    if is_object(old) != is_object(new) {
        let reason = format!("can't merge a non object mapping [{path}] with an object mapping");
        return Err(ApiError::illegal(reason));
    }
    let (was, is) = (type_of(old).to_owned(), type_of(new).to_owned());
    if was != is && is_object(old) {
        let reason = format!("can't merge a nested mapping [{path}] with a non-nested mapping");
        return Err(ApiError::illegal(reason));
    }
    if was != is {
        let reason = format!("mapper [{path}] cannot be changed from type [{was}] to [{is}]");
        return Err(ApiError::illegal(reason));
    }
    if is_object(old) {
        let inner = new.get("properties").and_then(Value::as_object);
        let Some(members) = old.as_object_mut() else {
            return Ok(());
        };
        if let Some(dynamic) = new.get("dynamic") {
            members.insert("dynamic".into(), dynamic.clone());
        }
        if let Some(inner) = inner {
            let mut fields = members
                .get("properties")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            merge_properties(&mut fields, inner, path)?;
            members.insert("properties".into(), Value::Object(fields));
            if was == "object" {
                members.remove("type");
            }
        }
        return Ok(());
    }
    for (parameter, default) in FROZEN {
        let show = |v: &Value| v.get(*parameter).map_or_else(|| (*default).to_owned(), text);
        let (before, after) = (show(old), show(new));
        if before != after {
            return Err(ApiError::illegal(format!(
                "Mapper for [{path}] conflicts with existing mapper:\n\tCannot update parameter [{parameter}] from \
                 [{before}] to [{after}]"
            )));
        }
    }
    // Multi-fields add up; every other parameter is as the newest definition says.
    let subs = old.get("fields").and_then(Value::as_object).cloned();
    let mut next = new.clone();
    if let (Some(mut subs), Some(members)) = (subs, next.as_object_mut()) {
        let empty = Fields::new();
        merge_properties(
            &mut subs,
            new.get("fields").and_then(Value::as_object).unwrap_or(&empty),
            path,
        )?;
        members.insert("fields".into(), Value::Object(subs));
    }
    *old = next;
    Ok(())
}

/// How many fields, objects and multi-fields a mapping has, as `index.mapping.total_fields.limit` counts them.
pub(crate) fn count(fields: &Fields) -> usize {
    ["properties", "fields"]
        .iter()
        .filter_map(|key| fields.get(*key).and_then(Value::as_object))
        .flat_map(Map::values)
        .map(|field| 1 + field.as_object().map_or(0, count))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(current: &Fields, body: &Value) -> ApiResult<Fields> {
        merged(current, &normalised(body)?)
    }

    #[test]
    fn fields_add_up_and_types_stay() {
        let first = put(
            &Fields::new(),
            &json!({"properties": {"a": {"type": "long"}, "o.k": {"type": "date"}}}),
        )
        .unwrap();
        assert_eq!(first["properties"]["o"]["properties"]["k"]["type"], "date");
        let second = put(&first, &json!({"properties": {"b": {"type": "text"}}})).unwrap();
        assert_eq!(count(&second), 4);
        let refused = put(&second, &json!({"properties": {"a": {"type": "keyword"}}})).unwrap_err();
        assert!(
            refused
                .envelope()
                .to_string()
                .contains("mapper [a] cannot be changed from type [long] to [keyword]")
        );
    }

    #[test]
    fn an_object_does_not_become_a_field() {
        let first = put(
            &Fields::new(),
            &json!({"properties": {"a": {"properties": {"b": {"type": "long"}}}}}),
        )
        .unwrap();
        assert!(put(&first, &json!({"properties": {"a": {"type": "long"}}})).is_err());
    }

    #[test]
    fn defaults_and_the_word_object_are_not_shown() {
        let body = json!({"dynamic": false, "properties": {"a": {"type": "long", "index": true}, "o": {"type": "object"}}});
        let mapping = normalised(&body).unwrap();
        assert_eq!(mapping["dynamic"], "false");
        assert_eq!(mapping["properties"]["a"], json!({"type": "long"}));
        assert_eq!(mapping["properties"]["o"], json!({"type": "object"}));
    }
}
