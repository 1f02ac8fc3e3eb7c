//! A search as it was asked for, read and checked.

use serde_json::{Value, json};

use crate::aggs::{self, Agg};
use crate::call::{Call, scalar_text};
use crate::error::{ApiError, ApiResult};
use crate::query::Query;

/// How many hits are counted exactly unless asked otherwise.
const DEFAULT_TRACKED: u64 = 10_000;

#[derive(Debug)]
pub(super) enum SortKey {
    SeqNo,
    Doc,
    Score,
    Field(String),
}

/// A search, read and checked.
pub(super) struct Search {
    pub(super) query: Query,
    pub(super) from: usize,
    pub(super) size: usize,
    pub(super) sort: Vec<(SortKey, bool)>,
    pub(super) after: Vec<String>,
    pub(super) source: bool,
    pub(super) version: bool,
    pub(super) seq_no: bool,
    /// `None` counts everything, `Some(0)` nothing.
    pub(super) tracked: Option<u64>,
    pub(super) aggs: Vec<Agg>,
}

const MEMBERS: &[&str] = &[
    "query",
    "from",
    "size",
    "sort",
    "search_after",
    "_source",
    "version",
    "seq_no_primary_term",
    "track_total_hits",
    "aggs",
    "aggregations",
    "pit",
    "timeout",
    "track_scores",
    "stored_fields",
    "terminate_after",
    "profile",
    "explain",
];

impl Search {
    pub(super) fn parse(call: &Call, body: &Value) -> ApiResult<Search> {
        if let Some(name) = body
            .as_object()
            .into_iter()
            .flatten()
            .map(|(n, _)| n)
            .find(|n| !MEMBERS.contains(&n.as_str()))
        {
            return Err(ApiError::parsing(format!("Unknown key for a VALUE in [{name}].")));
        }
        let params = &call.params;
        let member = |name: &str, default: usize| -> ApiResult<usize> {
            match params
                .number::<usize>(name)?
                .or(body[name].as_u64().map(|n| n as usize))
            {
                Some(n) => Ok(n),
                None if body[name].is_null() => Ok(default),
                None => Err(ApiError::illegal(format!(
                    "[{name}] parameter cannot be negative"
                ))),
            }
        };
        let switch = |name: &str| params.on(name) || body[name] == json!(true);
        let source = match (params.get("_source"), &body["_source"]) {
            (Some("false"), _) | (None, Value::Bool(false)) => false,
            (Some("true" | "") | None, Value::Null | Value::Bool(true)) => true,
            _ => {
                return Err(ApiError::illegal(
                    "the sandbox gives `_source` as a whole or not at all",
                ));
            }
        };
        let tracked = match (params.get("track_total_hits"), &body["track_total_hits"]) {
            (Some("false"), _) | (None, Value::Bool(false)) => Some(0),
            (Some("true" | ""), _) | (None, Value::Bool(true)) => None,
            (Some(n), _) => Some(n.parse().unwrap_or(DEFAULT_TRACKED)),
            (None, n) => Some(n.as_u64().unwrap_or(DEFAULT_TRACKED)),
        };
        let sort = match params.get("sort") {
            Some(list) => list
                .split(',')
                .map(|s| sort_text(s.split_once(':').unwrap_or((s, "asc"))))
                .collect(),
            None => sort_of(&body["sort"])?,
        };
        let after: Vec<String> = body["search_after"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(scalar_text)
            .collect();
        if !after.is_empty() && after.len() != sort.len() {
            let reason = format!(
                "search_after has {} value(s) but sort has {}.",
                after.len(),
                sort.len()
            );
            return Err(ApiError::illegal(reason));
        }
        let aggs = body
            .get("aggs")
            .or_else(|| body.get("aggregations"))
            .unwrap_or(&Value::Null);
        Ok(Search {
            query: Query::parse(&body["query"])?,
            from: member("from", 0)?,
            size: member("size", 10)?,
            sort,
            after,
            source,
            version: switch("version"),
            seq_no: switch("seq_no_primary_term"),
            tracked,
            aggs: aggs::parse(aggs)?,
        })
    }

    /// Whether hits come in the order in which a shard keeps them, so that a page needs no more than a page's hits.
    pub(super) fn is_natural(&self) -> bool {
        match self.sort.as_slice() {
            [] | [(SortKey::Doc, true)] => self.after.is_empty(),
            [(SortKey::SeqNo, true)] => true,
            _ => false,
        }
    }

    /// The least sequence number that `search_after` leaves.
    pub(super) fn after_seq_no(&self) -> i64 {
        match (self.sort.as_slice(), self.after.as_slice()) {
            ([(SortKey::SeqNo, true)], [after]) => after.parse::<i64>().map_or(0, |n| n.saturating_add(1)),
            _ => 0,
        }
    }
}

pub(super) fn sort_text((field, order): (&str, &str)) -> (SortKey, bool) {
    let key = match field {
        "_seq_no" => SortKey::SeqNo,
        "_doc" | "_shard_doc" => SortKey::Doc,
        "_score" => SortKey::Score,
        other => SortKey::Field(other.to_owned()),
    };
    (key, order != "desc")
}

pub(super) fn sort_of(body: &Value) -> ApiResult<Vec<(SortKey, bool)>> {
    let entries = match body {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    let mut sort = Vec::new();
    for entry in entries {
        match &entry {
            Value::String(field) => sort.push(sort_text((field, "asc"))),
            Value::Object(members) => {
                for (field, order) in members {
                    let order = order
                        .as_str()
                        .or_else(|| order["order"].as_str())
                        .unwrap_or("asc");
                    sort.push(sort_text((field, order)));
                }
            }
            other => return Err(ApiError::illegal(format!("malformed sort format, got [{other}]"))),
        }
    }
    Ok(sort)
}
