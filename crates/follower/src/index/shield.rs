//! Keeps the target's index templates away from a follower index while it is created.
//!
//! Whoever creates an index gets what the templates for its name hold, merged with what he asks for: fields and dynamic templates that the
//! leader does not have and that never go away again, or a data stream in place of an index. No engine can be told to
//! leave them out. But of the newer kind of template only the one that comes first counts, and none of the older kind beside it: so one of
//! ours, for this very name and empty, stands in front of them for the moment of the creation.
//!
//! It takes the right to manage templates and two more changes of the cluster's state, so it is done only where a template shows.

use serde_json::Value;
use serde_json::value::RawValue;
use slipstream_cluster::{Cluster, Result};
use slipstream_model::IndexName;
use slipstream_model::ident::fingerprint;

/// Puts the empty template in front of all others.
pub(super) async fn raise(cluster: &Cluster, index: &IndexName) -> Result<()> {
    cluster.put_empty_template(&name(index), index).await
}

/// Takes it away, if it is there. Who may not, or whose engine has none of this kind, has not put it there.
pub(super) async fn lower(cluster: &Cluster, index: &IndexName) -> Result<()> {
    match cluster.remove_template(&name(index)).await {
        Err(error) if error.is_transient() => Err(error),
        _ => Ok(()),
    }
}

fn name(index: &IndexName) -> String {
    format!("slipstream-{:016x}", fingerprint(index.as_str()))
}

/// Whether a mapping has something that was not asked for. Another release may print a mapping otherwise than the leader's, so this
/// is a reason to look closer and none to give up.
pub(super) fn shows(created: &RawValue, wanted: &RawValue) -> bool {
    let read = |mapping: &RawValue| serde_json::from_str::<Value>(mapping.get()).unwrap_or_default();
    has_more(&read(created), &read(wanted))
}

fn has_more(created: &Value, wanted: &Value) -> bool {
    match (created, wanted) {
        (Value::Object(created), Value::Object(wanted)) => {
            created.iter().any(|(key, value)| match wanted.get(key) {
                Some(wanted) => has_more(value, wanted),
                None => !is_nothing(value),
            })
        }
        (Value::Array(created), Value::Array(wanted)) => created.len() > wanted.len(),
        _ => false,
    }
}

fn is_nothing(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_template_adds_shows_and_what_a_release_prints_otherwise_does_not() {
        let wanted = json!({
            "dynamic_templates": [{ "a": {} }],
            "properties": { "text": { "type": "text" }, "inner": { "properties": { "n": { "type": "long" } } } },
        });
        assert!(!has_more(&wanted, &wanted));
        let mut printed = wanted.clone();
        printed["properties"]["text"] = json!({ "type": "match_only_text" });
        printed["runtime"] = json!({});
        assert!(!has_more(&printed, &wanted));
        for (at, more) in [
            ("/properties", json!({ "extra": { "type": "keyword" } })),
            ("/properties/inner/properties", json!({ "m": { "type": "long" } })),
            ("", json!({ "dynamic": "strict" })),
            ("/dynamic_templates/0", json!({ "b": {} })),
        ] {
            let mut created = wanted.clone();
            let place = created.pointer_mut(at).and_then(Value::as_object_mut).unwrap();
            place.extend(more.as_object().unwrap().clone());
            let seen = has_more(&created, &wanted);
            // Of arrays only the length is looked at.
            assert_eq!(seen, at != "/dynamic_templates/0", "{at}");
        }
        let mut longer = wanted.clone();
        longer["dynamic_templates"] = json!([{ "a": {} }, { "b": {} }]);
        assert!(has_more(&longer, &wanted));
    }
}
