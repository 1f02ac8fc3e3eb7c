//! Aggregations: `global`, `histogram`, `value_count`, `max` and `min`, in one pass over the documents.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};
use crate::query::Candidate;

/// As many buckets as the engines allow one answer to have.
const MAX_BUCKETS: usize = 65_535;

/// One aggregation and what it has gathered so far.
#[derive(Debug)]
pub(crate) struct Agg {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// All documents of the searched shards, whatever the query.
    Global {
        count: u64,
        inner: Vec<Agg>,
    },
    Histogram {
        field: String,
        interval: f64,
        least: u64,
        buckets: BTreeMap<i64, u64>,
    },
    ValueCount {
        field: String,
        count: u64,
    },
    Extreme {
        field: String,
        max: bool,
        value: Option<f64>,
    },
}

/// Reads the `aggs` of a search.
pub(crate) fn parse(body: &Value) -> ApiResult<Vec<Agg>> {
    let mut aggs = Vec::new();
    for (name, definition) in body.as_object().into_iter().flatten() {
        let members = definition.as_object().into_iter().flatten();
        let mut kinds = members.filter(|(k, _)| !matches!(k.as_str(), "aggs" | "aggregations" | "meta"));
        let Some((kind, about)) = kinds.next() else {
            return Err(ApiError::parsing(format!(
                "Missing definition for aggregation [{name}]"
            )));
        };
        let inner = definition
            .get("aggs")
            .or_else(|| definition.get("aggregations"))
            .unwrap_or(&Value::Null);
        let field = || {
            let field = about["field"].as_str().map(str::to_owned);
            field.ok_or_else(|| {
                ApiError::illegal(format!("Required one of fields [field, script] for [{name}]"))
            })
        };
        let kind = match kind.as_str() {
            "global" => Kind::Global {
                count: 0,
                inner: parse(inner)?,
            },
            "histogram" => {
                let interval = about["interval"].as_f64().filter(|i| *i > 0.0).ok_or_else(|| {
                    ApiError::illegal(
                        "[interval] must be >0 for histogram aggregation [".to_owned() + name + "]",
                    )
                })?;
                let least = about["min_doc_count"].as_u64().unwrap_or(0);
                Kind::Histogram {
                    field: field()?,
                    interval,
                    least,
                    buckets: BTreeMap::new(),
                }
            }
            "value_count" => Kind::ValueCount {
                field: field()?,
                count: 0,
            },
            "max" => Kind::Extreme {
                field: field()?,
                max: true,
                value: None,
            },
            "min" => Kind::Extreme {
                field: field()?,
                max: false,
                value: None,
            },
            other => return Err(ApiError::parsing(format!("Unknown aggregation type [{other}]"))),
        };
        aggs.push(Agg {
            name: name.clone(),
            kind,
        });
    }
    Ok(aggs)
}

/// Whether any of them looks at documents that the query does not match.
pub(crate) fn any_global(aggs: &[Agg]) -> bool {
    aggs.iter().any(|a| matches!(a.kind, Kind::Global { .. }))
}

impl Agg {
    /// Takes one document in.
    pub(crate) fn take(&mut self, candidate: &Candidate<'_>, matched: bool) {
        if let Kind::Global { count, inner } = &mut self.kind {
            *count += 1;
            for agg in inner {
                agg.take(candidate, true);
            }
            return;
        }
        if !matched {
            return;
        }
        let numbers = |field: &str| -> Vec<f64> {
            if field == "_seq_no" {
                return vec![candidate.doc.seq_no as f64];
            }
            candidate
                .values(field)
                .iter()
                .filter_map(|v| v.parse().ok())
                .collect()
        };
        match &mut self.kind {
            Kind::Global { .. } => {}
            Kind::Histogram {
                field,
                interval,
                buckets,
                ..
            } => {
                for number in numbers(field) {
                    *buckets.entry((number / *interval).floor() as i64).or_default() += 1;
                }
            }
            Kind::ValueCount { field, count } => *count += candidate.values(field).len() as u64,
            Kind::Extreme { field, max, value } => {
                for number in numbers(field) {
                    *value = Some(match *value {
                        None => number,
                        Some(old) if *max => old.max(number),
                        Some(old) => old.min(number),
                    });
                }
            }
        }
    }
}

/// What they gathered, as the answer shows it.
pub(crate) fn show(aggs: &[Agg]) -> ApiResult<Value> {
    let mut out = Map::new();
    for agg in aggs {
        let shown = match &agg.kind {
            Kind::Global { count, inner } => {
                let mut object = json!({"doc_count": count});
                if let (Some(object), Value::Object(inner)) = (object.as_object_mut(), show(inner)?) {
                    object.extend(inner);
                }
                object
            }
            Kind::Histogram {
                interval,
                least,
                buckets,
                ..
            } => {
                json!({"buckets": histogram(*interval, *least, buckets)?})
            }
            Kind::ValueCount { count, .. } => json!({"value": count}),
            Kind::Extreme { value, .. } => json!({"value": value}),
        };
        out.insert(agg.name.clone(), shown);
    }
    Ok(Value::Object(out))
}

fn histogram(interval: f64, least: u64, buckets: &BTreeMap<i64, u64>) -> ApiResult<Vec<Value>> {
    let shown = |key: i64, count: u64| json!({"key": key as f64 * interval, "doc_count": count});
    let (Some(first), Some(last)) = (buckets.keys().next(), buckets.keys().next_back()) else {
        return Ok(Vec::new());
    };
    let span = usize::try_from(last - first)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let many = if least == 0 { span } else { buckets.len() };
    if many > MAX_BUCKETS {
        let reason = format!(
            "Trying to create too many buckets. Must be less than or equal to: [{MAX_BUCKETS}] but was [{many}]. This \
             limit can be set by changing the [search.max_buckets] cluster level setting."
        );
        return Err(ApiError::new(503, "too_many_buckets_exception", reason).with("max_buckets", MAX_BUCKETS));
    }
    if least > 0 {
        return Ok(buckets
            .iter()
            .filter(|(_, c)| **c >= least)
            .map(|(k, c)| shown(*k, *c))
            .collect());
    }
    Ok((*first..=*last)
        .map(|key| shown(key, buckets.get(&key).copied().unwrap_or(0)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_histogram_needs_a_least_count() {
        let buckets = BTreeMap::from([(0, 1), (2, 3), (200_000, 1)]);
        assert_eq!(histogram(4.0, 1, &buckets).unwrap().len(), 3);
        assert_eq!(
            histogram(4.0, 2, &buckets).unwrap(),
            [json!({"key": 8.0, "doc_count": 3})]
        );
        assert!(histogram(4.0, 0, &buckets).is_err());
    }
}
