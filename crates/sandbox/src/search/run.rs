//! Finds, counts, aggregates and sorts.

use std::cmp::Ordering;
use std::sync::Arc;

use super::request::{Search, SortKey};
use super::shards::{Part, with_view};
use crate::aggs;
use crate::cluster::Cluster;
use crate::error::ApiResult;
use crate::index::SharedIndex;
use crate::query::{Candidate, Query, compare};
use crate::shard::Doc;

pub(super) struct Hit {
    pub(super) doc: Arc<Doc>,
    pub(super) index: SharedIndex,
    pub(super) keys: Vec<String>,
}

pub(super) struct Found {
    pub(super) hits: Vec<Hit>,
    pub(super) total: u64,
}

pub(super) fn run(cluster: &Cluster, search: &mut Search, parts: &[Part]) -> ApiResult<Found> {
    let (page, natural) = (search.from + search.size, search.is_natural());
    let counts_all = search.tracked.is_none();
    // The count is of everything, but a page of hits alone can start where the last one ended.
    let first = if search.tracked == Some(0) && search.aggs.is_empty() {
        search.after_seq_no()
    } else {
        0
    };
    let mut found = Found {
        hits: Vec::new(),
        total: 0,
    };
    for part in parts {
        let query = match &part.filter {
            Some(filter) => search.query.clone().and(filter.clone()),
            None => search.query.clone(),
        };
        let global = aggs::any_global(&search.aggs);
        let enough = |taken: usize, total: u64, tracked: Option<u64>| {
            natural && taken >= page && !counts_all && total > tracked.unwrap_or(0)
        };
        let (aggs, sort, after, tracked) = (&mut search.aggs, &search.sort, &search.after, search.tracked);
        with_view(cluster, part, |view| {
            let (low, high) = query.window();
            let window = if global {
                (0, i64::MAX)
            } else {
                (low.max(first), high)
            };
            if window.0 > window.1 {
                return;
            }
            // Everything matches: the count is known without looking.
            if matches!(query, Query::All) && aggs.is_empty() && page == 0 {
                found.total += view.docs.len() as u64;
                return;
            }
            let mut taken = 0;
            let (mut matched_here, no_aggs) = (0, aggs.is_empty());
            for doc in view
                .docs
                .range(window.0 as u64..=window.1 as u64)
                .map(|(_, doc)| doc)
            {
                let candidate = Candidate::new(doc);
                let matched = query.matches(&candidate);
                for agg in aggs.iter_mut() {
                    agg.take(&candidate, matched);
                }
                if !matched {
                    continue;
                }
                found.total += 1;
                matched_here += 1;
                if page > 0 && !(natural && taken >= page) {
                    let keys = keys_of(sort, &candidate);
                    if after.is_empty() || order(sort, &keys, after).is_gt() {
                        taken += 1;
                        let index = Arc::clone(&part.index);
                        found.hits.push(Hit {
                            doc: Arc::clone(doc),
                            index,
                            keys,
                        });
                    }
                }
                if no_aggs && enough(taken, matched_here, tracked) {
                    break;
                }
            }
        })?;
    }
    let sort = &search.sort;
    found.hits.sort_by(|a, b| order(sort, &a.keys, &b.keys));
    found.hits = found
        .hits
        .into_iter()
        .skip(search.from)
        .take(search.size)
        .collect();
    Ok(found)
}

fn keys_of(sort: &[(SortKey, bool)], candidate: &Candidate<'_>) -> Vec<String> {
    sort.iter()
        .map(|(key, ascending)| match key {
            SortKey::SeqNo | SortKey::Doc => candidate.doc.seq_no.to_string(),
            SortKey::Score => "1.0".to_owned(),
            SortKey::Field(field) => {
                let mut values = candidate.values(field);
                values.sort_by(|a, b| compare(a, b));
                let pick = if *ascending {
                    values.into_iter().next()
                } else {
                    values.pop()
                };
                pick.unwrap_or_default()
            }
        })
        .collect()
}

fn order(sort: &[(SortKey, bool)], left: &[String], right: &[String]) -> Ordering {
    for (((_, ascending), l), r) in sort.iter().zip(left).zip(right) {
        // Missing values come last, whichever the direction.
        let by_value = compare(l, r);
        let here = match (l.is_empty(), r.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ if *ascending => by_value,
            _ => by_value.reverse(),
        };
        if here.is_ne() {
            return here;
        }
    }
    Ordering::Equal
}
