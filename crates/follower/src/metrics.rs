//! The follower agent's metrics: their names, labels and the only places that write them.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use slipstream_model::{IndexName, Phase, ShardKey};

/// Age of the oldest acknowledged leader operation not yet readable on the target, in seconds; labels `index`, `shard`.
pub const LAG_SECONDS: &str = "slipstream_lag_seconds";
/// Acknowledged leader operations above the durable checkpoint; labels `index`, `shard`.
pub const LAG_OPS: &str = "slipstream_lag_ops";
/// Operations received and applied; label `kind`: `index`, `delete`, `noop`.
pub const OPS_TOTAL: &str = "slipstream_ops_total";
/// Bytes moved; labels `direction` (`in`), `stage` (`wire`: compressed, `block`: before compression).
pub const BYTES_TOTAL: &str = "slipstream_bytes_total";
/// How much of the first copy is done, 0 to 1; labels `index`, `shard`.
pub const BOOTSTRAP_PROGRESS_RATIO: &str = "slipstream_bootstrap_progress_ratio";
/// 1 for the state that an index is in, 0 for the others; labels `index`, `state`.
pub const STATE: &str = "slipstream_state";
/// Requests and items that the target turned away; label `reason`.
pub const BULK_RETRIES_TOTAL: &str = "slipstream_bulk_retries_total";
/// Requests that carry writes to the target; label `kind` (`one_index`, `shared`: may hold writes of several indices).
pub const BULKS_TOTAL: &str = "slipstream_bulks_total";
/// Which reader serves a shard, 1; labels `index`, `shard`, `reader`.
pub const READER: &str = "slipstream_reader";
/// Documents whose versions started again on the leader, or where the target was not as we had left it.
pub const VERSION_RESTARTS_TOTAL: &str = "slipstream_version_restarts_total";
/// Times that the leader held documents which reading had missed, or the target some which this agent had not written, each followed
/// by a reconciliation.
pub const DIVERGENCE_TOTAL: &str = "slipstream_divergence_total";

/// Attempts to begin with the leader's files; label `outcome` (`restored`, `failed`).
pub const RESTORES_TOTAL: &str = "slipstream_restores_total";
/// Bytes of the leader's files that came; label `stage` (`wire`: as they came, maybe compressed, `file`: as they were written).
pub const FILES_BYTES_TOTAL: &str = "slipstream_files_bytes_total";
/// Documents that a repair has put right; label `kind` (`written`, `deleted`).
pub const REPAIRED_TOTAL: &str = "slipstream_repaired_total";

/// Starts by auto-follow rules; labels `leader`, `rule`, `outcome` (`started`, `failed`).
pub const AUTOFOLLOW_STARTS_TOTAL: &str = "slipstream_autofollow_starts_total";
/// Indices that a rule takes and could not start; labels `leader`, `rule`.
pub const AUTOFOLLOW_FAILED_INDICES: &str = "slipstream_autofollow_failed_indices";

/// Gives every metric its help text. Once a process, after the recorder is installed.
pub fn describe() {
    describe_gauge!(
        LAG_SECONDS,
        "Age of the oldest acknowledged leader operation not yet readable on the target"
    );
    describe_gauge!(
        LAG_OPS,
        "Acknowledged leader operations above the durable checkpoint"
    );
    describe_counter!(OPS_TOTAL, "Operations applied, by kind");
    describe_counter!(BYTES_TOTAL, "Bytes moved, by direction and stage");
    describe_gauge!(
        BOOTSTRAP_PROGRESS_RATIO,
        "How much of the first copy is done, 0 to 1"
    );
    describe_gauge!(STATE, "1 for the state that an index is in");
    describe_counter!(
        BULK_RETRIES_TOTAL,
        "Requests and items that the target turned away, by reason"
    );
    describe_counter!(BULKS_TOTAL, "Requests that carry writes to the target, by kind");
    describe_gauge!(READER, "1 for the reader that serves a shard");
    describe_counter!(
        VERSION_RESTARTS_TOTAL,
        "Documents that had to be put over a higher version on the target"
    );
    describe_counter!(
        DIVERGENCE_TOTAL,
        "Times that the leader held documents which reading had missed"
    );
    describe_counter!(
        RESTORES_TOTAL,
        "Attempts to begin with the leader's files, by outcome"
    );
    describe_counter!(
        FILES_BYTES_TOTAL,
        "Bytes of the leader's files that came, by stage"
    );
    describe_counter!(REPAIRED_TOTAL, "Documents that repairs have put right, by kind");
    describe_counter!(AUTOFOLLOW_STARTS_TOTAL, "Starts by auto-follow rules, by outcome");
    describe_gauge!(
        AUTOFOLLOW_FAILED_INDICES,
        "Indices that a rule takes and could not start"
    );
}

pub(crate) fn autofollow_started(leader: &str, rule: &str, well: bool) {
    let labels = [
        ("leader", leader.to_owned()),
        ("rule", rule.to_owned()),
        ("outcome", if well { "started" } else { "failed" }.to_owned()),
    ];
    counter!(AUTOFOLLOW_STARTS_TOTAL, &labels).increment(1);
}

pub(crate) fn autofollow_failed(leader: &str, rule: &str, indices: usize) {
    let labels = [("leader", leader.to_owned()), ("rule", rule.to_owned())];
    gauge!(AUTOFOLLOW_FAILED_INDICES, &labels).set(indices as f64);
}

pub(crate) fn bulk(kind: &'static str) {
    counter!(BULKS_TOTAL, "kind" => kind).increment(1);
}

pub(crate) fn bulk_retry(reason: &'static str) {
    counter!(BULK_RETRIES_TOTAL, "reason" => reason).increment(1);
}

pub(crate) fn version_restarts(documents: usize) {
    counter!(VERSION_RESTARTS_TOTAL).increment(documents as u64);
}

pub(crate) fn divergence() {
    counter!(DIVERGENCE_TOTAL).increment(1);
}

pub(crate) fn restored(well: bool) {
    let outcome = if well { "restored" } else { "failed" };
    counter!(RESTORES_TOTAL, "outcome" => outcome).increment(1);
}

pub(crate) fn fetched(file: u64, wire: u64) {
    counter!(FILES_BYTES_TOTAL, "stage" => "wire").increment(wire);
    counter!(FILES_BYTES_TOTAL, "stage" => "file").increment(file);
}

pub(crate) fn repaired(written: u64, deleted: u64) {
    counter!(REPAIRED_TOTAL, "kind" => "written").increment(written);
    counter!(REPAIRED_TOTAL, "kind" => "deleted").increment(deleted);
}

pub(crate) fn received(wire: u64, block: u64) {
    counter!(BYTES_TOTAL, "direction" => "in", "stage" => "wire").increment(wire);
    counter!(BYTES_TOTAL, "direction" => "in", "stage" => "block").increment(block);
}

pub(crate) fn applied(kind: &'static str, operations: u64) {
    if operations > 0 {
        counter!(OPS_TOTAL, "kind" => kind).increment(operations);
    }
}

pub(crate) fn lag(shard: &ShardKey, seconds: f64, operations: u64) {
    let labels = [
        ("index", shard.index.to_string()),
        ("shard", shard.shard.to_string()),
    ];
    gauge!(LAG_SECONDS, &labels).set(seconds);
    gauge!(LAG_OPS, &labels).set(operations as f64);
}

pub(crate) fn reader(shard: &ShardKey, reader: &str, serving: bool) {
    let labels = [
        ("index", shard.index.to_string()),
        ("shard", shard.shard.to_string()),
        ("reader", reader.to_owned()),
    ];
    gauge!(READER, &labels).set(if serving { 1.0 } else { 0.0 });
}

pub(crate) fn bootstrap(shard: &ShardKey, ratio: f64) {
    let labels = [
        ("index", shard.index.to_string()),
        ("shard", shard.shard.to_string()),
    ];
    gauge!(BOOTSTRAP_PROGRESS_RATIO, &labels).set(ratio);
}

/// `None` where the index is no longer followed.
pub(crate) fn state(index: &IndexName, phase: Option<Phase>) {
    for each in Phase::ALL {
        let value = if Some(each) == phase { 1.0 } else { 0.0 };
        gauge!(STATE, "index" => index.to_string(), "state" => each.as_str()).set(value);
    }
}
