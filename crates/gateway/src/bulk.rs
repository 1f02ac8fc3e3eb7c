//! A `_bulk` on its way to the target: items for following indices are taken out and answered here, one by one, in
//! their places; the others pass byte for byte.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{ApiError, block_text};

/// One action of a bulk and the bytes that it takes, its source included.
#[derive(Debug)]
pub(crate) struct Item {
    operation: String,
    /// The index it goes to, if it or the path says.
    pub(crate) index: Option<String>,
    id: Option<String>,
    bytes: Range<usize>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: Option<Value>,
}

/// Splits a body into its items.
pub(crate) fn split(body: &[u8], default_index: Option<&str>) -> Result<Vec<Item>, ApiError> {
    let mut items = Vec::new();
    let mut lines = lines(body).enumerate();
    while let Some((number, line)) = lines.next() {
        let text = body[line.clone()].trim_ascii();
        if text.is_empty() {
            continue;
        }
        let malformed = || ApiError::illegal(format!("Malformed action/metadata line [{}]", number + 1));
        let mut action: BTreeMap<String, Target> = serde_json::from_slice(text).map_err(|_| malformed())?;
        let (Some((operation, target)), None) = (action.pop_first(), action.pop_first()) else {
            return Err(malformed());
        };
        let mut bytes = line;
        if operation != "delete" {
            bytes.end = lines.next().ok_or_else(malformed)?.1.end;
        }
        items.push(Item {
            operation,
            index: target.index.or_else(|| default_index.map(str::to_owned)),
            id: target
                .id
                .map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
            bytes,
        });
    }
    Ok(items)
}

/// The lines of a body, each with its line break.
fn lines(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &body[start..];
        let length = rest
            .iter()
            .position(|b| *b == b'\n')
            .map_or(rest.len(), |at| at + 1);
        let line = start..start + length;
        start += length;
        (length > 0).then_some(line)
    })
}

/// What is left for the target, and what the others are answered with, by position.
pub(crate) struct Parted {
    /// The body without the blocked items; empty if none is left.
    pub(crate) rest: Bytes,
    blocked: BTreeMap<usize, Value>,
}

/// Takes out the items for which `following` names a following index.
pub(crate) fn part(body: &Bytes, items: &[Item], following: impl Fn(&str) -> Option<String>) -> Parted {
    let mut rest = BytesMut::new();
    let mut blocked = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        match item.index.as_deref().and_then(&following) {
            None => rest.extend_from_slice(&body[item.bytes.clone()]),
            Some(index) => {
                let outcome = json!({
                    "_index": item.index,
                    "_id": item.id,
                    "status": 403,
                    "error": {"type": "cluster_block_exception", "reason": block_text(&index)}
                });
                blocked.insert(
                    at,
                    Value::Object([(item.operation.clone(), outcome)].into_iter().collect()),
                );
            }
        }
    }
    Parted {
        rest: rest.freeze(),
        blocked,
    }
}

impl Parted {
    /// Whether the bulk passes as it came.
    pub(crate) fn is_untouched(&self) -> bool {
        self.blocked.is_empty()
    }

    /// Puts the blocked items' answers in their places among the target's; `None` if the target's answer is no bulk
    /// answer.
    pub(crate) fn join(self, answer: Option<Value>) -> Option<Value> {
        let mut answer = answer.unwrap_or_else(|| json!({"took": 0, "items": []}));
        let mut theirs = match answer.get_mut("items")?.take() {
            Value::Array(items) => items.into_iter(),
            _ => return None,
        };
        let total = theirs.len() + self.blocked.len();
        let mut blocked = self.blocked;
        let items: Vec<Value> = (0..total)
            .filter_map(|at| blocked.remove(&at).or_else(|| theirs.next()))
            .collect();
        answer["items"] = Value::Array(items);
        answer["errors"] = Value::Bool(true);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = concat!(
        "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"v\": 1.0}\n",
        "{\"delete\":{\"_index\":\"f1\",\"_id\":\"2\"}}\r\n",
        "\n",
        "{\"create\":{\"_id\":3}}\n{\"v\":2}\n",
        "{\"delete\":{\"_index\":\"a\",\"_id\":\"4\"}}\n"
    );

    fn f1(name: &str) -> Option<String> {
        (name == "f1").then(|| name.to_owned())
    }

    #[test]
    fn blocked_items_are_answered_in_their_places_and_the_rest_passes_unchanged() {
        let body = Bytes::from_static(BODY.as_bytes());
        let parted = part(&body, &split(&body, Some("f1")).unwrap(), f1);
        assert_eq!(
            parted.rest,
            "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"v\": 1.0}\n{\"delete\":{\"_index\":\"a\",\"_id\":\"4\"}}\n"
        );
        let theirs = json!({"took": 3, "errors": false, "items": [{"index": {"status": 201}}, {"delete": {"status": 200}}]});
        let answer = parted.join(Some(theirs)).unwrap();
        assert_eq!(answer["errors"], true);
        let statuses: Vec<&Value> = answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item.as_object().unwrap().values().next().unwrap()["status"])
            .collect();
        assert_eq!(statuses, [201, 403, 403, 200]);
        assert_eq!(answer["items"][2]["create"]["_id"], "3");
        assert_eq!(
            answer["items"][1]["delete"]["error"]["reason"],
            "index [f1] blocked by: [FORBIDDEN/1000/index read-only(cross-cluster-replication)];"
        );
    }

    #[test]
    fn a_bulk_of_blocked_items_only_needs_no_target() {
        let body = Bytes::from_static(b"{\"delete\":{\"_index\":\"f1\",\"_id\":\"2\"}}\n");
        let parted = part(&body, &split(&body, None).unwrap(), f1);
        assert!(parted.rest.is_empty() && !parted.is_untouched());
        assert_eq!(parted.join(None).unwrap()["items"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (body, line) in [
            ("{\"index\":{}}\n", 1),
            ("{\"delete\":{\"_id\":\"1\"}}\nnonsense\n", 2),
            ("{\"index\":{\"_index\":\"a\",\"_index\":\"f1\"}}\n{}\n", 1),
            ("{\"index\":{},\"create\":{}}\n{}\n", 1),
        ] {
            let error = split(body.as_bytes(), None).unwrap_err();
            assert_eq!(error.reason(), format!("Malformed action/metadata line [{line}]"));
        }
    }
}
