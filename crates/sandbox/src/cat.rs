//! `_cat`: tables for people with curl; `v` adds the head line, `format=json` makes objects of the rows.

use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::cluster::Cluster;
use crate::error::ApiResult;
use crate::resolve::glob;
use crate::search;
use crate::time::unix_millis;

struct Table {
    columns: Vec<&'static str>,
    /// Right-aligned columns hold numbers.
    numeric: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn reply(mut self, call: &Call) -> Reply {
        if let Some(wanted) = call.params.get("h") {
            let picks: Vec<usize> = wanted
                .split(',')
                .filter_map(|w| self.columns.iter().position(|c| *c == w || glob(w, c)))
                .collect();
            self.rows = self
                .rows
                .iter()
                .map(|row| picks.iter().map(|p| row[*p].clone()).collect())
                .collect();
            self.columns = picks.iter().map(|p| self.columns[*p]).collect();
        }
        if call.params.get("format") == Some("json") {
            let object = |row: Vec<String>| -> Map<String, Value> {
                self.columns
                    .iter()
                    .map(|c| (*c).to_owned())
                    .zip(row.into_iter().map(Value::String))
                    .collect()
            };
            return Reply::json(&json!(self.rows.into_iter().map(object).collect::<Vec<_>>()));
        }
        let head: Vec<String> = self.columns.iter().map(|c| (*c).to_owned()).collect();
        let lines: Vec<&Vec<String>> = call
            .params
            .on("v")
            .then_some(&head)
            .into_iter()
            .chain(&self.rows)
            .collect();
        let width = |n: usize| lines.iter().map(|l| l[n].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line
                .iter()
                .zip(&self.columns)
                .zip(&widths)
                .map(|((cell, column), width)| {
                    if self.numeric.contains(column) {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:<width$}")
                    }
                });
            text.push_str(&cells.collect::<Vec<_>>().join(" "));
            text.push('\n');
        }
        Reply::plain(text)
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes}b"),
        1024..1_048_576 => format!("{:.1}kb", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1}mb", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1}gb", bytes as f64 / 1_073_741_824.0),
    }
}

/// `GET _cat/indices[/IDX]`.
pub(crate) fn indices(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let mut rows = Vec::new();
    for target in cluster.resolve(names, call.params.resolve(true))? {
        let state = target.index.lock();
        let docs: usize = state.shards.iter().map(|s| s.view().docs.len()).sum();
        let bytes = size(state.shards.iter().map(crate::shard::Shard::bytes).sum());
        let health = match (state.open, state.knobs.replicas) {
            (false, _) => "red",
            (true, 0) => "green",
            (true, _) => "yellow",
        };
        let shown = |text: String| if state.open { text } else { String::new() };
        rows.push(vec![
            health.to_owned(),
            if state.open { "open" } else { "close" }.to_owned(),
            target.index.name.clone(),
            target.index.uuid.clone(),
            state.shards.len().to_string(),
            state.knobs.replicas.to_string(),
            shown(docs.to_string()),
            shown("0".to_owned()),
            shown(bytes.clone()),
            shown(bytes),
        ]);
    }
    let columns = vec![
        "health",
        "status",
        "index",
        "uuid",
        "pri",
        "rep",
        "docs.count",
        "docs.deleted",
        "store.size",
        "pri.store.size",
    ];
    let numeric = columns[4..].to_vec();
    Ok(Table {
        columns,
        numeric,
        rows,
    }
    .reply(call))
}

/// `GET _cat/count[/IDX]`.
pub(crate) fn count(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Reply> {
    let count = search::visible(cluster, call, names)?;
    let seconds = unix_millis() / 1000;
    let time = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let rows = vec![vec![seconds.to_string(), time, count.to_string()]];
    Ok(Table {
        columns: vec!["epoch", "timestamp", "count"],
        numeric: Vec::new(),
        rows,
    }
    .reply(call))
}
