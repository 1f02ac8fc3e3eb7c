//! `leader_stats`, `follower_stats` and `autofollow_stats`, in the incumbent's words and, as there, always laid out.
//!
//! The incumbent's `leader_stats` is asked of the leader and counts for all its followers; here it counts what this
//! agent has read. A leader may not know a translog from here, so sizes and times of files are 0 and what was read is told
//! under the reader that serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slipstream_follower::{IndexStatus, RuleStatus, ShardStatus};
use slipstream_model::Phase;

use crate::Gateway;
use crate::error::ApiError;
use crate::params::Params;
use crate::pretty::pretty;

/// `GET leader_stats`.
pub(crate) async fn leader(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &["pretty"])?;
    laid_out(&leader_stats(&gateway.control.list()))
}

/// `GET follower_stats`.
pub(crate) async fn follower(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &["pretty"])?;
    laid_out(&follower_stats(&gateway.control.list()))
}

/// `GET autofollow_stats`.
pub(crate) async fn autofollow(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &["pretty"])?;
    laid_out(&autofollow_stats(&gateway.control.rules()))
}

fn laid_out(stats: &impl Serialize) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(stats).map_err(|error| ApiError::unavailable(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], pretty(&json)).into_response())
}

#[derive(Debug, Default, Serialize, PartialEq)]
struct LeaderStats {
    num_replicated_indices: usize,
    #[serde(flatten)]
    total: Source,
    index_stats: BTreeMap<String, Source>,
}

#[derive(Debug, Default, Clone, Serialize, PartialEq)]
struct Source {
    operations_read: u64,
    translog_size_bytes: u64,
    operations_read_lucene: u64,
    operations_read_translog: u64,
    total_read_time_lucene_millis: u64,
    total_read_time_translog_millis: u64,
    bytes_read: u64,
}

impl Source {
    fn add(&mut self, shard: &ShardStatus) {
        self.operations_read += shard.operations_read;
        self.bytes_read += shard.bytes_read;
        self.operations_read_translog += shard.operations_read_translog;
        self.operations_read_lucene += shard.operations_read - shard.operations_read_translog;
    }
}

fn leader_stats(indices: &[IndexStatus]) -> LeaderStats {
    let mut stats = LeaderStats::default();
    for index in indices {
        // Two followers of one index are one replicated index.
        let of_index = stats
            .index_stats
            .entry(index.leader_index.to_string())
            .or_default();
        for shard in &index.shards {
            of_index.add(shard);
            stats.total.add(shard);
        }
    }
    stats.num_replicated_indices = stats.index_stats.len();
    stats
}

#[derive(Debug, Default, Serialize, PartialEq)]
struct FollowerStats {
    num_syncing_indices: usize,
    num_bootstrapping_indices: usize,
    num_paused_indices: usize,
    num_failed_indices: usize,
    num_shard_tasks: usize,
    num_index_tasks: usize,
    #[serde(flatten)]
    total: Copied,
    index_stats: BTreeMap<String, Copied>,
}

#[derive(Debug, Default, Clone, Serialize, PartialEq)]
struct Copied {
    operations_written: u64,
    operations_read: u64,
    failed_read_requests: u64,
    throttled_read_requests: u64,
    failed_write_requests: u64,
    throttled_write_requests: u64,
    follower_checkpoint: i64,
    leader_checkpoint: i64,
    total_write_time_millis: u64,
}

impl Copied {
    fn add(&mut self, shard: &ShardStatus) {
        self.operations_written += shard.operations_written;
        self.operations_read += shard.operations_read;
        self.failed_read_requests += shard.failed_reads;
        self.failed_write_requests += shard.retries - shard.throttled;
        self.throttled_write_requests += shard.throttled;
        self.follower_checkpoint += shard.follower_checkpoint;
        self.leader_checkpoint += shard.leader_checkpoint;
        self.total_write_time_millis += shard.write_millis;
    }
}

fn follower_stats(indices: &[IndexStatus]) -> FollowerStats {
    let mut stats = FollowerStats::default();
    for index in indices {
        match index.phase {
            Phase::Init | Phase::Bootstrapping => stats.num_bootstrapping_indices += 1,
            Phase::Syncing => stats.num_syncing_indices += 1,
            Phase::Paused => stats.num_paused_indices += 1,
            Phase::Failed => stats.num_failed_indices += 1,
            Phase::Stopping => {}
        }
        if matches!(index.phase, Phase::Bootstrapping | Phase::Syncing) {
            stats.num_index_tasks += 1;
            stats.num_shard_tasks += index.shards.len();
        }
        let of_index = stats
            .index_stats
            .entry(index.follower_index.to_string())
            .or_default();
        for shard in &index.shards {
            of_index.add(shard);
            stats.total.add(shard);
        }
    }
    stats
}

#[derive(Debug, Default, Serialize, PartialEq)]
struct AutoFollowStats {
    num_success_start_replication: u64,
    num_failed_start_replication: u64,
    num_failed_leader_calls: u64,
    failed_indices: Vec<String>,
    autofollow_stats: Vec<Rule>,
}

#[derive(Debug, Serialize, PartialEq)]
struct Rule {
    name: String,
    leader_alias: String,
    pattern: String,
    num_success_start_replication: u64,
    num_failed_start_replication: u64,
    num_failed_leader_calls: u64,
    failed_indices: Vec<String>,
    last_execution_time: u64,
}

fn autofollow_stats(rules: &[RuleStatus]) -> AutoFollowStats {
    let mut stats = AutoFollowStats::default();
    for rule in rules {
        let failed: Vec<String> = rule
            .failed_indices
            .iter()
            .map(|failed| failed.leader_index.to_string())
            .collect();
        stats.num_success_start_replication += rule.started;
        stats.num_failed_start_replication += rule.failed_starts;
        stats.num_failed_leader_calls += rule.failed_leader_calls;
        stats.failed_indices.extend(failed.iter().cloned());
        stats.autofollow_stats.push(Rule {
            name: rule.name.clone(),
            leader_alias: rule.leader_alias.clone(),
            pattern: rule.pattern.clone(),
            num_success_start_replication: rule.started,
            num_failed_start_replication: rule.failed_starts,
            num_failed_leader_calls: rule.failed_leader_calls,
            failed_indices: failed,
            last_execution_time: rule.looked_at_millis,
        });
    }
    stats
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use slipstream_model::Reason;

    use super::*;

    fn shard(number: u32, read: u64, translog: u64) -> ShardStatus {
        ShardStatus {
            shard: number,
            leader_checkpoint: 9,
            follower_checkpoint: 7,
            scanned: 7,
            bootstrap_through: None,
            reader: None,
            lag_seconds: 0.0,
            operations_read: read,
            operations_read_translog: translog,
            operations_written: read,
            bytes_read: 100,
            failed_reads: 1,
            retries: 5,
            throttled: 3,
            write_millis: 20,
        }
    }

    fn index(name: &str, phase: Phase) -> IndexStatus {
        IndexStatus {
            follower_index: name.into(),
            leader_alias: "l".to_owned(),
            leader_index: "lead".into(),
            phase,
            reason: Reason::new(Reason::USER),
            waiting_for: None,
            files: None,
            begun_with: None,
            started_at_millis: 0,
            shards: vec![shard(0, 10, 4), shard(1, 20, 0)],
            warnings: Vec::new(),
        }
    }

    /// Field names are the incumbent's, captured from it.
    #[test]
    fn stats_have_the_fields_that_clients_read_and_sum_over_shards() {
        let indices = [index("a", Phase::Syncing), index("b", Phase::Paused)];
        let stats = serde_json::to_value(follower_stats(&indices)).unwrap();
        assert_eq!(
            stats,
            json!({
                "num_syncing_indices": 1, "num_bootstrapping_indices": 0, "num_paused_indices": 1, "num_failed_indices": 0,
                "num_shard_tasks": 2, "num_index_tasks": 1, "operations_written": 60, "operations_read": 60,
                "failed_read_requests": 4, "throttled_read_requests": 0, "failed_write_requests": 8,
                "throttled_write_requests": 12, "follower_checkpoint": 28, "leader_checkpoint": 36,
                "total_write_time_millis": 80, "index_stats": {"a": stats["index_stats"]["a"], "b": stats["index_stats"]["b"]},
            })
        );
        assert_eq!(stats["index_stats"]["a"]["operations_written"], 30);
        let stats = serde_json::to_value(leader_stats(&indices)).unwrap();
        assert_eq!(stats["num_replicated_indices"], 1);
        assert_eq!(stats["operations_read"], 60);
        assert_eq!(stats["index_stats"]["lead"]["operations_read_lucene"], 52);
        assert_eq!(stats["index_stats"]["lead"]["bytes_read"], 400);
    }

    #[test]
    fn rules_are_listed_with_what_they_could_not_start() {
        let rule = RuleStatus {
            name: "r".to_owned(),
            leader_alias: "l".to_owned(),
            pattern: "logs-*".to_owned(),
            exclude: Vec::new(),
            follower_index_pattern: "{{leader_index}}".to_owned(),
            started: 2,
            failed_starts: 3,
            failed_leader_calls: 1,
            leader_error: None,
            failed_indices: vec![slipstream_follower::FailedStart {
                leader_index: "logs-1".into(),
                reason: "no".to_owned(),
            }],
            looked_at_millis: 5,
        };
        let stats: Value = serde_json::to_value(autofollow_stats(&[rule])).unwrap();
        assert_eq!(
            stats,
            json!({
                "num_success_start_replication": 2, "num_failed_start_replication": 3, "num_failed_leader_calls": 1,
                "failed_indices": ["logs-1"], "autofollow_stats": [{
                    "name": "r", "leader_alias": "l", "pattern": "logs-*", "num_success_start_replication": 2,
                    "num_failed_start_replication": 3, "num_failed_leader_calls": 1, "failed_indices": ["logs-1"],
                    "last_execution_time": 5,
                }],
            })
        );
    }
}
