//! A search's answer, assembled by hand around the stored bytes of its sources.

use std::time::Instant;

use super::request::{Search, SortKey};
use super::run::{Found, Hit};
use crate::aggs;
use crate::cluster::Flavor;
use crate::error::ApiResult;
use crate::json::write_string;
use crate::read::write_head;

pub(super) fn answer(
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
                        out.extend_from_slice(b"null");
                    } else {
                        write_string(out, value);
                    }
                }
                _ => out.extend_from_slice(value.as_bytes()),
            }
        }
        out.push(b']');
    }
    out.push(b'}');
}
