//! One lane: takes writes in order, sends one bulk at a time, and does not let go of a write before the target took it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use slipstream_cluster::{ErrorKind, RetryReason};
use slipstream_model::{Checkpoint, IndexName, SeqNo, ShardKey, event};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::outcome::{Leftover, sort};
use super::{ApplyError, Bulks, Write};
use crate::backoff::Backoff;
use crate::metrics;
use crate::status::ShardCell;

/// What a lane needs of its surroundings.
#[derive(Clone)]
pub(crate) struct LaneContext {
    pub(crate) bulks: Arc<Bulks>,
    pub(crate) index: IndexName,
    pub(crate) shard: ShardKey,
    pub(crate) status: Arc<ShardCell>,
}

/// A portion of a batch on its way through a lane.
pub(crate) struct Portion {
    /// Which batch it belongs to.
    pub(crate) batch: u64,
    pub(crate) writes: Vec<Write>,
}

/// A portion that is applied and durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppliedPortion {
    /// Of which batch.
    pub(crate) batch: u64,
    /// The highest sequence number that the target has given the lane's writes by now.
    pub(crate) written: Checkpoint,
}

/// That it is done, or why it cannot be.
pub(crate) type Applied = Result<AppliedPortion, ApplyError>;

/// A lane's name on the target (`X-Opaque-Id`): the same in each life of the agent, so that a new life can wait for what
/// the last one left running.
pub(crate) struct Lane {
    opaque_id: String,
    pub(super) context: LaneContext,
    /// It keeps to requests of its own: the last one had trouble, in which others should have no part.
    apart: AtomicBool,
    /// The highest sequence number of the target's that a write of it was given, as [`Checkpoint::get`] has it.
    written: AtomicI64,
}

/// A bulk holds at most this many bytes of operations.
const BULK_BYTES: usize = 4 * 1024 * 1024;
/// And at most this many operations.
const BULK_OPS: usize = 5_000;

/// Waits until nothing is running on the target any more that lanes of these names have sent before this call, in this life or an
/// earlier one, by themselves or together with others.
pub(crate) async fn settle(context: &LaneContext, opaque_ids: &[&str]) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    // Others go on sharing requests meanwhile. Each has a name of its own, so it is enough to wait for those that run now.
    let mut awaited: Option<HashSet<String>> = None;
    let concerns = |id: &String| opaque_ids.contains(&id.as_str()) || context.bulks.is_shared(id);
    loop {
        let words = match context.bulks.cluster.running_bulks().await {
            Ok(running) => {
                let awaited = awaited
                    .get_or_insert_with(|| running.iter().filter(|id| concerns(id)).cloned().collect());
                if !running.iter().any(|id| awaited.contains(id)) {
                    return;
                }
                "the target to finish an earlier bulk".to_owned()
            }
            Err(error) => format!("the target: {}", crate::chain(&error)),
        };
        context.status.wait_for(event::BULK_BACKING_OFF, &words);
        sleep(backoff.next()).await;
    }
}

impl Lane {
    /// `written`: a sequence number that the target had given before anything is sent.
    pub(crate) fn new(opaque_id: String, context: LaneContext, written: Checkpoint) -> Self {
        Lane {
            opaque_id,
            context,
            apart: AtomicBool::new(false),
            written: AtomicI64::new(written.get()),
        }
    }

    /// Applies portions until the sender is gone. After an error the lane is spent: its later writes must not overtake.
    ///
    /// The session lets a lane end by dropping the sender and waiting, never by dropping the lane's future in the middle
    /// of a bulk: an abandoned bulk could land after writes of the next session.
    pub(crate) async fn run(self, mut portions: mpsc::Receiver<Portion>, done: mpsc::Sender<Applied>) {
        while let Some(portion) = portions.recv().await {
            let mut batches = vec![portion.batch];
            let mut writes = portion.writes;
            let mut bytes: usize = writes.iter().map(Write::weight).sum();
            // Under load, fill the bulk from what is already waiting.
            while bytes < BULK_BYTES / 2 && writes.len() < BULK_OPS / 2 {
                let Ok(more) = portions.try_recv() else { break };
                bytes += more.writes.iter().map(Write::weight).sum::<usize>();
                batches.push(more.batch);
                writes.extend(more.writes);
            }
            if let Err(error) = self.apply(writes).await {
                // The session may be gone already; then nobody needs to know.
                let _ = done.send(Err(error)).await;
                return;
            }
            let written = Checkpoint::new(self.written.load(Ordering::Relaxed));
            for batch in batches {
                if done.send(Ok(AppliedPortion { batch, written })).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Applies writes in order, in as many requests as their sizes and kinds take.
    async fn apply(&self, writes: Vec<Write>) -> Result<(), ApplyError> {
        let mut bulk = Vec::new();
        let mut bytes = 0;
        for write in writes {
            if write.needs_own_request() {
                self.bulk(std::mem::take(&mut bulk)).await?;
                bytes = 0;
                self.bulk(vec![write]).await?;
                continue;
            }
            let weight = write.weight();
            if !bulk.is_empty() && (bytes + weight > BULK_BYTES || bulk.len() >= BULK_OPS) {
                self.bulk(std::mem::take(&mut bulk)).await?;
                bytes = 0;
            }
            bytes += weight;
            bulk.push(write);
        }
        self.bulk(bulk).await
    }

    /// One request, repeated for what the target turns away, until all of it is applied.
    async fn bulk(&self, mut writes: Vec<Write>) -> Result<(), ApplyError> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        while !writes.is_empty() {
            let count = writes.len() as u64;
            let begun = Instant::now();
            let span =
                slipstream_trace::sampled_span!("bulk", shard = %self.context.shard, operations = count);
            let leftover = self.send(writes).instrument(span).await?;
            if leftover.index_missing {
                return Err(ApplyError::IndexMissing(self.context.shard.clone()));
            }
            if let Some((write, error)) = leftover.rejected {
                return Err(self.rejected(&write, format!("{}: {}", error.kind, error.reason)));
            }
            let wrote = count - leftover.again.len() as u64;
            self.context.status.wrote(wrote, begun.elapsed());
            if !leftover.conflicts.is_empty() {
                self.win_conflicts(leftover.conflicts).await?;
            }
            writes = leftover.again;
            match leftover.reason {
                None => {
                    self.context.bulks.gate.went_through();
                    self.apart.store(false, Ordering::Relaxed);
                }
                Some((reason, text)) => {
                    self.apart.store(true, Ordering::Relaxed);
                    self.turned_away(reason, &text);
                    sleep(backoff.next()).await;
                }
            }
        }
        self.context.status.moving();
        Ok(())
    }

    fn turned_away(&self, reason: RetryReason, text: &str) {
        let label = match reason {
            RetryReason::Throttled => "throttled",
            RetryReason::Unavailable => "unavailable",
            RetryReason::Blocked => "blocked",
        };
        metrics::bulk_retry(label);
        let throttled = matches!(reason, RetryReason::Throttled);
        self.context.status.retried(throttled);
        let remedy = match reason {
            RetryReason::Blocked => " (remove the block, or free disk space if it is the flood stage)",
            RetryReason::Throttled | RetryReason::Unavailable => "",
        };
        self.context.status.wait_for(
            event::BULK_BACKING_OFF,
            &format!("the target ({label}): {text}{remedy}"),
        );
        if throttled {
            self.context.bulks.gate.pushed_back();
        }
    }

    pub(super) fn rejected(&self, write: &Write, reason: String) -> ApplyError {
        let seq_no = write.seq_no();
        let id = write.doc().id.as_str();
        tracing::error!(event = event::BULK_REJECTED, shard = %self.context.shard, id, seq_no = seq_no.map(SeqNo::get), reason, "the target rejected a document");
        ApplyError::Rejected {
            shard: self.context.shard.clone(),
            id: id.to_owned(),
            seq_no,
            reason,
        }
    }

    /// Sends writes until the request as a whole has an answer, and sorts it.
    pub(super) async fn send(&self, writes: Vec<Write>) -> Result<Leftover, ApplyError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let (index, id) = (&self.context.index, self.opaque_id.as_str());
            let shared = if self.apart.load(Ordering::Relaxed) {
                None
            } else {
                self.context.bulks.together(index, &writes).await
            };
            let is_shared = shared.is_some();
            let answer = match shared {
                Some(answer) => answer,
                None => self.context.bulks.alone(index, &writes, id).await,
            };
            let error = match answer {
                Ok(outcomes) => {
                    let leftover = sort(writes, outcomes);
                    self.went_on(leftover.written)?;
                    return Ok(leftover);
                }
                Err(error) => error,
            };
            self.apart.store(true, Ordering::Relaxed);
            let (label, unknown) = match error.kind {
                ErrorKind::Throttled => ("throttled", false),
                ErrorKind::Unreachable => ("unreachable", false),
                ErrorKind::Blocked => ("blocked", false),
                ErrorKind::Unauthorized | ErrorKind::Forbidden => ("forbidden", false),
                ErrorKind::Unknown | ErrorKind::Server | ErrorKind::Protocol => ("unknown", true),
                // What this lane has may do by itself.
                _ if is_shared => continue,
                ErrorKind::NotFound => return Err(ApplyError::IndexMissing(self.context.shard.clone())),
                ErrorKind::TooLarge if writes.len() > 1 => return self.halves(writes).await,
                _ => {
                    return Err(ApplyError::Target {
                        shard: self.context.shard.clone(),
                        source: error,
                    });
                }
            };
            metrics::bulk_retry(label);
            self.context.status.retried(label == "throttled");
            self.context.status.wait_for(
                event::BULK_BACKING_OFF,
                &format!("the target: {}", crate::chain(&error)),
            );
            sleep(backoff.next()).await;
            if unknown {
                settle(&self.context, &[&self.opaque_id]).await;
            }
        }
    }

    /// A shard gives higher and higher sequence numbers. One that begins again is of another index: the engines make one that is
    /// missing for whoever writes to it.
    fn went_on(&self, written: Option<(Checkpoint, Checkpoint)>) -> Result<(), ApplyError> {
        let Some((least, highest)) = written else {
            return Ok(());
        };
        let before = self.written.fetch_max(highest.get(), Ordering::Relaxed);
        if least.get() > before {
            return Ok(());
        }
        Err(ApplyError::IndexReplaced(self.context.shard.clone()))
    }

    /// The target refuses requests of this size: sends the halves one after the other.
    async fn halves(&self, mut writes: Vec<Write>) -> Result<Leftover, ApplyError> {
        let back = writes.split_off(writes.len() / 2);
        Box::pin(self.bulk(writes)).await?;
        Box::pin(self.send(back)).await
    }
}
