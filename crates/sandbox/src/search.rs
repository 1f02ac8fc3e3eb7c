//! `_search` and `_count` over the refreshed state of shards, or over a point in time.
//!
//! A hit's `_source` is the stored bytes, so the answer is assembled by hand around them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::aggs::{self, Agg};
use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor};
use crate::documents::{scalar_text, write_head};
use crate::error::{ApiError, ApiResult};
use crate::index::SharedIndex;
use crate::json::write_string;
use crate::query::{Candidate, Query, compare};
use crate::settings::Access;
use crate::shard::{Doc, View};

/// How many hits are counted exactly unless asked otherwise.
const DEFAULT_TRACKED: u64 = 10_000;

/// One shard to search.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) index: SharedIndex,
    pub(crate) shard: u32,
    /// The filter of the alias through which it was reached.
    pub(crate) filter: Option<Query>,
    /// A point in time; otherwise the newest refresh.
    pub(crate) frozen: Option<Arc<View>>,
}

#[derive(Debug)]
enum SortKey {
    SeqNo,
    Doc,
    Score,
    Field(String),
}

/// A search, read and checked.
struct Search {
    query: Query,
    from: usize,
    size: usize,
    sort: Vec<(SortKey, bool)>,
    after: Vec<String>,
    source: bool,
    version: bool,
    seq_no: bool,
    /// `None` counts everything, `Some(0)` nothing.
    tracked: Option<u64>,
    aggs: Vec<Agg>,
}

struct Hit {
    doc: Arc<Doc>,
    index: SharedIndex,
    keys: Vec<String>,
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
    fn parse(call: &Call, body: &Value) -> ApiResult<Search> {
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
    fn is_natural(&self) -> bool {
        match self.sort.as_slice() {
            [] | [(SortKey::Doc, true)] => self.after.is_empty(),
            [(SortKey::SeqNo, true)] => true,
            _ => false,
        }
    }

    /// The least sequence number that `search_after` leaves.
    fn after_seq_no(&self) -> i64 {
        match (self.sort.as_slice(), self.after.as_slice()) {
            ([(SortKey::SeqNo, true)], [after]) => after.parse::<i64>().map_or(0, |n| n.saturating_add(1)),
            _ => 0,
        }
    }
}

fn sort_text((field, order): (&str, &str)) -> (SortKey, bool) {
    let key = match field {
        "_seq_no" => SortKey::SeqNo,
        "_doc" | "_shard_doc" => SortKey::Doc,
        "_score" => SortKey::Score,
        other => SortKey::Field(other.to_owned()),
    };
    (key, order != "desc")
}

fn sort_of(body: &Value) -> ApiResult<Vec<(SortKey, bool)>> {
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

/// Which shards a preference leaves.
struct Preference {
    shards: Option<BTreeSet<u32>>,
}

impl Preference {
    fn parse(cluster: &Cluster, text: Option<&str>) -> ApiResult<Preference> {
        let mut shards = None;
        for part in text.unwrap_or("").split('|').filter(|p| !p.is_empty()) {
            let (word, value) = part.split_once(':').unwrap_or((part, ""));
            match word {
                "_shards" => {
                    let numbers: Result<BTreeSet<u32>, _> = value.split(',').map(str::parse).collect();
                    let wrong = |_| ApiError::illegal(format!("invalid shard list in preference [{part}]"));
                    shards = Some(numbers.map_err(wrong)?);
                }
                "_only_nodes"
                    if !value
                        .split(',')
                        .any(|n| n == cluster.node || n == "*" || n == "_local") =>
                {
                    let reason = format!("no data nodes with criteria [{value}] found for shard");
                    return Err(ApiError::illegal(reason));
                }
                "_primary" | "_primary_first" | "_replica" | "_replica_first"
                    if cluster.flavor == Flavor::Elasticsearch =>
                {
                    return Err(ApiError::illegal(format!("no Preference for [{word}]")));
                }
                "_only_nodes" | "_prefer_nodes" | "_local" | "_only_local" | "_primary"
                | "_primary_first" => {}
                "_replica" | "_replica_first" => {}
                unknown if unknown.starts_with('_') => {
                    return Err(ApiError::illegal(format!("no Preference for [{unknown}]")));
                }
                _ => {}
            }
        }
        Ok(Preference { shards })
    }
}

/// The shards that a request searches.
pub(crate) fn parts(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Vec<Part>> {
    let preference = Preference::parse(cluster, call.params.get("preference"))?;
    let mut parts = Vec::new();
    for target in cluster.resolve(names, call.params.resolve(false))? {
        let state = target.index.lock_for(Access::Read)?;
        let alias = target.alias.as_ref();
        let filter = alias
            .map(|a| Query::parse(&a["filter"]))
            .transpose()?
            .filter(|q| !matches!(q, Query::All));
        let routed = call
            .params
            .get("routing")
            .or_else(|| alias.and_then(|a| a["search_routing"].as_str()));
        let routed: Option<BTreeSet<u32>> =
            routed.filter(|_| state.routing.partition_size == 1).map(|list| {
                list.split(',')
                    .map(|r| state.routing.shard_of(r, Some(r)))
                    .collect()
            });
        for shard in 0..state.routing.shards {
            let wanted = |set: &Option<BTreeSet<u32>>| set.as_ref().is_none_or(|s| s.contains(&shard));
            if wanted(&preference.shards) && wanted(&routed) {
                let (index, filter) = (Arc::clone(&target.index), filter.clone());
                parts.push(Part {
                    index,
                    shard,
                    filter,
                    frozen: None,
                });
            }
        }
    }
    Ok(parts)
}

/// Runs something over what one shard shows to searches.
fn with_view<T>(cluster: &Cluster, part: &Part, run: impl FnOnce(&View) -> T) -> ApiResult<T> {
    if let Some(view) = &part.frozen {
        return Ok(run(view));
    }
    let mut state = part.index.lock_for(Access::Read)?;
    let (gc, may_idle, after) = (
        state.knobs.gc_deletes,
        state.knobs.may_idle,
        state.knobs.idle_after,
    );
    let shard = state.shard(part.shard)?;
    // A shard that went to rest shows the search that wakes it everything, as the engines do.
    if may_idle && shard.is_idle(after) {
        shard.refresh(cluster.clock.now(), gc);
    }
    shard.searched();
    Ok(run(shard.view()))
}

struct Found {
    hits: Vec<Hit>,
    total: u64,
}

fn run(cluster: &Cluster, search: &mut Search, parts: &[Part]) -> ApiResult<Found> {
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
                aggs.iter_mut().for_each(|a| a.take(&candidate, matched));
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

/// `[IDX/]_search`.
pub(crate) fn search(cluster: &Cluster, call: &Call, names: Option<&str>) -> ApiResult<Reply> {
    if call.params.get("search_pipeline").is_some() && cluster.flavor == Flavor::Elasticsearch {
        let reason = format!(
            "request [{}] contains unrecognized parameter: [search_pipeline] -> did you mean [search_type]?",
            call.path
        );
        return Err(ApiError::illegal(reason));
    }
    let started = Instant::now();
    let body = call.json()?;
    let mut search = Search::parse(call, &body)?;
    let pit = body["pit"]["id"].as_str();
    let parts = match pit {
        Some(_) if names.is_some() => {
            return Err(ApiError::invalid("[indices] cannot be used with point in time"));
        }
        Some(_) if call.params.get("preference").is_some() => {
            return Err(ApiError::invalid(
                "[preference] cannot be used with point in time",
            ));
        }
        Some(id) => cluster.pits.parts(id, body["pit"]["keep_alive"].as_str())?,
        None => parts(cluster, call, names.unwrap_or(""))?,
    };
    for part in &parts {
        let most = part.index.lock().knobs.max_result_window;
        if search.from + search.size > most {
            return Err(too_large(part, search.from + search.size, most));
        }
    }
    let found = run(cluster, &mut search, &parts)?;
    let mut out = answer(cluster.flavor, &search, &found, parts.len(), started, pit)?;
    out.push(b'}');
    Ok(Reply::bytes(out))
}

fn too_large(part: &Part, asked: usize, most: usize) -> ApiError {
    let reason = format!(
        "Result window is too large, from + size must be less than or equal to: [{most}] but was [{asked}]. See the \
         scroll api for a more efficient way to request large data sets. This limit can be set by changing the \
         [index.max_result_window] index level setting."
    );
    ApiError::new(400, "search_phase_execution_exception", "all shards failed")
        .with("phase", "query")
        .with("grouped", true)
        .with(
            "failed_shards",
            json!([{"shard": part.shard, "index": part.index.name}]),
        )
        .caused_by("illegal_argument_exception", reason)
}

fn answer(
    flavor: Flavor,
    search: &Search,
    found: &Found,
    shards: usize,
    started: Instant,
    pit: Option<&str>,
) -> ApiResult<Vec<u8>> {
    let mut out =
        Vec::with_capacity(256 + found.hits.iter().map(|h| h.doc.source.len() + 200).sum::<usize>());
    out.push(b'{');
    if let Some(id) = pit {
        out.extend_from_slice(b"\"pit_id\":");
        write_string(&mut out, id);
        out.push(b',');
    }
    let took = started.elapsed().as_millis();
    let head = format!(
        "\"took\":{took},\"timed_out\":false,\"_shards\":{{\"total\":{shards},\"successful\":{shards},\
         \"skipped\":0,\"failed\":0}},\"hits\":{{"
    );
    out.extend_from_slice(head.as_bytes());
    let total = match search.tracked {
        Some(0) => None,
        Some(limit) if found.total > limit => Some((limit, "gte")),
        _ => Some((found.total, "eq")),
    };
    if let Some((value, relation)) = total {
        out.extend_from_slice(
            format!("\"total\":{{\"value\":{value},\"relation\":\"{relation}\"}},").as_bytes(),
        );
    }
    let scored = search.sort.is_empty() || search.sort.iter().any(|(key, _)| matches!(key, SortKey::Score));
    let max_score = match (shards, scored && search.size > 0, found.hits.is_empty()) {
        (0, ..) => "0.0",
        (_, true, false) => "1.0",
        _ => "null",
    };
    out.extend_from_slice(format!("\"max_score\":{max_score},\"hits\":[").as_bytes());
    for (n, hit) in found.hits.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_hit(&mut out, flavor, search, hit, scored);
    }
    out.extend_from_slice(b"]}");
    if !search.aggs.is_empty() && shards > 0 {
        out.extend_from_slice(b",\"aggregations\":");
        out.extend_from_slice(aggs::show(&search.aggs)?.to_string().as_bytes());
    }
    Ok(out)
}

fn write_hit(out: &mut Vec<u8>, flavor: Flavor, search: &Search, hit: &Hit, scored: bool) {
    let doc = &hit.doc;
    write_head(out, flavor, &hit.index.name, &doc.id);
    if search.version {
        out.extend_from_slice(format!(",\"_version\":{}", doc.version).as_bytes());
    }
    if search.seq_no {
        out.extend_from_slice(
            format!(",\"_seq_no\":{},\"_primary_term\":{}", doc.seq_no, doc.term).as_bytes(),
        );
    }
    out.extend_from_slice(if scored {
        b",\"_score\":1.0"
    } else {
        b",\"_score\":null"
    });
    if let Some(routing) = &doc.routing {
        out.extend_from_slice(b",\"_routing\":");
        write_string(out, routing);
    }
    if search.source {
        out.extend_from_slice(b",\"_source\":");
        out.extend_from_slice(&doc.source);
    }
    if !search.sort.is_empty() {
        out.extend_from_slice(b",\"sort\":[");
        for (n, ((key, _), value)) in search.sort.iter().zip(&hit.keys).enumerate() {
            if n > 0 {
                out.push(b',');
            }
            match key {
                SortKey::Field(field) if field == "_id" || value.parse::<f64>().is_err() => {
                    if value.is_empty() {
                        out.extend_from_slice(b"null")
                    } else {
                        write_string(out, value)
                    }
                }
                _ => out.extend_from_slice(value.as_bytes()),
            }
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// `[IDX/]_count`.
pub(crate) fn count(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let body = call.json()?;
    let counted = Call {
        method: call.method.clone(),
        path: call.path.clone(),
        segments: Vec::new(),
        params: call.params.clone(),
        body: bytes::Bytes::new(),
    };
    let mut search = Search::parse(
        &counted,
        &json!({"query": body["query"], "size": 0, "track_total_hits": true}),
    )?;
    let parts = parts(cluster, call, names)?;
    let found = run(cluster, &mut search, &parts)?;
    let shards = parts.len();
    Ok(Reply::json(&json!({
        "count": found.total, "_shards": {"total": shards, "successful": shards, "skipped": 0, "failed": 0},
    })))
}

/// How many documents searches see in some indices.
pub(crate) fn visible(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<u64> {
    let mut total = 0;
    for part in parts(cluster, call, names)? {
        total += with_view(cluster, &part, |view| view.docs.len() as u64)?;
    }
    Ok(total)
}
