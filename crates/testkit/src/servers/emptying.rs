//! Makes a used server what it was when it was new: everything that a list of the cluster has and did not have then goes, and the
//! lists are read again. A server that does not become as it was is not used again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::Instance;
use crate::client::Es;

/// Deleting what a test has left takes far less.
const LIMIT: Duration = Duration::from_secs(30);

/// What a cluster may have of each kind, in the order in which they can be deleted: the path of its list, the list's field or none
/// where names are keys, and the path before a name.
const KINDS: [(&str, Option<&str>, &str); 7] = [
    (
        "/_data_stream?expand_wildcards=all",
        Some("data_streams"),
        "/_data_stream/",
    ),
    (
        "/_cat/indices?format=json&h=index&expand_wildcards=all",
        None,
        "/",
    ),
    ("/_index_template", Some("index_templates"), "/_index_template/"),
    (
        "/_component_template",
        Some("component_templates"),
        "/_component_template/",
    ),
    ("/_template", None, "/_template/"),
    ("/_snapshot", None, "/_snapshot/"),
    ("/_ingest/pipeline", None, "/_ingest/pipeline/"),
];

/// What a cluster has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Names by the path before them.
    names: BTreeMap<&'static str, BTreeSet<String>>,
    settings: Value,
}

impl Inventory {
    /// Asks a cluster.
    pub(crate) async fn of(server: &Es) -> Result<Self, String> {
        let mut names = BTreeMap::new();
        for (list, field, path) in KINDS {
            let (status, answer) = server.try_get(list).await.map_err(|error| error.to_string())?;
            // A kind that this release does not have, or has none of.
            let found = if status == 200 {
                named(&answer, field)
            } else {
                BTreeSet::new()
            };
            names.insert(path, found);
        }
        let answer = server.try_get("/_cluster/settings?flat_settings=true").await;
        let (_, settings) = answer.map_err(|error| error.to_string())?;
        Ok(Inventory { names, settings })
    }
}

/// The names in a list: the field `name` or `index` of each of its elements, or its keys.
fn named(list: &Value, field: Option<&str>) -> BTreeSet<String> {
    match field.map_or(list, |field| &list[field]) {
        Value::Array(elements) => elements
            .iter()
            .filter_map(|one| one["name"].as_str().or(one["index"].as_str()))
            .map(str::to_owned)
            .collect(),
        Value::Object(keys) => keys.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// Deletes what a server did not have when it was new.
pub(crate) async fn empty(server: &mut Instance, new: &Inventory) -> Result<(), String> {
    if let Some(status) = server.exited() {
        return Err(format!("it ended with {status}"));
    }
    timeout(LIMIT, emptied(server, new))
        .await
        .unwrap_or_else(|_| Err(format!("it is not empty after {} s", LIMIT.as_secs())))
}

async fn emptied(server: &Instance, new: &Inventory) -> Result<(), String> {
    let client = server.client();
    let used = Inventory::of(&client).await?;
    let reset = json!({
        "persistent": nulls(&used.settings["persistent"]),
        "transient": nulls(&used.settings["transient"]),
    });
    // First: a setting may keep indices from being deleted.
    if used.settings != new.settings {
        let body = Some(("application/json", reset.to_string().into_bytes()));
        let answer = client.try_send("PUT", "/_cluster/settings", body).await;
        answer.map_err(|error| error.to_string())?;
    }
    for (_, _, path) in KINDS {
        for name in used.names[path].difference(&new.names[path]) {
            let answer = client.try_send("DELETE", &format!("{path}{name}"), None).await;
            answer.map_err(|error| error.to_string())?;
        }
    }
    for entry in std::fs::read_dir(server.repo_path())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let now = Inventory::of(&client).await?;
    if now == *new {
        Ok(())
    } else {
        Err(format!("it has {now:?} and had {new:?}"))
    }
}

/// The same settings, each to be reset.
fn nulls(settings: &Value) -> Value {
    let keys = settings.as_object().into_iter().flat_map(Map::keys);
    Value::Object(keys.map(|key| (key.clone(), Value::Null)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_each_form_of_list() {
        let of = |list, field| named(&list, field).into_iter().collect::<Vec<_>>();
        assert_eq!(of(json!([{ "index": "b" }, { "index": "a" }]), None), ["a", "b"]);
        assert_eq!(of(json!({ "repo": {}, "other": {} }), None), ["other", "repo"]);
        let templates = json!({ "index_templates": [{ "name": "t", "index_template": {} }] });
        assert_eq!(of(templates, Some("index_templates")), ["t"]);
        assert!(of(json!({ "error": "none" }), Some("data_streams")).is_empty());
    }

    #[test]
    fn settings_are_reset_one_by_one() {
        assert_eq!(
            nulls(&json!({ "a.b": "1", "c": ["2"] })),
            json!({ "a.b": null, "c": null })
        );
        assert_eq!(nulls(&Value::Null), json!({}));
    }
}
