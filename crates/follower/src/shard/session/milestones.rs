//! What becomes true when the lanes have applied something: documents are forgotten, checkpoints stored (I2), the leader
//! acknowledged, credit granted anew.

use slipstream_model::DurableCheckpoint;
use slipstream_store::Scan;
use slipstream_wire::v1;

use super::super::End;
use super::super::ledger::Milestone;
use super::{Session, save};
use crate::{blocking, metrics};

impl Session<'_> {
    pub(super) async fn portion_applied(&mut self, batch: u64) -> Result<(), End> {
        let Some(done) = self.ledger.portion_applied(batch) else {
            return Ok(());
        };
        metrics::applied("index", done.indexed);
        if !done.forget.is_empty() {
            metrics::applied("delete", done.forget.len() as u64);
            let store = self.context.store.clone();
            // A document that came back meanwhile stays remembered.
            let forgotten = blocking(move || store.forget(&done.forget)).await?;
            if let Some(buckets) = &mut self.buckets {
                for seq_no in forgotten {
                    buckets.remove(seq_no);
                }
            }
        }
        self.account.applied(done.bytes);
        self.reach().await?;
        self.grant().await
    }

    /// Stores what has become true (I2), and tells the leader of a new checkpoint.
    pub(super) async fn reach(&mut self) -> Result<(), End> {
        let reached = self.ledger.reached();
        if reached.is_empty() {
            return Ok(());
        }
        let mut sealed = None;
        for milestone in reached {
            match milestone {
                Milestone::Scanned(scanned, term) => self.progress.scan = Some(Scan { scanned, term }),
                Milestone::Sealed(checkpoint) => {
                    self.progress.checkpoint = DurableCheckpoint::claim(checkpoint);
                    self.progress.scan = None;
                    sealed = Some(checkpoint);
                }
            }
        }
        if let Some(checkpoint) = sealed
            && checkpoint >= self.bootstrap_through
        {
            self.progress.reconciling = false;
        }
        save(&self.context.store, &self.progress).await?;
        if let Some(checkpoint) = sealed {
            self.context.status.durable_at(checkpoint);
            self.send(v1::follower_frame::Frame::Ack(v1::Ack {
                checkpoint: checkpoint.get(),
            }))
            .await?;
            self.check_bootstrapped().await?;
        }
        Ok(())
    }

    pub(super) async fn check_bootstrapped(&mut self) -> Result<(), End> {
        if self.progress.bootstrapped || self.progress.checkpoint.get() < self.bootstrap_through {
            return Ok(());
        }
        self.progress.bootstrapped = true;
        save(&self.context.store, &self.progress).await?;
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
