//! Which indices cannot be replicated exactly, and why: said before anything is copied, not found out afterwards.
//!
//! The follower's documents are made from `_source`. Where the engine does not keep it, keeps a part of it, or makes it
//! anew for each answer, the follower's documents would differ from the leader's; where deletes leave no trace, they
//! could be missed.

use serde_json::Value;
use slipstream_model::settings::Settings;

/// Why an index cannot be replicated exactly, in words; `None` where it can.
pub(crate) fn obstacle(mapping: &Value, settings: &Settings) -> Option<&'static str> {
    let source = mapping.get("_source").unwrap_or(&Value::Null);
    let mode = text(settings.get("index.mapping.source.mode"));
    let mapped_mode = text(source.get("mode"));
    if is(source.get("enabled"), "false") || mode == "disabled" || mapped_mode == "disabled" {
        return Some("_source is disabled in the mapping: the leader does not keep what was indexed");
    }
    if names_fields(source.get("includes")) || names_fields(source.get("excludes")) {
        return Some(
            "_source is filtered in the mapping (includes or excludes): the leader keeps only a part of each document",
        );
    }
    if mode == "synthetic" || mapped_mode == "synthetic" {
        return Some(
            "_source is synthetic: the leader makes it anew from the fields and does not keep it as it was sent",
        );
    }
    let index_mode = text(settings.get("index.mode"));
    if matches!(index_mode.as_str(), "time_series" | "logsdb") && mode != "stored" && mapped_mode != "stored"
    {
        return Some(
            "the index mode (time_series or logsdb) makes _source synthetic, unless index.mapping.source.mode is \
             `stored`: the leader does not keep it as it was sent",
        );
    }
    if is(settings.get("index.derived_source.enabled"), "true") {
        return Some(
            "_source is derived (index.derived_source.enabled): the leader does not keep it as it was sent",
        );
    }
    if is(settings.get("index.soft_deletes.enabled"), "false") {
        return Some(
            "soft deletes are off (index.soft_deletes.enabled): such an index was made for an older engine and keeps no \
             history of its changes; reindex it first",
        );
    }
    None
}

fn is(value: Option<&Value>, expected: &str) -> bool {
    text(value) == expected
}

/// Engines print settings as texts and mappings with booleans; both are compared in lower case.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.to_ascii_lowercase(),
        Some(Value::Bool(bool)) => bool.to_string(),
        _ => String::new(),
    }
}

fn names_fields(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(fields)) => !fields.is_empty(),
        Some(Value::String(field)) => !field.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(mapping: &Value, settings: &[(&str, &str)]) -> Option<&'static str> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        obstacle(mapping, &settings)
    }

    #[test]
    fn ordinary_indices_have_no_obstacle() {
        for mapping in [
            json!({}),
            json!({"properties": {"_source": {"enabled": false}}}),
            json!({"_source": {"enabled": true, "includes": [], "excludes": []}}),
        ] {
            assert_eq!(
                words(&mapping, &[("index.soft_deletes.enabled", "true")]),
                None,
                "{mapping}"
            );
        }
        let stored = [("index.mode", "logsdb"), ("index.mapping.source.mode", "STORED")];
        assert_eq!(words(&json!({}), &stored), None);
        assert_eq!(words(&json!({}), &[("index.mode", "standard")]), None);
    }

    #[test]
    fn whatever_changes_the_source_is_named() {
        for (mapping, settings, expected) in [
            (
                json!({"_source": {"enabled": false}}),
                None,
                "_source is disabled",
            ),
            (
                json!({"_source": {"enabled": "false"}}),
                None,
                "_source is disabled",
            ),
            (
                json!({"_source": {"mode": "disabled"}}),
                None,
                "_source is disabled",
            ),
            (json!({"_source": {"excludes": ["secret.*"]}}), None, "filtered"),
            (json!({"_source": {"includes": ["a"]}}), None, "filtered"),
            (json!({"_source": {"mode": "synthetic"}}), None, "synthetic"),
            (
                json!({}),
                Some(("index.mapping.source.mode", "SYNTHETIC")),
                "synthetic",
            ),
            (json!({}), Some(("index.mode", "time_series")), "index mode"),
            (
                json!({}),
                Some(("index.derived_source.enabled", "true")),
                "derived",
            ),
            (
                json!({}),
                Some(("index.soft_deletes.enabled", "false")),
                "soft deletes are off",
            ),
        ] {
            let settings: Vec<_> = settings.into_iter().collect();
            let found = words(&mapping, &settings).unwrap_or_default();
            assert!(found.contains(expected), "{mapping} {settings:?}: {found}");
        }
    }
}
