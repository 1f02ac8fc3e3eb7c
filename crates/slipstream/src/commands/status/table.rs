//! What is known of indices, as tables for people and as lines for files.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use slipstream_model::words;

use super::pace::{Paces, copied};
use crate::client::{Files, Index, Shard};

/// A line an index. Without paces, as at a single look, operations are counted instead.
pub(super) fn all(indices: &[Index], paces: Option<&Paces>) -> String {
    if indices.is_empty() {
        return "no index follows".to_owned();
    }
    let operations = if paces.is_some() { "OPS/S" } else { "OPERATIONS" };
    let mut table = table(
        &[
            "INDEX", "FOLLOWS", "STATE", "LAG", operations, "READER", "COPIED", "REASON",
        ],
        &[3, 4, 6],
    );
    for index in indices {
        table.add_row([
            index.follower_index.clone(),
            format!("{}:{}", index.leader_alias, index.leader_index),
            index.phase.clone(),
            lag(index),
            operations_of(index, paces),
            readers(index),
            progress(index, paces),
            why(index),
        ]);
    }
    trimmed(&table)
}

/// One index with its shards.
pub(super) fn one(index: &Index, paces: Option<&Paces>) -> String {
    let mut lines = vec![format!(
        "{} follows {}:{}\nstate: {} ({})",
        index.follower_index, index.leader_alias, index.leader_index, index.phase, index.reason
    )];
    lines.extend(
        index
            .waiting_for
            .iter()
            .map(|what| format!("waiting for: {what}")),
    );
    lines.extend(
        index
            .files
            .iter()
            .map(|files| format!("files: {}", staged(files))),
    );
    lines.extend(index.warnings.iter().map(|warning| format!("warning: {warning}")));
    if paces.is_some() {
        lines.push(format!(
            "copied: {}, operations a second: {}",
            progress(index, paces),
            operations_of(index, paces)
        ));
    }
    if !index.shards.is_empty() {
        let mut table = table(
            &[
                "SHARD",
                "LEADER",
                "FOLLOWER",
                "COPIED",
                "LAG",
                "OPERATIONS",
                "RETRIES",
                "READER",
            ],
            &[0, 1, 2, 3, 4, 5, 6],
        );
        for shard in &index.shards {
            table.add_row([
                shard.shard.to_string(),
                shard.leader_checkpoint.to_string(),
                shard.follower_checkpoint.to_string(),
                shard_copied(shard),
                words::lag(shard.lag_seconds),
                shard.operations_written.to_string(),
                shard.retries.to_string(),
                shard.reader.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        lines.push(trimmed(&table));
    }
    lines.join("\n")
}

/// An index in one line, with the time.
pub(super) fn line(index: &Index, paces: &Paces) -> String {
    let now = jiff::Timestamp::now().round(jiff::Unit::Second);
    let now = now.map_or_else(|_| String::new(), |now| now.to_string());
    format!(
        "{now} {} {} lag {} ops/s {} reader {} copied {} {}",
        index.follower_index,
        index.phase,
        lag(index),
        operations_of(index, Some(paces)),
        readers(index),
        progress(index, Some(paces)),
        why(index)
    )
}

fn lag(index: &Index) -> String {
    if index.phase != "SYNCING" {
        return "-".to_owned();
    }
    let lags = index.shards.iter().map(|shard| shard.lag_seconds);
    words::lag(lags.fold(0.0, f64::max))
}

fn operations_of(index: &Index, paces: Option<&Paces>) -> String {
    match paces {
        Some(paces) => paces
            .per_second(index)
            .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        None => index
            .shards
            .iter()
            .map(|shard| shard.operations_written)
            .sum::<u64>()
            .to_string(),
    }
}

/// The readers that serve its shards, without their reasons: `translog`, or `translog, window`.
fn readers(index: &Index) -> String {
    let of = |shard: &Shard| Some(shard.reader.as_ref()?.split(':').next()?.to_owned());
    let mut readers: Vec<String> = index.shards.iter().filter_map(of).collect();
    readers.sort_unstable();
    readers.dedup();
    if readers.is_empty() {
        "-".to_owned()
    } else {
        readers.join(", ")
    }
}

fn progress(index: &Index, paces: Option<&Paces>) -> String {
    let (done, all) = copied(index);
    if index.phase != "BOOTSTRAPPING" {
        return if index.phase == "SYNCING" { "all" } else { "-" }.to_owned();
    }
    let percent = (done as f64 / all.max(1) as f64 * 100.0).min(100.0);
    match paces.and_then(|paces| paces.left(index)) {
        Some(left) => format!("{percent:.0} %, {} left", time(left)),
        None => format!("{percent:.0} %"),
    }
}

/// What happens to the leader's files, how far it is and how fast it goes.
fn staged(files: &Files) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let of = |done: u64| {
        format!(
            "{:.0} of {:.0} MiB",
            done as f64 / MIB,
            files.bytes_total as f64 / MIB
        )
    };
    let mut text = match files.stage.as_str() {
        "snapshot" => format!(
            "the leader takes a snapshot, {:.0} MiB of it have come",
            files.bytes_received as f64 / MIB
        ),
        "transfer" => format!("{} have come", of(files.bytes_received)),
        "restore" => format!("{} are restored", of(files.bytes_restored)),
        _ => "learning what they hold".to_owned(),
    };
    if let Some(pace) = files.bytes_per_second {
        let _ = write!(text, ", {:.1} MiB/s", pace as f64 / MIB);
    }
    if let Some(left) = files.seconds_left {
        let _ = write!(text, ", {} left", time(Duration::from_secs(left)));
    }
    text
}

fn time(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..60 => format!("{} s", seconds.max(1)),
        seconds @ 60..3_600 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn why(index: &Index) -> String {
    index
        .waiting_for
        .as_ref()
        .map_or_else(|| index.reason.clone(), |what| format!("waiting: {what}"))
}

fn table(heads: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heads.iter().copied());
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn trimmed(table: &Table) -> String {
    let text = table.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n")
}

fn shard_copied(shard: &Shard) -> String {
    match shard.bootstrap_through {
        None => "all".to_owned(),
        Some(through) if through < 0 => "100 %".to_owned(),
        Some(through) => {
            let ratio = (shard.scanned + 1) as f64 / (through + 1) as f64;
            format!("{:.0} %", ratio.clamp(0.0, 1.0) * 100.0)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde::Deserialize;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    pub(in super::super) fn index(phase: &str) -> Index {
        let answer = json!({
            "follower_index": "f1", "leader_alias": "l", "leader_index": "leader-01", "phase": phase,
            "reason": "User initiated", "waiting_for": null, "warnings": ["a setting is unknown here"],
            "shards": [{"shard": 0, "leader_checkpoint": 9, "follower_checkpoint": 8, "scanned": 8,
                        "bootstrap_through": null, "reader": "window: no files here", "lag_seconds": 1.25,
                        "operations_written": 9, "retries": 0}]
        });
        Index::deserialize(&answer).unwrap()
    }

    fn row(text: &str, at: usize) -> String {
        let words: Vec<&str> = text.lines().nth(at).unwrap().split_whitespace().collect();
        words.join(" ")
    }

    #[test]
    fn all_indices_are_a_line_each() {
        let text = all(&[index("SYNCING")], None);
        assert_eq!(
            row(&text, 0),
            "INDEX FOLLOWS STATE LAG OPERATIONS READER COPIED REASON"
        );
        assert_eq!(
            row(&text, 1),
            "f1 l:leader-01 SYNCING 1.2 s 9 window all User initiated"
        );
        assert_eq!(all(&[], None), "no index follows");
    }

    #[test]
    fn one_index_is_shown_with_its_shards_and_warnings() {
        let text = one(&index("SYNCING"), None);
        assert!(
            text.starts_with("f1 follows l:leader-01\nstate: SYNCING (User initiated)\nwarning: a setting"),
            "{text}"
        );
        let last = text.lines().count() - 1;
        assert_eq!(row(&text, last), "0 9 8 all 1.2 s 9 0 window: no files here");
    }

    #[test]
    fn who_watches_sees_rates_and_when_a_copy_will_be_done() {
        let (mut paces, begun) = (Paces::default(), Instant::now());
        let mut copying = index("BOOTSTRAPPING");
        copying.shards[0].bootstrap_through = Some(99);
        for (seconds, scanned) in [(0, 9), (10, 19)] {
            copying.shards[0].scanned = scanned;
            copying.shards[0].operations_written = scanned as u64;
            paces.see(
                std::slice::from_ref(&copying),
                begun + Duration::from_secs(seconds),
            );
        }
        let text = all(std::slice::from_ref(&copying), Some(&paces));
        assert_eq!(
            row(&text, 0),
            "INDEX FOLLOWS STATE LAG OPS/S READER COPIED REASON"
        );
        assert_eq!(
            row(&text, 1),
            "f1 l:leader-01 BOOTSTRAPPING - 1 window 20 %, 2 min left User initiated"
        );
        let line = line(&copying, &paces);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(
            rest,
            "f1 BOOTSTRAPPING lag - ops/s 1 reader window copied 20 %, 2 min left User initiated"
        );
    }
}
