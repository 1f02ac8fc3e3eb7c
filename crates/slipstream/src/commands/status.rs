//! `slipstream status`.

use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;
use slipstream_model::words;

use crate::cli::StatusArgs;
use crate::client::{Gateway, Index, Shard, read};
use crate::failure::Failure;
use crate::output;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(2);

/// Shows one index or all. An index that does not follow, or has failed, makes the command fail.
pub(crate) async fn run(args: &StatusArgs, as_json: bool) -> Result<(), Failure> {
    let gateway = Gateway::at(&args.gateway)?;
    loop {
        let outcome = show(&gateway, args.index.as_deref(), as_json, args.watch).await;
        if !args.watch {
            return outcome;
        }
        match outcome {
            Ok(()) => {}
            // Whoever watches wants to see it come back.
            Err(failure) => output::aside(&failure.text()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn show(gateway: &Gateway, index: Option<&str>, as_json: bool, watch: bool) -> Result<(), Failure> {
    let answer = match index {
        None => gateway.indices().await?,
        Some(index) => gateway.index(index).await?.ok_or_else(|| {
            Failure::failed(format!("{index} does not follow any index")).advise(format!(
                "start it: slipstream start {index} --leader ALIAS --leader-index NAME"
            ))
        })?,
    };
    let text = if as_json {
        answer.to_string()
    } else {
        text(index, &answer)?
    };
    if watch && !as_json {
        output::renew();
    }
    output::data(&text);
    match index {
        Some(index) if answer["phase"] == "FAILED" => Err(Failure::failed(format!(
            "{index} has failed: {}",
            answer["reason"].as_str().unwrap_or("no reason given")
        ))
        .advise(format!("mend the cause, then `slipstream resume {index}`"))),
        _ => Ok(()),
    }
}

fn text(index: Option<&str>, answer: &Value) -> Result<String, Failure> {
    if index.is_some() {
        return Ok(one(&read(answer)?));
    }
    let indices: Vec<Index> = answer["indices"]
        .as_array()
        .into_iter()
        .flatten()
        .map(read)
        .collect::<Result<_, _>>()?;
    Ok(if indices.is_empty() {
        "no index follows".to_owned()
    } else {
        all(&indices)
    })
}

fn all(indices: &[Index]) -> String {
    let mut table = table(
        &["INDEX", "FOLLOWS", "STATE", "LAG", "OPERATIONS", "REASON"],
        &[3, 4],
    );
    for index in indices {
        let lag = index
            .shards
            .iter()
            .map(|shard| shard.lag_seconds)
            .fold(0.0, f64::max);
        let written: u64 = index.shards.iter().map(|shard| shard.operations_written).sum();
        table.add_row([
            index.follower_index.clone(),
            format!("{}:{}", index.leader_alias, index.leader_index),
            index.phase.clone(),
            if index.phase == "SYNCING" {
                words::lag(lag)
            } else {
                "-".to_owned()
            },
            written.to_string(),
            index
                .waiting_for
                .as_ref()
                .map_or_else(|| index.reason.clone(), |what| format!("waiting: {what}")),
        ]);
    }
    trimmed(&table)
}

fn one(index: &Index) -> String {
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
    lines.extend(index.warnings.iter().map(|warning| format!("warning: {warning}")));
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
                copied(shard),
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

fn copied(shard: &Shard) -> String {
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
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "follower_index": "f1", "leader_alias": "l", "leader_index": "leader-01", "phase": "SYNCING",
            "reason": "User initiated", "waiting_for": null, "warnings": ["a setting is unknown here"],
            "shards": [{"shard": 0, "leader_checkpoint": 9, "follower_checkpoint": 8, "scanned": 8,
                        "bootstrap_through": null, "reader": "window", "lag_seconds": 1.25, "operations_written": 9,
                        "retries": 0}]
        })
    }

    #[test]
    fn all_indices_are_a_line_each() {
        let text = text(None, &json!({"indices": [answer()]})).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[0],
            ["INDEX", "FOLLOWS", "STATE", "LAG", "OPERATIONS", "REASON"]
        );
        assert_eq!(
            lines[1],
            [
                "f1",
                "l:leader-01",
                "SYNCING",
                "1.2",
                "s",
                "9",
                "User",
                "initiated"
            ]
        );
        assert_eq!(
            super::text(None, &json!({"indices": []})).unwrap(),
            "no index follows"
        );
    }

    #[test]
    fn one_index_is_shown_with_its_shards_and_warnings() {
        let text = text(Some("f1"), &answer()).unwrap();
        assert!(
            text.starts_with("f1 follows l:leader-01\nstate: SYNCING (User initiated)\nwarning: a setting"),
            "{text}"
        );
        let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["0", "9", "8", "all", "1.2", "s", "9", "0", "window"]);
    }
}
