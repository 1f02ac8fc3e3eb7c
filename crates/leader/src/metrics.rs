//! What the leader agent counts, by the names that dashboards know.
//!
//! Handles come from the `metrics` facade: without a recorder installed, counting costs next to nothing.

use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use slipstream_model::{Change, Op, ShardKey};

/// Bytes of operations sent: `direction="out"`, `stage="source"` before and `stage="wire"` after compression.
pub const BYTES_TOTAL: &str = "slipstream_bytes_total";
/// Operations sent, by `kind`: `index`, `delete` or `noop`.
pub const OPS_TOTAL: &str = "slipstream_ops_total";
/// Streams that a reader serves, by `index`, `shard` and `reader`.
pub const READER: &str = "slipstream_reader";
/// Times that another reader took over a shard in the middle of a stream, by the `reader` that did.
pub const HANDOVERS_TOTAL: &str = "slipstream_handovers_total";
/// Highest checkpoint that a follower agent has acknowledged as durable, by `index` and `shard`.
pub const ACKNOWLEDGED_CHECKPOINT: &str = "slipstream_acknowledged_checkpoint";
/// Shard streams that are open.
pub const SESSIONS: &str = "slipstream_sessions";
/// Calls refused, by `reason`: `identity`, `not_allowed`, `protocol`, `malformed` or `too_many_streams`.
pub const REFUSED_TOTAL: &str = "slipstream_refused_total";

/// Snapshots for followers, by `outcome`: `taken` or `failed`. Several followers can share one.
pub const SNAPSHOTS_TOTAL: &str = "slipstream_snapshots_total";

/// Why a call was refused: the label of [`REFUSED_TOTAL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The certificate names no identity.
    Identity,
    /// The identity may not read the index.
    NotAllowed,
    /// No common protocol version.
    Protocol,
    /// What was sent makes no sense.
    Malformed,
    /// The agent serves as many streams as it may.
    TooManyStreams,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Refusal::Identity => "identity",
            Refusal::NotAllowed => "not_allowed",
            Refusal::Protocol => "protocol",
            Refusal::Malformed => "malformed",
            Refusal::TooManyStreams => "too_many_streams",
        }
    }
}

/// Gives the metrics their descriptions. Call once a recorder is installed.
pub fn describe() {
    describe_counter!(
        BYTES_TOTAL,
        "Bytes of operations, before (source) and after (wire) compression"
    );
    describe_counter!(OPS_TOTAL, "Operations by kind");
    describe_gauge!(READER, "Streams that a reader serves");
    describe_counter!(
        HANDOVERS_TOTAL,
        "Times that another reader took over a shard in the middle of a stream"
    );
    describe_gauge!(
        ACKNOWLEDGED_CHECKPOINT,
        "Checkpoint that a follower agent has acknowledged as durable"
    );
    describe_gauge!(SESSIONS, "Shard streams that are open");
    describe_counter!(REFUSED_TOTAL, "Calls that the leader agent refused, by reason");
    describe_counter!(SNAPSHOTS_TOTAL, "Snapshots for followers that begin, by outcome");
}

/// Counts a snapshot.
pub(crate) fn snapshot(well: bool) {
    let outcome = if well { "taken" } else { "failed" };
    counter!(SNAPSHOTS_TOTAL, "outcome" => outcome).increment(1);
}

/// Counts a refused call.
pub(crate) fn refused(reason: Refusal) {
    counter!(REFUSED_TOTAL, "reason" => reason.as_str()).increment(1);
}

/// One session's handles, looked up once. Dropping it takes the session off the gauges.
pub(crate) struct SessionMetrics {
    source_bytes: Counter,
    wire_bytes: Counter,
    indexed: Counter,
    deleted: Counter,
    noops: Counter,
    acknowledged: Gauge,
    shard: (String, String),
    /// The reader that serves now; it may change in the middle.
    reader: Mutex<(&'static str, Gauge)>,
    sessions: Gauge,
}

impl SessionMetrics {
    /// A session begins.
    pub(crate) fn begin(shard: &ShardKey, reader: &'static str) -> Self {
        let (index, number) = (shard.index.to_string(), shard.shard.to_string());
        let metrics = SessionMetrics {
            source_bytes: counter!(BYTES_TOTAL, "direction" => "out", "stage" => "source"),
            wire_bytes: counter!(BYTES_TOTAL, "direction" => "out", "stage" => "wire"),
            indexed: counter!(OPS_TOTAL, "kind" => "index"),
            deleted: counter!(OPS_TOTAL, "kind" => "delete"),
            noops: counter!(OPS_TOTAL, "kind" => "noop"),
            acknowledged: gauge!(ACKNOWLEDGED_CHECKPOINT, "index" => index.clone(), "shard" => number.clone()),
            reader: Mutex::new((reader, reader_gauge(&index, &number, reader))),
            shard: (index, number),
            sessions: gauge!(SESSIONS),
        };
        metrics.sessions.increment(1);
        metrics
    }

    /// This reader serves from here on: another one than before, or the same for another reason.
    pub(crate) fn serving(&self, reader: &'static str) {
        let mut current = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == reader {
            return;
        }
        current.1.decrement(1);
        counter!(HANDOVERS_TOTAL, "reader" => reader).increment(1);
        *current = (reader, reader_gauge(&self.shard.0, &self.shard.1, reader));
    }

    /// Operations are about to be encoded.
    pub(crate) fn count_ops(&self, ops: &[Op]) {
        let (mut indexed, mut deleted, mut noops) = (0, 0, 0);
        for op in ops {
            match op.change {
                Change::Index { .. } => indexed += 1,
                Change::Delete => deleted += 1,
                Change::Noop => noops += 1,
            }
        }
        self.indexed.increment(indexed);
        self.deleted.increment(deleted);
        self.noops.increment(noops);
    }

    /// A batch of `source` bytes became `wire` bytes.
    pub(crate) fn count_bytes(&self, source: u64, wire: u64) {
        self.source_bytes.increment(source);
        self.wire_bytes.increment(wire);
    }

    /// The follower said how far its target is durable.
    pub(crate) fn acknowledged(&self, checkpoint: i64) {
        self.acknowledged.set(checkpoint as f64);
    }
}

impl Drop for SessionMetrics {
    fn drop(&mut self) {
        self.reader
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .decrement(1);
        self.sessions.decrement(1);
    }
}

/// The gauge of a reader that serves a shard, with this one counted.
fn reader_gauge(index: &str, shard: &str, reader: &'static str) -> Gauge {
    let gauge = gauge!(
        READER, "index" => index.to_owned(), "shard" => shard.to_owned(), "reader" => reader
    );
    gauge.increment(1);
    gauge
}
