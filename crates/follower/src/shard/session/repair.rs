//! Writing documents again that the target has otherwise than the leader, while everything goes on.
//!
//! A repair is a part of the stream that comes once more (I4), with two things to mind. It takes the same way as a batch,
//! in the session's own task, so nothing of the stream is between its look at the map and its place in the lanes:
//!
//! - **A document of the leader's** is an operation that the leader had acknowledged when it was read (I1), at its sequence
//!   number. If the map knows the document at a higher one, something newer is on its way or there, and the repair is
//!   dropped (I3). If not, it is written at its version like any other; what stands in its way on the target with a higher
//!   version wins its conflict as after a version restart. What the stream brings later goes through the same lane, after it.
//! - **A document that the leader does not have** is deleted only if the map does not know its id: then no write of it was
//!   ever handed to a lane and not deleted again, and one that comes from now on comes after. So it is where the map is not
//!   whole (`fill.rs`): what it lacks was never handed to a lane either. An id that the map does know is the stream's affair:
//!   its delete is on its way, or the next census finds it.
//! - The map forgets nothing for it ([`Write::Foreign`]): by the time the delete is applied, the id may be the leader's.
//! - **Not while deletes are searched for**: what was found gone is deleted at the seal, without looking at the map again;
//!   a document that came back in between would be lost. And not while a shard is read again over what is there, for then
//!   the map does not tell which operation is the newer one.
//! - **Under the same history only** (I5): sequence numbers of another one say nothing here.
//!
//! It takes no credit, for the leader's reader did not send it; its size is bounded by the one who asks (I8). Milestones that
//! come after it wait for it, as for any batch.

use slipstream_model::{DocRef, HistoryUuid, Op};
use slipstream_wire::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::End;
use super::Session;
use super::intake::target_still_there;
use crate::apply::{Applied, Write};
use crate::{blocking, metrics};

/// What a comparison wants written again.
pub(crate) struct Repair {
    /// Documents as the leader has them.
    pub(crate) ops: Vec<Op>,
    /// What their sequence numbers belong to.
    pub(crate) history: HistoryUuid,
    /// The metadata that they need (I7).
    pub(crate) metadata: v1::MetadataVersions,
    /// Documents that the leader does not have.
    pub(crate) foreign: Vec<DocRef>,
    /// Told once everything is applied; dropped without a word where the session ends before.
    pub(crate) reply: Reply,
}

/// What was done, or why it cannot be done now.
pub(crate) type Reply = oneshot::Sender<Result<Repaired, &'static str>>;

/// How much was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// Documents of the leader's that were written again.
    pub(crate) written: u64,
    /// Documents that were deleted.
    pub(crate) deleted: u64,
}

impl Session<'_> {
    /// Takes a repair in between two frames of the stream.
    pub(super) async fn repair(
        &mut self,
        repair: Repair,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        if let Some(why) = self.not_now(&repair) {
            // Whoever asked may have gone away.
            _ = repair.reply.send(Err(why));
            return Ok(());
        }
        self.metadata(repair.metadata, cancel).await?;
        target_still_there(self.context, cancel).await?;
        let ops = self.remember(repair.ops).await?;
        let foreign = self.unknown(repair.foreign).await?;
        let counts = Repaired {
            written: ops.len() as u64,
            deleted: foreign.len() as u64,
        };
        let writes = ops.into_iter().map(Write::Op);
        let writes = writes.chain(foreign.into_iter().map(Write::Foreign)).collect();
        match self.dispatch(writes, 0, applied, cancel).await? {
            Some(batch) => _ = self.repairs.insert(batch, (counts, repair.reply)),
            None => _ = repair.reply.send(Ok(counts)),
        }
        Ok(())
    }

    fn not_now(&self, repair: &Repair) -> Option<&'static str> {
        if self.progress.reconciling {
            Some("the shard is being read again from the start")
        } else if self.search.is_some() || !self.gone.is_empty() {
            Some("deletes are being searched for")
        } else if self.progress.history.as_ref() != Some(&repair.history) {
            Some("the history of the shard has changed on the leader")
        } else {
            None
        }
    }

    /// Those of the documents that the leader never had, as far as the map knows.
    async fn unknown(&self, docs: Vec<DocRef>) -> Result<Vec<DocRef>, End> {
        self.settle().await?;
        let store = self.context.store.clone();
        let unknown = blocking(move || {
            let ids: Vec<&str> = docs.iter().map(|doc| doc.id.as_str()).collect();
            let known = store.seqs_of(&ids)?;
            let pairs = docs.into_iter().zip(known);
            Ok(pairs
                .filter(|(_, known)| known.is_none())
                .map(|(doc, _)| doc)
                .collect())
        });
        Ok(unknown.await?)
    }

    /// A batch is applied: tells the one who waits for it, if it was a repair.
    pub(super) fn repaired(&mut self, batch: u64) {
        if let Some((counts, reply)) = self.repairs.remove(&batch) {
            metrics::repaired(counts.written, counts.deleted);
            // Whoever asked may have gone away.
            _ = reply.send(Ok(counts));
        }
    }
}
