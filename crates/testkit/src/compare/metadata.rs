//! Mapping, aliases and settings of two indices.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Differences, ReadError, Side, excerpt};
use crate::client::escape;

/// Settings, or families of them where the name ends in a dot, that tell one index from another, belong to one
/// cluster, or are held at other values while an index follows.
const OWN: [&str; 25] = [
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.version.",
    "index.history.",
    "index.resize.",
    "index.shrink.",
    "index.blocks.",
    "index.lifecycle.",
    "index.plugins.",
    "index.opendistro.",
    "index.allocation.",
    "index.routing.allocation.",
    "index.routing.rebalance.",
    "index.recovery.",
    "index.store.snapshot.",
    "index.verified_before_close",
    "index.frozen",
    "index.number_of_routing_shards",
    "index.write.wait_for_active_shards",
    "index.default_pipeline",
    "index.final_pipeline",
    "index.search.default_pipeline",
    "index.gc_deletes",
    "index.translog.durability",
];

/// Settings that one release writes down for every new index and another does not know; the value is what their
/// absence means.
const IMPLIED: [(&str, &str); 1] = [("index.replication.type", "DOCUMENT")];

pub(super) async fn compare(leader: &Side, follower: &Side, found: &mut Differences) {
    for (what, path, part) in [
        ("mapping", "_mapping", "mappings"),
        ("aliases", "_alias", "aliases"),
    ] {
        if let Some((ours, theirs)) = both(leader, follower, path, part, found).await {
            compare_values(what, &ours, &theirs, found);
        }
    }
    let path = "_settings?flat_settings=true";
    if let Some((ours, theirs)) = both(leader, follower, path, "settings", found).await {
        compare_values("settings", &travelling(&ours), &travelling(&theirs), found);
    }
}

async fn both(
    leader: &Side,
    follower: &Side,
    path: &str,
    part: &str,
    found: &mut Differences,
) -> Option<(Value, Value)> {
    let (ours, theirs) = tokio::join!(read(leader, path, part), read(follower, path, part));
    let ours = ours.map_err(|error| found.unreadable(leader, &error));
    let theirs = theirs.map_err(|error| found.unreadable(follower, &error));
    Some((ours.ok()?, theirs.ok()?))
}

async fn read(side: &Side, path: &str, part: &str) -> Result<Value, ReadError> {
    let path = format!("/{}/{path}", escape(&side.index));
    let (status, body) = side.client.try_send("GET", &path, None).await?;
    if status != 200 {
        return Err(ReadError::Refused {
            path,
            status,
            body: excerpt(&body),
        });
    }
    // The answer is keyed by the index's name, which is another one where an alias was asked for.
    let answer: Option<Map<String, Value>> = serde_json::from_slice(&body).ok();
    let part = answer
        .and_then(|answer| answer.into_iter().next())
        .and_then(|(_, mut index)| index.get_mut(part).map(Value::take));
    part.ok_or_else(|| ReadError::Odd {
        path,
        what: excerpt(&body),
    })
}

fn travelling(settings: &Value) -> Value {
    let mut kept: Map<String, Value> = settings.as_object().cloned().unwrap_or_default();
    let own = |name: &str| {
        OWN.iter().any(|own| {
            if own.ends_with('.') {
                name.starts_with(own)
            } else {
                name == *own
            }
        })
    };
    kept.retain(|name, value| {
        !own(name)
            && !IMPLIED
                .iter()
                .any(|(implied, usual)| name == implied && value == usual)
    });
    // With automatic replicas their number is each cluster's own.
    if kept
        .get("index.auto_expand_replicas")
        .is_some_and(|value| value != "false")
    {
        kept.remove("index.number_of_replicas");
    }
    Value::Object(kept)
}

/// Notes where two JSON values differ, leaf by leaf, each with its path.
fn compare_values(path: &str, ours: &Value, theirs: &Value, found: &mut Differences) {
    if let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) {
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for name in names {
            let path = format!("{path} → {name}");
            match (ours.get(name), theirs.get(name)) {
                (Some(ours), Some(theirs)) => compare_values(&path, ours, theirs, found),
                (Some(ours), None) => found.add(|| format!("{path}: {ours} is missing")),
                (None, Some(theirs)) => found.add(|| format!("{path}: {theirs} is extra")),
                (None, None) => {}
            }
        }
    } else if ours != theirs {
        found.add(|| format!("{path}: {ours} against {theirs}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
        let mut found = Differences::default();
        compare_values("mapping", ours, theirs, &mut found);
        found.listed()
    }

    #[test]
    fn leaves_are_named_by_their_path() {
        let ours = json!({"properties": {"a": {"type": "long"}, "b": {"type": "text"}}});
        let theirs = json!({"properties": {"a": {"type": "keyword"}, "c": {"type": "text"}}});
        assert_eq!(
            differences(&ours, &theirs),
            [
                "mapping → properties → a → type: \"long\" against \"keyword\"",
                "mapping → properties → b: {\"type\":\"text\"} is missing",
                "mapping → properties → c: {\"type\":\"text\"} is extra",
            ]
        );
        assert!(differences(&ours, &ours).is_empty());
    }

    #[test]
    fn identity_does_not_travel_but_behaviour_does() {
        let settings = json!({
            "index.uuid": "u", "index.version.created": "1", "index.blocks.write": "true",
            "index.gc_deletes": "0s", "index.replication.type": "DOCUMENT", "index.refresh_interval": "5s",
        });
        assert_eq!(travelling(&settings), json!({"index.refresh_interval": "5s"}));
    }
}
