//! Batches on their way in: checked, their metadata applied, their documents remembered, handed to the lanes.

use std::collections::BTreeMap;

use slipstream_model::{Change, Op};
use slipstream_wire::{decode_batch, v1};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::super::ledger::Done;
use super::super::{End, ShardContext};
use super::Session;
use crate::apply::{Applied, Portion, Write};
use crate::metrics;

impl Session<'_> {
    /// Takes batches that need the same metadata, as if they were one.
    pub(super) async fn batches(
        &mut self,
        batches: Vec<v1::Batch>,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let bytes = batches.iter().map(|batch| batch.block_bytes).sum();
        let span = slipstream_trace::sampled_span!("take batch", shard = %self.context.key, bytes);
        self.take_in(batches, bytes, applied, cancel)
            .instrument(span)
            .await
    }

    async fn take_in(
        &mut self,
        batches: Vec<v1::Batch>,
        bytes: u64,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let wire = batches.iter().map(|batch| batch.block_zstd.len() as u64).sum();
        let versions = batches
            .first()
            .and_then(|batch| batch.metadata)
            .unwrap_or_default();
        // What the leader counts against the credit, so what is counted here.
        metrics::received(wire, bytes);
        self.account.received(bytes);
        let mut ops = Vec::new();
        for batch in batches {
            let more = decode_batch(batch);
            let more =
                more.map_err(|e| End::Passing(format!("a batch arrived damaged: {}", crate::chain(&e))))?;
            ops.extend(more);
        }
        self.context.status.received(ops.len() as u64, bytes);
        self.metadata(versions, cancel).await?;
        target_still_there(self.context, cancel).await?;
        let ops = self.with_routing(ops);
        let ops = self.remember(ops).await?;
        self.dispatch(ops.into_iter().map(Write::Op).collect(), bytes, applied, cancel)
            .await
            .map(drop)
    }

    /// Brings the target's metadata up to date before anything that needs it is written (I7).
    pub(super) async fn metadata(
        &self,
        versions: v1::MetadataVersions,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        tokio::select! {
            result = self.context.metadata.ensure(versions, &self.context.status) => result.map_err(End::Final),
            () = cancel.cancelled() => Err(End::Cancelled),
        }
    }

    /// Gives deletes a routing that leads to this shard. The engines' logs keep none for them, and within a shard the id
    /// alone says which document is meant.
    fn with_routing(&self, mut ops: Vec<Op>) -> Vec<Op> {
        let Some(routing) = self.context.metadata.routing() else {
            return ops;
        };
        let shard = self.context.key.shard.0;
        for op in &mut ops {
            if op.change == Change::Delete && op.doc.routing.is_none() {
                op.doc.routing = routing.leading_to(shard, &op.doc.id);
            }
        }
        ops
    }

    /// Hands writes to the lanes, and gives the number under which the ledger has them, if there are any. While a lane is
    /// full, what the lanes finish is taken in.
    pub(super) async fn dispatch(
        &mut self,
        writes: Vec<Write>,
        bytes: u64,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<Option<u64>, End> {
        let mut portions: BTreeMap<usize, Vec<Write>> = BTreeMap::new();
        let (mut indexed, mut forget) = (0, Vec::new());
        for write in writes {
            match &write {
                Write::Gone(seq_no, doc)
                | Write::Op(Op {
                    change: Change::Delete,
                    seq_no,
                    doc,
                    ..
                }) => {
                    forget.push((*seq_no, doc.id.clone()));
                }
                Write::Op(_) => indexed += 1,
                Write::Foreign(_) => {}
            }
            portions
                .entry(write.lane(self.lanes.len()))
                .or_default()
                .push(write);
        }
        if portions.is_empty() {
            self.account.applied(bytes);
            self.grant().await?;
            return Ok(None);
        }
        let batch = self.ledger.enter(
            portions.len(),
            Done {
                bytes,
                indexed,
                forget,
            },
        );
        for (lane, writes) in portions {
            let lane = self.lanes[lane].clone();
            let place = loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(End::Cancelled),
                    place = lane.reserve() => break place,
                    done = applied.recv() => match done {
                        Some(Ok(done)) => self.portion_applied(done).await?,
                        Some(Err(error)) => return Err(error.into()),
                        None => return Err(End::Passing("the lanes ended".to_owned())),
                    },
                }
            };
            let Ok(place) = place else {
                // The lane ended on an error, which is on its way.
                return Err(lane_error(applied).await);
            };
            place.send(Portion { batch, writes });
        }
        Ok(Some(batch))
    }
}

/// Makes sure that the follower index is still the one that was made.
pub(super) async fn target_still_there(
    context: &ShardContext,
    cancel: &CancellationToken,
) -> Result<(), End> {
    tokio::select! {
        result = context.metadata.still_there(&context.status) => result.map_err(End::Final),
        () = cancel.cancelled() => Err(End::Cancelled),
    }
}

async fn lane_error(applied: &mut mpsc::Receiver<Applied>) -> End {
    while let Some(done) = applied.recv().await {
        if let Err(error) = done {
            return error.into();
        }
    }
    End::Passing("a lane ended".to_owned())
}
