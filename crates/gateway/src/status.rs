//! `_status`: what the incumbent answers, told from what is true at the moment.
//!
//! The sums run over shards as the incumbent's do, so a shard without operations counts -1. Where the incumbent has no
//! honest value the field keeps its meaning: where an index begins with documents there are no files, so their numbers are 0, and bytes
//! still to come are not known in advance, so `bytes_total` is 0 and the percentage is that of sequence numbers. An index that runs but
//! of which no shard has answered yet is `RUNNING`, which the incumbent's clients know, never a `SYNCING` with zero lag.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slipstream_follower::{IndexStatus, ShardStatus};
use slipstream_model::moment::now_millis;
use slipstream_model::{IndexName, Phase};

use crate::Gateway;
use crate::error::ApiError;
use crate::params::Params;

/// `GET {index}/_status`.
pub(crate) async fn status(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let verbose = Params::of(&uri, &["verbose"])?.flag("verbose")?;
    let answer = match gateway.control.status(&IndexName::new(index)) {
        None => Answer {
            status: "REPLICATION NOT IN PROGRESS",
            ..Answer::default()
        },
        Some(status) => answer(&status, verbose, now_millis()),
    };
    Ok(Json(answer).into_response())
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_index: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    follower_index: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap_details: Option<BootstrapDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syncing_details: Option<SyncingDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_replication_details: Option<Vec<ShardDetails>>,
    /// Ours: files or documents, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    begun_with: Option<String>,
    /// Ours: what keeps it from moving although it would move.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    /// Ours: what an operator should know although replication goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, PartialEq)]
struct SyncingDetails {
    leader_checkpoint: i64,
    follower_checkpoint: i64,
    seq_no: i64,
}

#[derive(Debug, Serialize, PartialEq)]
struct BootstrapDetails {
    bytes_total: u64,
    bytes_recovered: u64,
    bytes_percent: f64,
    files_total: u64,
    files_recovered: u64,
    files_percent: f64,
    start_time: u64,
    running_time: u64,
    /// Ours, as the next: the pace of files of late.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    /// Until the step that is under way is done, at that pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ShardDetails {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap_task_details: Option<BootstrapDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syncing_task_details: Option<SyncingDetails>,
    /// Ours: which reader serves the shard, and why that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reader: Option<String>,
}

pub(crate) fn answer(status: &IndexStatus, verbose: bool, now_millis: u64) -> Answer {
    let scanning: Vec<&ShardStatus> = status
        .shards
        .iter()
        .filter(|s| s.bootstrap_through.is_some())
        .collect();
    let following: Vec<&ShardStatus> = status
        .shards
        .iter()
        .filter(|s| s.bootstrap_through.is_none())
        .collect();
    let runs = matches!(status.phase, Phase::Init | Phase::Bootstrapping | Phase::Syncing);
    let word = match status.phase {
        Phase::Syncing if status.shards.is_empty() => "RUNNING",
        Phase::Init => Phase::Bootstrapping.as_str(),
        phase => phase.as_str(),
    };
    let bootstraps = matches!(status.phase, Phase::Init | Phase::Bootstrapping);
    Answer {
        status: word,
        reason: Some(status.reason.to_string()),
        leader_alias: Some(status.leader_alias.clone()),
        leader_index: Some(status.leader_index.to_string()),
        follower_index: Some(status.follower_index.to_string()),
        bootstrap_details: (bootstraps || (runs && !scanning.is_empty()))
            .then(|| bootstrap(&scanning, status, now_millis)),
        syncing_details: (runs && !following.is_empty()).then(|| syncing(&following)),
        shard_replication_details: (verbose && runs).then(|| {
            status
                .shards
                .iter()
                .map(|shard| shard_details(shard, status, now_millis))
                .collect()
        }),
        begun_with: status.begun_with.clone(),
        waiting_for: status.waiting_for.clone(),
        warnings: status.warnings.clone(),
    }
}

fn shard_details(shard: &ShardStatus, status: &IndexStatus, now_millis: u64) -> ShardDetails {
    let scans = shard.bootstrap_through.is_some();
    ShardDetails {
        shard_id: format!("[{}][{}]", status.follower_index, shard.shard),
        bootstrap_task_details: scans.then(|| bootstrap(&[shard], status, now_millis)),
        syncing_task_details: (!scans).then(|| syncing(&[shard])),
        reader: shard.reader.clone(),
    }
}

fn syncing(shards: &[&ShardStatus]) -> SyncingDetails {
    SyncingDetails {
        leader_checkpoint: shards.iter().map(|s| s.leader_checkpoint).sum(),
        follower_checkpoint: shards.iter().map(|s| s.follower_checkpoint).sum(),
        seq_no: shards.iter().map(|s| s.follower_checkpoint + 1).sum(),
    }
}

fn bootstrap(shards: &[&ShardStatus], status: &IndexStatus, now_millis: u64) -> BootstrapDetails {
    if let Some(files) = &status.files {
        // Each byte travels twice: to the folder of the target's repository, and from there into the index.
        let (total, done) = (
            files.bytes_total,
            files.bytes_received.midpoint(files.bytes_restored),
        );
        return BootstrapDetails {
            bytes_total: total,
            bytes_recovered: done.min(total),
            bytes_percent: percent(done, total),
            files_total: files.files_total,
            files_recovered: files.files_received.min(files.files_total),
            files_percent: percent(files.files_received, files.files_total),
            start_time: status.started_at_millis,
            running_time: now_millis.saturating_sub(status.started_at_millis),
            bytes_per_second: files.bytes_per_second,
            seconds_left: files.seconds_left,
        };
    }
    BootstrapDetails {
        bytes_total: 0,
        bytes_recovered: shards.iter().map(|s| s.bytes_read).sum(),
        bytes_percent: scanned_ratio(shards).map_or(0.0, |ratio| (ratio * 1000.0).round() / 10.0),
        files_total: 0,
        files_recovered: 0,
        files_percent: 0.0,
        start_time: status.started_at_millis,
        running_time: now_millis.saturating_sub(status.started_at_millis),
        bytes_per_second: None,
        seconds_left: None,
    }
}

fn percent(done: u64, all: u64) -> f64 {
    match all {
        0 => 0.0,
        all => (done.min(all) as f64 / all as f64 * 1000.0).round() / 10.0,
    }
}

/// How much of their first scan the shards have behind them, from 0 to 1; `None` without a scan.
pub(crate) fn scanned_ratio(shards: &[&ShardStatus]) -> Option<f64> {
    let (mut done, mut all) = (0.0, 0.0);
    for shard in shards {
        let through = shard.bootstrap_through? + 1;
        all += through as f64;
        done += (shard.scanned + 1).clamp(0, through.max(0)) as f64;
    }
    (!shards.is_empty()).then(|| if all > 0.0 { done / all } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use slipstream_model::Reason;

    use super::*;

    fn shard(number: u32, leader: i64, follower: i64, through: Option<i64>) -> ShardStatus {
        ShardStatus {
            shard: number,
            leader_checkpoint: leader,
            follower_checkpoint: follower,
            scanned: follower,
            bootstrap_through: through,
            reader: None,
            lag_seconds: 0.0,
            operations_read: 0,
            operations_read_translog: 0,
            operations_written: 0,
            bytes_read: 50,
            failed_reads: 0,
            retries: 0,
            throttled: 0,
            write_millis: 0,
        }
    }

    fn index(phase: Phase, reason: &str, shards: Vec<ShardStatus>) -> IndexStatus {
        IndexStatus {
            follower_index: "f1".into(),
            leader_alias: "conn1".to_owned(),
            leader_index: "leader-01".into(),
            phase,
            reason: Reason::new(reason),
            waiting_for: None,
            files: None,
            begun_with: None,
            started_at_millis: 1_000,
            shards,
            warnings: Vec::new(),
        }
    }

    fn json_of(status: &IndexStatus, verbose: bool) -> Value {
        serde_json::to_value(answer(status, verbose, 1_250)).unwrap()
    }

    #[test]
    fn syncing_sums_over_shards_and_keeps_the_incumbents_order() {
        let status = index(
            Phase::Syncing,
            "",
            vec![shard(0, 4, 3, None), shard(1, 5, 5, None)],
        );
        assert_eq!(
            serde_json::to_string(&answer(&status, false, 0)).unwrap(),
            r#"{"status":"SYNCING","reason":"User initiated","leader_alias":"conn1","leader_index":"leader-01","follower_index":"f1","syncing_details":{"leader_checkpoint":9,"follower_checkpoint":8,"seq_no":10}}"#
        );
        assert_eq!(
            json_of(&status, true)["shard_replication_details"][1],
            json!({"shard_id": "[f1][1]", "syncing_task_details": {"leader_checkpoint": 5, "follower_checkpoint": 5, "seq_no": 6}})
        );
    }

    #[test]
    fn an_index_that_begins_with_files_counts_them() {
        let mut status = index(Phase::Bootstrapping, "", Vec::new());
        status.files = Some(slipstream_follower::FilesStatus {
            stage: "transfer",
            bytes_total: 1_000,
            bytes_received: 500,
            bytes_fetched: 400,
            bytes_restored: 0,
            files_total: 8,
            files_received: 3,
            bytes_per_second: Some(100),
            seconds_left: Some(5),
        });
        assert_eq!(
            json_of(&status, false)["bootstrap_details"],
            json!({"bytes_total": 1_000, "bytes_recovered": 250, "bytes_percent": 25.0,
                "files_total": 8, "files_recovered": 3, "files_percent": 37.5,
                "start_time": 1_000, "running_time": 250, "bytes_per_second": 100, "seconds_left": 5})
        );
    }

    #[test]
    fn the_reader_of_each_shard_is_told_with_its_reason() {
        let mut served = shard(0, 4, 4, None);
        served.reader = Some("window: no copy here".to_owned());
        let status = index(Phase::Syncing, "", vec![served]);
        assert_eq!(
            json_of(&status, true)["shard_replication_details"][0]["reader"],
            "window: no copy here"
        );
    }

    #[test]
    fn bootstrapping_shows_progress_of_the_scan_beside_shards_that_follow() {
        let status = index(
            Phase::Bootstrapping,
            "",
            vec![shard(0, 99, 24, Some(99)), shard(1, 7, 7, None)],
        );
        let answer = json_of(&status, true);
        assert_eq!(
            answer["bootstrap_details"],
            json!({"bytes_total": 0, "bytes_recovered": 50, "bytes_percent": 25.0, "files_total": 0,
                   "files_recovered": 0, "files_percent": 0.0, "start_time": 1000, "running_time": 250})
        );
        assert_eq!(answer["syncing_details"]["seq_no"], 8);
        assert!(
            answer["shard_replication_details"][0]
                .get("bootstrap_task_details")
                .is_some()
        );
        assert!(
            answer["shard_replication_details"][1]
                .get("syncing_task_details")
                .is_some()
        );
    }

    #[test]
    fn accepted_but_not_begun_is_bootstrapping() {
        let answer = json_of(&index(Phase::Init, "", Vec::new()), true);
        assert_eq!(answer["status"], "BOOTSTRAPPING");
        assert_eq!(answer["bootstrap_details"]["bytes_percent"], 0.0);
        assert_eq!(answer["shard_replication_details"], json!([]));
    }

    #[test]
    fn no_shard_heard_of_is_not_shown_as_caught_up() {
        let answer = json_of(&index(Phase::Syncing, "", Vec::new()), false);
        assert_eq!(answer["status"], "RUNNING");
        assert!(answer.get("syncing_details").is_none());
    }

    #[test]
    fn paused_and_failed_show_the_reason_and_no_details() {
        for phase in [Phase::Paused, Phase::Failed] {
            let answer = json_of(&index(phase, "maintenance", vec![shard(0, 1, 1, None)]), true);
            assert_eq!(
                answer,
                json!({"status": phase.as_str(), "reason": "maintenance", "leader_alias": "conn1",
                       "leader_index": "leader-01", "follower_index": "f1"})
            );
        }
    }

    #[test]
    fn an_empty_scan_is_complete_and_progress_never_leaves_its_range() {
        assert_eq!(scanned_ratio(&[&shard(0, -1, -1, Some(-1))]), Some(1.0));
        assert_eq!(scanned_ratio(&[&shard(0, 20, 20, Some(9))]), Some(1.0));
        assert_eq!(scanned_ratio(&[]), None);
    }
}
