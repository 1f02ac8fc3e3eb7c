//! What becomes true when the lanes have applied something: documents are forgotten, checkpoints stored (I2), the leader
//! acknowledged, credit granted anew.

use slipstream_model::DurableCheckpoint;
use slipstream_store::Scan;
use slipstream_wire::v1;
use tokio::time::Instant;

use super::super::End;
use super::super::ledger::Milestone;
use super::{SAVE_WITHIN, Session, save};
use crate::apply::AppliedPortion;
use crate::metrics;

impl Session<'_> {
    pub(super) async fn portion_applied(&mut self, portion: AppliedPortion) -> Result<(), End> {
        if let Some(trail) = &mut self.progress.trail {
            trail.above = trail.above.max(portion.written);
        }
        let Some(done) = self.ledger.portion_applied(portion.batch) else {
            return Ok(());
        };
        self.repaired(portion.batch);
        metrics::applied("index", done.indexed);
        if !done.forget.is_empty() {
            metrics::applied("delete", done.forget.len() as u64);
            self.forget(done.forget).await?;
        }
        self.account.applied(done.bytes);
        self.reach().await?;
        self.grant().await
    }

    /// Takes in what has become true. It is stored a little later, many at once: a checkpoint may be stored late, never
    /// early (I2), and nobody waits for it, except the end of the first copy.
    pub(super) async fn reach(&mut self) -> Result<(), End> {
        let reached = self.ledger.reached();
        if reached.is_empty() {
            return Ok(());
        }
        for milestone in reached {
            match milestone {
                Milestone::Scanned(scanned, term) => self.progress.scan = Some(Scan { scanned, term }),
                Milestone::Sealed(checkpoint) => {
                    self.progress.checkpoint = DurableCheckpoint::claim(checkpoint);
                    self.progress.scan = None;
                    self.context.status.durable_at(checkpoint);
                    if checkpoint >= self.bootstrap_through {
                        self.progress.reconciling = false;
                    }
                }
            }
        }
        self.unsaved.get_or_insert_with(|| Instant::now() + SAVE_WITHIN);
        self.check_bootstrapped().await
    }

    /// Stores the place if it has moved, and tells the leader.
    pub(super) async fn save(&mut self) -> Result<(), End> {
        if self.unsaved.take().is_none() {
            return Ok(());
        }
        // What is not remembered by now must have been sent after what the place says of the target.
        self.settle().await?;
        save(&self.context.store, &self.progress).await?;
        let checkpoint = self.progress.checkpoint.get();
        if checkpoint > self.acknowledged {
            self.acknowledged = checkpoint;
            // Not worth waiting for: the next one says more.
            let ack = v1::follower_frame::Frame::Ack(v1::Ack {
                checkpoint: checkpoint.get(),
            });
            let _ = self.to_leader.try_send(v1::FollowerFrame { frame: Some(ack) });
        }
        Ok(())
    }

    pub(super) async fn check_bootstrapped(&mut self) -> Result<(), End> {
        if self.progress.bootstrapped || self.progress.checkpoint.get() < self.bootstrap_through {
            return Ok(());
        }
        self.progress.bootstrapped = true;
        self.unsaved.get_or_insert_with(Instant::now);
        self.save().await?;
        self.context.bootstrapped.notify_one();
        Ok(())
    }

    pub(super) async fn grant(&mut self) -> Result<(), End> {
        match self.account.grant() {
            0 => Ok(()),
            bytes => {
                self.send(v1::follower_frame::Frame::Credit(v1::Credit { bytes }))
                    .await
            }
        }
    }
}
