//! The status page: one table, no script, renewed by the browser. Everything shown is escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use slipstream_follower::{IndexStatus, Leaders, ShardStatus};
use slipstream_model::{Phase, words};

use crate::error::ApiError;
use crate::status::scanned_ratio;
use crate::{Gateway, passing};

/// `GET /`: the page for browsers. Clients of the engines ask here who they talk to: that is the target's to answer
/// where requests pass on.
pub(crate) async fn root(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, ApiError> {
    if wants_html(request.headers()) {
        let page = render(&gateway.control.list(), &gateway.control.leaders());
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        return Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response());
    }
    if gateway.proxy.is_some() {
        return passing::any(State(gateway), request).await;
    }
    let about = json!({
        "name": "slipstream gateway",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/_slipstream/v1/openapi.json"
    });
    Ok(Json(about).into_response())
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"))
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"refresh\" content=\"2\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>slipstream</title><style>\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884;\
vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}small{opacity:.75}\
.SYNCING{color:#2a8f4f}.FAILED{color:#d33}.PAUSED,.STOPPING{color:#b80}</style></head><body><h1>slipstream</h1>";

fn render(indices: &[IndexStatus], leaders: &Leaders) -> String {
    let mut page = String::from(HEAD);
    if indices.is_empty() {
        page.push_str("<p>No index follows. Start one with <code>slipstream start</code> or <code>PUT /_plugins/_replication/INDEX/_start</code>.</p>");
    } else {
        page.push_str("<table><tr><th>index<th>follows<th>state<th>lag<th>read by<th>operations<th>why</tr>");
        for index in indices {
            row(&mut page, index);
        }
        page.push_str("</table>");
    }
    page.push_str("<h2>Leaders</h2><ul>");
    for (alias, agents) in leaders {
        // Writing to a `String` cannot fail.
        _ = write!(
            page,
            "<li><b>{}</b> at {}",
            escape(alias),
            escape(&agents.join(", "))
        );
    }
    if leaders.is_empty() {
        page.push_str("<li>none registered");
    }
    page.push_str(
        "</ul><p><small><a href=\"/metrics\">metrics</a> · <a href=\"/_slipstream/v1/indices\">JSON</a> · \
                   <a href=\"/_slipstream/v1/openapi.json\">API</a></small></body></html>",
    );
    page
}

fn row(page: &mut String, index: &IndexStatus) {
    let lag = index
        .shards
        .iter()
        .map(|shard| shard.lag_seconds)
        .fold(0.0, f64::max);
    let written: u64 = index.shards.iter().map(|shard| shard.operations_written).sum();
    let scans: Vec<&ShardStatus> = index
        .shards
        .iter()
        .filter(|shard| shard.bootstrap_through.is_some())
        .collect();
    let state = match (index.phase, scanned_ratio(&scans)) {
        (Phase::Bootstrapping, Some(ratio)) => format!("BOOTSTRAPPING {:.0} %", ratio * 100.0),
        (phase, _) => phase.to_string(),
    };
    let lag = if index.phase == Phase::Syncing {
        words::lag(lag)
    } else {
        "–".to_owned()
    };
    let notes: Vec<String> = std::iter::once(index.reason.to_string())
        .chain(index.waiting_for.iter().map(|what| format!("waiting: {what}")))
        .chain(index.warnings.iter().cloned())
        .map(|text| escape(&text))
        .collect();
    _ = write!(
        page,
        "<tr><td>{}<td>{}:{}<td class=\"{}\">{state}<td class=\"n\">{lag}<td>{}<td class=\"n\">{written}<td>{}</tr>",
        escape(index.follower_index.as_str()),
        escape(&index.leader_alias),
        escape(index.leader_index.as_str()),
        index.phase,
        readers(&index.shards),
        notes.join("<br>"),
    );
}

/// Which readers serve how many shards; why, in small print.
fn readers(shards: &[ShardStatus]) -> String {
    let mut served: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for reader in shards.iter().filter_map(|shard| shard.reader.as_deref()) {
        let (name, why) = reader.split_once(": ").unwrap_or((reader, ""));
        let (count, reasons) = served.entry(name).or_default();
        *count += 1;
        reasons.insert(why);
    }
    let all: Vec<String> = served
        .into_iter()
        .map(|(name, (count, reasons))| {
            let mut reasons: Vec<&str> = reasons.into_iter().collect();
            // One cause has many shards, seldom more than a few causes; a row stays a row.
            let more = reasons.len() > 3;
            reasons.truncate(3);
            let why = escape(&reasons.join("; "));
            let more = if more { "; …" } else { "" };
            format!("{} × {count}<br><small>{why}{more}</small>", escape(name))
        })
        .collect();
    all.join("<br>")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use slipstream_model::Reason;

    use super::*;

    fn served(number: u32, reader: &str) -> ShardStatus {
        ShardStatus {
            shard: number,
            leader_checkpoint: 0,
            follower_checkpoint: 0,
            scanned: 0,
            bootstrap_through: None,
            reader: Some(reader.to_owned()),
            lag_seconds: 0.0,
            operations_read: 0,
            operations_read_translog: 0,
            operations_written: 0,
            bytes_read: 0,
            failed_reads: 0,
            retries: 0,
            throttled: 0,
            write_millis: 0,
        }
    }

    #[test]
    fn the_page_says_where_each_index_stands_and_escapes_what_it_was_told() {
        let index = IndexStatus {
            follower_index: "f1".into(),
            leader_alias: "l".to_owned(),
            leader_index: "leader-01".into(),
            phase: Phase::Paused,
            reason: Reason::new("<script>alert('x')</script>"),
            waiting_for: Some("the target & its disk".to_owned()),
            files: None,
            begun_with: None,
            started_at_millis: 0,
            shards: vec![
                served(
                    0,
                    "translog: this agent reads the files of the primary on node [<n>]",
                ),
                served(
                    1,
                    "translog: this agent reads the files of the primary on node [<n>]",
                ),
                served(2, "window: no copy here"),
            ],
            warnings: Vec::new(),
        };
        let page = render(
            &[index],
            &Leaders::from([("l".to_owned(), vec!["h:9700".to_owned()])]),
        );
        for text in [
            "f1",
            "l:leader-01",
            "PAUSED",
            "&lt;script&gt;",
            "waiting: the target &amp; its disk",
            "h:9700",
            "translog × 2<br><small>this agent reads the files of the primary on node [&lt;n&gt;]</small>",
            "window × 1<br><small>no copy here</small>",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("<script"));
    }
}
