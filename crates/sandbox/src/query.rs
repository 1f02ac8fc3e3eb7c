//! Queries: the few kinds that replication and a curious user need, held against one document at a time.

use std::cell::OnceCell;
use std::collections::HashSet;

use serde_json::Value;

use crate::call::scalar_text;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::shard::Doc;

/// A query, read and checked.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    All,
    None,
    Ids(HashSet<String>),
    /// Sequence numbers, both ends included.
    Seq(i64, i64),
    Terms(String, Vec<String>),
    /// Full text: any of these words.
    Match(String, Vec<String>),
    Range(String, Bounds),
    Exists(String),
    Bool {
        must: Vec<Query>,
        should: Vec<Query>,
        must_not: Vec<Query>,
        least: usize,
    },
}

/// The ends of a range, with whether each is included.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    low: Option<(String, bool)>,
    high: Option<(String, bool)>,
}

/// A document whose source is parsed only if a query or a sort looks into it.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) doc: &'a Doc,
    parsed: OnceCell<Json>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(doc: &'a Doc) -> Self {
        Candidate {
            doc,
            parsed: OnceCell::new(),
        }
    }

    /// The values of a field as text; a multi-field (`name.keyword`) has those of its parent.
    pub(crate) fn values(&self, field: &str) -> Vec<String> {
        match field {
            "_id" => return vec![self.doc.id.to_string()],
            "_seq_no" => return vec![self.doc.seq_no.to_string()],
            "_routing" => return self.doc.routing.iter().map(ToString::to_string).collect(),
            _ => {}
        }
        let parsed = self
            .parsed
            .get_or_init(|| Json::parse(&self.doc.source).unwrap_or(Json::Null));
        let mut found = Vec::new();
        parsed.at_path(field, &mut found);
        if found.is_empty()
            && let Some((parent, _)) = field.rsplit_once('.')
        {
            parsed.at_path(parent, &mut found);
        }
        found.into_iter().filter_map(text_of).collect()
    }
}

fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) => Some(n.clone()),
        Json::String(s) => Some(s.clone()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn plain(value: &Value) -> Option<String> {
    value
        .as_bool()
        .map(|b| b.to_string())
        .or_else(|| scalar_text(value))
}

/// The only member of an object.
fn single<'a>(kind: &str, body: &'a Value) -> ApiResult<(&'a str, &'a Value)> {
    match body
        .as_object()
        .filter(|o| o.len() == 1)
        .and_then(|o| o.iter().next())
    {
        Some((name, value)) => Ok((name, value)),
        None => Err(ApiError::parsing(format!(
            "[{kind}] query malformed, expected one field"
        ))),
    }
}

impl Query {
    /// Reads a query; `Null` matches everything.
    pub(crate) fn parse(body: &Value) -> ApiResult<Query> {
        if body.is_null() {
            return Ok(Query::All);
        }
        let (kind, inner) = single("query", body)?;
        match kind {
            "match_all" => Ok(Query::All),
            "match_none" => Ok(Query::None),
            "ids" => Ok(Query::Ids(list(&inner["values"]).into_iter().collect())),
            "term" => {
                let (field, value) = single(kind, inner)?;
                let value = value.get("value").unwrap_or(value);
                Ok(Query::terms(field, plain(value).into_iter().collect()))
            }
            "terms" => {
                let fields = inner
                    .as_object()
                    .into_iter()
                    .flatten()
                    .find(|(name, _)| *name != "boost");
                let (field, values) =
                    fields.ok_or_else(|| ApiError::parsing("[terms] query requires a field name"))?;
                Ok(Query::terms(field, list(values)))
            }
            "match" | "match_phrase" => {
                let (field, value) = single(kind, inner)?;
                let value = value.get("query").unwrap_or(value);
                let text = plain(value).unwrap_or_default();
                if field == "_id" {
                    return Ok(Query::terms(field, vec![text]));
                }
                Ok(Query::Match(field.to_owned(), words(&text)))
            }
            "range" => {
                let (field, ends) = single(kind, inner)?;
                Query::range(field, ends)
            }
            "exists" => Ok(Query::Exists(inner["field"].as_str().unwrap_or("").to_owned())),
            "constant_score" => Query::parse(&inner["filter"]),
            "bool" => Query::boolean(inner),
            other => Err(ApiError::parsing(format!("unknown query [{other}]"))),
        }
    }

    fn terms(field: &str, values: Vec<String>) -> Query {
        if field == "_id" {
            Query::Ids(values.into_iter().collect())
        } else {
            Query::Terms(field.to_owned(), values)
        }
    }

    fn range(field: &str, ends: &Value) -> ApiResult<Query> {
        let mut bounds = Bounds::default();
        for (name, value) in ends.as_object().into_iter().flatten() {
            let end = |included: bool| plain(value).map(|v| (v, included));
            match name.as_str() {
                "gt" => bounds.low = end(false),
                "gte" | "from" => bounds.low = end(true),
                "lt" => bounds.high = end(false),
                "lte" | "to" => bounds.high = end(true),
                "boost" | "format" | "time_zone" | "relation" => {}
                other => {
                    return Err(ApiError::parsing(format!(
                        "[range] query does not support [{other}]"
                    )));
                }
            }
        }
        if field != "_seq_no" {
            return Ok(Query::Range(field.to_owned(), bounds));
        }
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|_| ApiError::illegal(format!("For input string: \"{text}\"")))
        };
        let low = bounds
            .low
            .map(|(v, inc)| number(&v).map(|n| if inc { n } else { n.saturating_add(1) }));
        let high = bounds
            .high
            .map(|(v, inc)| number(&v).map(|n| if inc { n } else { n.saturating_sub(1) }));
        Ok(Query::Seq(
            low.transpose()?.unwrap_or(0),
            high.transpose()?.unwrap_or(i64::MAX),
        ))
    }

    fn boolean(body: &Value) -> ApiResult<Query> {
        let mut parts: [Vec<Query>; 3] = Default::default();
        let mut least = None;
        for (name, value) in body.as_object().into_iter().flatten() {
            let slot = match name.as_str() {
                "must" | "filter" => 0,
                "should" => 1,
                "must_not" => 2,
                "minimum_should_match" => {
                    least = plain(value).and_then(|v| v.parse().ok());
                    continue;
                }
                "boost" | "adjust_pure_negative" => continue,
                other => {
                    return Err(ApiError::parsing(format!(
                        "[bool] query does not support [{other}]"
                    )));
                }
            };
            match value {
                Value::Array(items) => {
                    for item in items {
                        parts[slot].push(Query::parse(item)?);
                    }
                }
                one => parts[slot].push(Query::parse(one)?),
            }
        }
        let [must, should, must_not] = parts;
        let least = least.unwrap_or(usize::from(must.is_empty() && !should.is_empty()));
        Ok(Query::Bool {
            must,
            should,
            must_not,
            least,
        })
    }

    /// Both this and another query.
    pub(crate) fn and(self, other: Query) -> Query {
        Query::Bool {
            must: vec![self, other],
            should: Vec::new(),
            must_not: Vec::new(),
            least: 0,
        }
    }

    /// A range of sequence numbers outside of which nothing matches, so that a window is found without looking at
    /// every document.
    pub(crate) fn window(&self) -> (i64, i64) {
        match self {
            Query::Seq(low, high) => (*low, *high),
            Query::Bool { must, .. } => must
                .iter()
                .map(Query::window)
                .fold((0, i64::MAX), |(low, high), (l, h)| (low.max(l), high.min(h))),
            _ => (0, i64::MAX),
        }
    }

    /// Whether a document matches.
    pub(crate) fn matches(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Query::All => true,
            Query::None => false,
            Query::Ids(ids) => ids.contains(&*candidate.doc.id),
            Query::Seq(low, high) => (*low..=*high).contains(&(candidate.doc.seq_no as i64)),
            Query::Terms(field, wanted) => {
                let values = candidate.values(field);
                wanted
                    .iter()
                    .any(|w| values.iter().any(|v| equal(v, w) || words(v).contains(w)))
            }
            Query::Match(field, wanted) => {
                let values = candidate.values(field);
                wanted.iter().any(|w| values.iter().any(|v| words(v).contains(w)))
            }
            Query::Range(field, bounds) => candidate.values(field).iter().any(|v| bounds.hold(v)),
            Query::Exists(field) => !candidate.values(field).is_empty(),
            Query::Bool {
                must,
                should,
                must_not,
                least,
            } => {
                must.iter().all(|q| q.matches(candidate))
                    && !must_not.iter().any(|q| q.matches(candidate))
                    && should.iter().filter(|q| q.matches(candidate)).count() >= *least
            }
        }
    }
}

fn list(values: &Value) -> Vec<String> {
    values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(plain)
        .collect()
}

fn equal(left: &str, right: &str) -> bool {
    left == right
        || matches!((left.parse::<f64>(), right.parse::<f64>()), (Ok(l), Ok(r)) if l.total_cmp(&r).is_eq())
}

/// Numbers by value, all else by text.
pub(crate) fn compare(left: &str, right: &str) -> std::cmp::Ordering {
    if let (Ok(l), Ok(r)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return l.cmp(&r);
    }
    match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(l), Ok(r)) => l.total_cmp(&r),
        _ => left.cmp(right),
    }
}

impl Bounds {
    fn hold(&self, value: &str) -> bool {
        let above = self.low.as_ref().is_none_or(|(low, included)| {
            let order = compare(value, low);
            order.is_gt() || (*included && order.is_eq())
        });
        let below = self.high.as_ref().is_none_or(|(high, included)| {
            let order = compare(value, high);
            order.is_lt() || (*included && order.is_eq())
        });
        above && below
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn matches(query: &Value) -> bool {
        let source = Bytes::from_static(br#"{"n":5,"t":"Hello World","o":{"k":["x","y"]}}"#);
        let doc = Doc {
            id: "a".into(),
            routing: None,
            source,
            version: 1,
            seq_no: 7,
            term: 1,
        };
        Query::parse(query).unwrap().matches(&Candidate::new(&doc))
    }

    #[test]
    fn documents_match_as_a_user_expects() {
        for yes in [
            json!({"match_all": {}}),
            json!({"term": {"n": 5}}),
            json!({"term": {"_id": "a"}}),
            json!({"term": {"t.keyword": "Hello World"}}),
            json!({"match": {"t": "world"}}),
            json!({"terms": {"o.k": ["z", "y"]}}),
            json!({"range": {"n": {"gte": 5, "lt": 6}}}),
            json!({"range": {"_seq_no": {"gt": 6, "lte": 7}}}),
            json!({"bool": {"filter": [{"term": {"n": 5}}], "must_not": {"ids": {"values": ["b"]}}}}),
            json!({"bool": {"should": [{"term": {"n": 6}}, {"exists": {"field": "t"}}]}}),
        ] {
            assert!(matches(&yes), "{yes}");
        }
        for no in [
            json!({"range": {"_seq_no": {"gt": 7}}}),
            json!({"term": {"n": 50}}),
            json!({"bool": {"should": [{"term": {"n": 6}}]}}),
            json!({"match_none": {}}),
        ] {
            assert!(!matches(&no), "{no}");
        }
        assert!(Query::parse(&json!({"zork": {}})).is_err());
    }

    #[test]
    fn a_window_is_found_inside_a_filter() {
        let query =
            json!({"bool": {"filter": [{"range": {"_seq_no": {"gt": 3, "lte": 9}}}, {"term": {"a": 1}}]}});
        assert_eq!(Query::parse(&query).unwrap().window(), (4, 9));
    }
}
