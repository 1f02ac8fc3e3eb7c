//! What is known of each shard at this moment, written by its session and lanes, read by whoever asks.
//!
//! Status must be true: lag comes from what the leader acknowledged and when this agent first heard of it, and goes to
//! zero only when the durable checkpoint has caught up.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use slipstream_model::{Checkpoint, ShardKey, event};
use tokio::time::Instant;

use crate::control::ShardStatus;
use crate::metrics;

/// The live status of one shard.
#[derive(Debug)]
pub(crate) struct ShardCell {
    shard: ShardKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leader: Checkpoint0,
    follower: Checkpoint0,
    scanned: Checkpoint0,
    bootstrap_through: Option<Checkpoint>,
    reader: Option<(String, String)>,
    waiting_for: Option<String>,
    /// Leader checkpoints not yet reached, with the time at which their newest operation was unread at the latest.
    ahead: VecDeque<(Checkpoint, Instant)>,
    read: u64,
    read_translog: u64,
    written: u64,
    bytes: u64,
    failed_reads: u64,
    /// Whether the last stream broke, and no other is open yet.
    cut: bool,
    retries: u64,
    throttled: u64,
    write_time: Duration,
}

/// A checkpoint that defaults to "none".
#[derive(Debug, Clone, Copy)]
struct Checkpoint0(Checkpoint);

impl Default for Checkpoint0 {
    fn default() -> Self {
        Checkpoint0(Checkpoint::NONE)
    }
}

/// What the leader agent calls the reader of translogs.
const TRANSLOG: &str = "translog";

/// How many unreached leader checkpoints are remembered; beyond that the oldest stays, and lag stays exact.
const REMEMBERED: usize = 256;

impl ShardCell {
    pub(crate) fn new(shard: ShardKey) -> Self {
        ShardCell {
            shard,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        crate::lock(&self.state)
    }

    /// The leader has acknowledged up to `checkpoint`; the newest of it has been waiting for `pending`.
    pub(crate) fn leader_at(&self, checkpoint: Checkpoint, pending: Duration) {
        let mut state = self.state();
        if checkpoint > state.leader.0 {
            let now = Instant::now();
            let since = now.checked_sub(pending).unwrap_or(now);
            if state.ahead.len() < REMEMBERED {
                state.ahead.push_back((checkpoint, since));
            } else if let Some(last) = state.ahead.back_mut() {
                last.0 = checkpoint;
            }
        }
        state.leader.0 = checkpoint;
        self.report(&mut state);
    }

    /// Everything up to `checkpoint` is durable here.
    pub(crate) fn durable_at(&self, checkpoint: Checkpoint) {
        let mut state = self.state();
        state.follower.0 = checkpoint;
        state.scanned.0 = checkpoint;
        if checkpoint > state.leader.0 {
            state.leader.0 = checkpoint;
        }
        if state
            .bootstrap_through
            .is_some_and(|through| checkpoint >= through)
        {
            state.bootstrap_through = None;
        }
        self.report(&mut state);
    }

    /// The scan has come this far.
    pub(crate) fn scanned_to(&self, scanned: Checkpoint) {
        let mut state = self.state();
        state.scanned.0 = scanned;
        self.report(&mut state);
    }

    /// A reader serves the shard; the first copy ends at `bootstrap_through`.
    pub(crate) fn opened(&self, reader: &str, why: &str, bootstrap_through: Option<Checkpoint>) {
        self.serving(reader, why);
        let mut state = self.state();
        state.bootstrap_through = bootstrap_through;
        state.waiting_for = None;
        if std::mem::take(&mut state.cut) {
            tracing::info!(event = event::SESSION_RECONNECTED, shard = %self.shard, reader, why, "the stream is open again");
        }
    }

    /// This reader serves the shard from here on.
    pub(crate) fn serving(&self, reader: &str, why: &str) {
        let before = self.state().reader.replace((reader.to_owned(), why.to_owned()));
        if let Some((before, _)) = before {
            metrics::reader(&self.shard, &before, false);
            tracing::info!(event = event::READER_CHANGED, shard = %self.shard, before, reader, why, "another reader serves the shard");
        }
        metrics::reader(&self.shard, reader, true);
    }

    /// No stream is open.
    pub(crate) fn closed(&self) {
        if let Some((reader, _)) = self.state().reader.take() {
            metrics::reader(&self.shard, &reader, false);
        }
    }

    /// Something keeps the shard from moving; `event` is
    /// one of [`slipstream_model::event`], for the log.
    pub(crate) fn wait_for(&self, event: &'static str, what: &str) {
        let mut state = self.state();
        if state.waiting_for.as_deref() != Some(what) {
            tracing::warn!(event, shard = %self.shard, what, "waiting");
            state.waiting_for = Some(what.to_owned());
        }
    }

    /// Work of its own keeps the shard from moving.
    pub(crate) fn busy_with(&self, what: String) {
        self.state().waiting_for = Some(what);
    }

    /// Nothing keeps it any more.
    pub(crate) fn moving(&self) {
        self.state().waiting_for = None;
    }

    pub(crate) fn received(&self, operations: u64, bytes: u64) {
        let mut state = self.state();
        state.read += operations;
        state.bytes += bytes;
        if state
            .reader
            .as_ref()
            .is_some_and(|(reader, _)| reader == TRANSLOG)
        {
            state.read_translog += operations;
        }
    }

    pub(crate) fn wrote(&self, operations: u64, took: Duration) {
        let mut state = self.state();
        state.written += operations;
        state.write_time += took;
    }

    pub(crate) fn retried(&self, throttled: bool) {
        let mut state = self.state();
        state.retries += 1;
        state.throttled += u64::from(throttled);
    }

    /// A stream broke or was refused.
    pub(crate) fn read_failed(&self) {
        let mut state = self.state();
        state.failed_reads += 1;
        state.cut = true;
    }

    /// What keeps the shard from moving, if anything.
    pub(crate) fn waiting_for(&self) -> Option<String> {
        self.state().waiting_for.clone()
    }

    /// Everything that is known, as of now.
    pub(crate) fn snapshot(&self) -> ShardStatus {
        let mut state = self.state();
        let lag = self.report(&mut state);
        ShardStatus {
            shard: self.shard.shard.0,
            leader_checkpoint: state.leader.0.get(),
            follower_checkpoint: state.follower.0.get(),
            scanned: state.scanned.0.get(),
            bootstrap_through: state.bootstrap_through.map(Checkpoint::get),
            reader: state
                .reader
                .as_ref()
                .map(|(reader, why)| format!("{reader}: {why}")),
            lag_seconds: lag.as_secs_f64(),
            operations_read: state.read,
            operations_read_translog: state.read_translog,
            operations_written: state.written,
            bytes_read: state.bytes,
            failed_reads: state.failed_reads,
            retries: state.retries,
            throttled: state.throttled,
            write_millis: state.write_time.as_millis() as u64,
        }
    }

    fn report(&self, state: &mut State) -> Duration {
        let durable = state.follower.0;
        while state
            .ahead
            .front()
            .is_some_and(|(checkpoint, _)| *checkpoint <= durable)
        {
            state.ahead.pop_front();
        }
        let lag = state
            .ahead
            .front()
            .map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let ratio = state.bootstrap_through.map_or(1.0, |through| {
            (state.scanned.0.next().get() as f64 / through.next().get().max(1) as f64).min(1.0)
        });
        metrics::bootstrap(&self.shard, ratio);
        metrics::lag(
            &self.shard,
            lag.as_secs_f64(),
            durable.distance_to(state.leader.0),
        );
        lag
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::ShardId;

    use super::*;

    fn at(value: i64) -> Checkpoint {
        Checkpoint::new(value)
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_the_age_of_the_oldest_unapplied_operation() {
        let cell = ShardCell::new(ShardKey {
            index: "i".into(),
            shard: ShardId(0),
        });
        assert!(cell.snapshot().lag_seconds.abs() < 1e-9);
        cell.leader_at(at(5), Duration::from_millis(100));
        tokio::time::advance(Duration::from_secs(2)).await;
        cell.leader_at(at(9), Duration::ZERO);
        assert!((cell.snapshot().lag_seconds - 2.1).abs() < 1e-6);
        cell.durable_at(at(5));
        assert!(
            cell.snapshot().lag_seconds.abs() < 1e-6,
            "what is left was acknowledged just now"
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!((cell.snapshot().lag_seconds - 1.0).abs() < 1e-6);
        cell.durable_at(at(9));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(
            cell.snapshot().lag_seconds.abs() < 1e-9,
            "an idle, caught-up shard has no lag"
        );
    }
}
