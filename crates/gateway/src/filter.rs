//! `filter_path`: the parts of an answer that a caller wants to see, as the engines take it.
//!
//! A list of paths; `*` stands for any run of characters within a name, `**` for any number of names, and a path behind `-`
//! is left out. Lists of objects have no place in a path of their own.

use serde_json::{Map, Value};
use slipstream_model::Pattern;

/// The part of `answer` that `filter_path` asks for.
pub(crate) fn filter(answer: Value, filter_path: &str) -> Value {
    let paths = filter_path
        .split(',')
        .map(str::trim)
        .filter(|path| !path.is_empty());
    let (without, with): (Vec<&str>, Vec<&str>) = paths.partition(|path| path.starts_with('-'));
    let with: Vec<Vec<&str>> = with.iter().map(|path| path.split('.').collect()).collect();
    let without: Vec<Vec<&str>> = without
        .iter()
        .map(|path| path[1..].split('.').collect())
        .collect();
    let mut answer = answer;
    if !with.is_empty() {
        answer = include(answer, &slices(&with)).unwrap_or_else(|| Value::Object(Map::new()));
    }
    if !without.is_empty() {
        exclude(&mut answer, &slices(&without));
    }
    answer
}

type Path<'a> = &'a [&'a str];

fn slices<'a>(paths: &'a [Vec<&'a str>]) -> Vec<Path<'a>> {
    paths.iter().map(Vec::as_slice).collect()
}

/// What is left of the paths behind a name.
fn behind<'a>(paths: &[Path<'a>], name: &str) -> Vec<Path<'a>> {
    let mut left = Vec::new();
    for path in paths {
        match path.split_first() {
            Some((&"**", rest)) => {
                left.push(*path);
                left.extend(behind(&[rest], name));
            }
            Some((first, rest)) if Pattern::new(*first).matches(name) => left.push(rest),
            _ => {}
        }
    }
    left
}

/// Whether a path ends here, so that everything from here on is meant.
fn ends(paths: &[Path<'_>]) -> bool {
    paths.iter().any(|path| path.is_empty())
}

fn include(value: Value, paths: &[Path<'_>]) -> Option<Value> {
    if ends(paths) {
        return Some(value);
    }
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(name, value)| {
                let paths = behind(paths, &name);
                Some((name, include(value, &paths)?))
            });
            let kept: Map<String, Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let kept: Vec<Value> = items
                .into_iter()
                .filter_map(|item| include(item, paths))
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

fn exclude(value: &mut Value, paths: &[Path<'_>]) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let paths = behind(paths, name);
            if ends(&paths) {
                return false;
            }
            exclude(value, &paths);
            true
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| exclude(item, paths)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_choose_and_leave_out() {
        let answer = json!({
            "status": "SYNCING",
            "syncing_details": {"leader_checkpoint": 1, "seq_no": 2},
            "shards": [{"id": 0, "lag": 1}, {"id": 1, "lag": 2}]
        });
        for (path, expected) in [
            ("status", json!({"status": "SYNCING"})),
            (
                "syncing_details.seq_no,status",
                json!({"status": "SYNCING", "syncing_details": {"seq_no": 2}}),
            ),
            ("shards.id", json!({"shards": [{"id": 0}, {"id": 1}]})),
            ("*.leader_*", json!({"syncing_details": {"leader_checkpoint": 1}})),
            ("**.lag", json!({"shards": [{"lag": 1}, {"lag": 2}]})),
            (
                "-shards,-syncing_details.seq_no",
                json!({"status": "SYNCING", "syncing_details": {"leader_checkpoint": 1}}),
            ),
            ("shards,-shards.lag", json!({"shards": [{"id": 0}, {"id": 1}]})),
            ("nothing.like.it", json!({})),
        ] {
            assert_eq!(filter(answer.clone(), path), expected, "{path}");
        }
        assert_eq!(filter(answer.clone(), ""), answer);
    }
}
