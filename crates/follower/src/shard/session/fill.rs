//! Making the map whole, of a shard that began with the leader's files.
//!
//! Its map lacks what was restored and not written since ([`slipstream_store::Unmapped`]). Nothing of what follows needs that; a census does,
//! which compares with all that is known, and a search for deletes. So it is made whole for the first census that comes, and where
//! the leader's log is read there never is one. That late it is as good as right after the restore: what was not written since is still
//! found at the leader's sequence number ([`Listing`]), what was is in the map, and what was deleted is not there.
//!
//! - **Nothing is under way meanwhile**: first the lanes run dry, then the follower index is refreshed. A search could
//!   otherwise show a document whose delete the map has seen through, and it would be known for good.
//! - **Step by step**: the documents of a page are stored together with how far that is, so that it goes on there whenever the session, the
//!   agent or the target ends in the middle. The index is found to be the one that was restored before that (`still_there`).
//! - **What is known stays**: it is on its way to the target, or newer. That holds while the shard is read again after its
//!   history changed, too: whatever the leader still has is written anew before a census, so what is left
//!   here is what only the history before had.
//! - **What somebody else wrote** behind the agent's back has a sequence number above, and so is not found here. If the target holds more
//!   than the map then knows, the shard is read again, for a document that is missing in the map would outweigh one that is gone.
//!
//! The leader's reader waits for the answer as long as it takes; its agent says meanwhile that it is there, and the connection is kept by
//! itself. If the reader's point in time runs out, the round is abandoned and the next one is compared with a whole map.

use slipstream_cluster::ClusterError;
use slipstream_store::Unmapped;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::listing::Listing;
use super::super::{End, ShardContext};
use super::intake::target_still_there;
use super::{Session, save};
use crate::apply::Applied;
use crate::blocking;

impl Session<'_> {
    /// Returns when the map holds all that the target does.
    pub(super) async fn fill(
        &mut self,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let context = self.context;
        let Some(unmapped) = self.progress.unmapped else {
            return Ok(());
        };
        let begun = Instant::now();
        self.run_dry(applied, cancel).await?;
        self.settle().await?;
        let _turn = until(cancel, context.budget.listing()).await?;
        target_still_there(context, cancel).await?;
        tracing::info!(
            shard = %context.key, after = %unmapped.after, through = %unmapped.through,
            "the documents that were restored are being listed, for the leader is read by windows"
        );
        let mut listing = until(cancel, list(context, unmapped)).await??;
        let mut page = until(cancel, listing.next())
            .await?
            .map_err(|error| passing(&error))?;
        let mut documents = 0;
        while let Some(found) = page {
            let done = found.through;
            let mut progress = self.progress.clone();
            progress.unmapped = Some(Unmapped {
                after: done,
                ..unmapped
            });
            let store = context.store.clone();
            let stored = blocking(move || Ok((store.adopt(&found.refs(), &progress)?, progress)));
            // What is being stored must have ended before anything else happens here.
            let (stored, next) = tokio::join!(stored, until(cancel, listing.next()));
            let (new, progress) = stored?;
            self.progress = progress;
            documents += new;
            tracing::debug!(shard = %context.key, through = %done, documents, "a step of a listing is done");
            context.status.busy_with(format!(
                "its documents to be listed, up to sequence number {done} of {}",
                unmapped.through
            ));
            page = next?.map_err(|error| passing(&error))?;
        }
        let held = until(cancel, listing.held())
            .await?
            .map_err(|error| passing(&error))?;
        let foreign = held.saturating_sub(self.count().await?.total());
        if foreign > 0 && !self.progress.reconciling {
            return Err(self
                .read_again(
                    foreign,
                    "the target holds documents that were neither restored nor written by this agent",
                )
                .await);
        }
        self.progress.unmapped = None;
        save(&context.store, &self.progress).await?;
        context.status.moving();
        tracing::info!(shard = %context.key, documents, took = ?begun.elapsed(), "the restored documents are listed");
        Ok(())
    }

    /// Waits until the lanes have applied everything that they were given.
    async fn run_dry(
        &mut self,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        while !self.ledger.is_dry() {
            match until(cancel, applied.recv()).await? {
                Some(Ok(done)) => self.portion_applied(done).await?,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(End::Passing("the lanes ended".to_owned())),
            }
        }
        Ok(())
    }
}

/// Begins to list what was restored and not written since.
async fn list(context: &ShardContext, unmapped: Unmapped) -> Result<Listing, End> {
    let (index, shard) = (&context.lane.index, context.key.shard);
    let (after, through) = (unmapped.after, Some(unmapped.through));
    Listing::of_all_applied(&context.lane.bulks.cluster, index, shard, after, through)
        .await
        .map_err(|error| passing(&error))
}

/// The target can be asked again, by another session.
fn passing(error: &ClusterError) -> End {
    End::Passing(format!(
        "the restored documents could not be listed: {}",
        crate::chain(error)
    ))
}

/// What a future makes, unless the session is to end before.
pub(super) async fn until<T>(cancel: &CancellationToken, future: impl Future<Output = T>) -> Result<T, End> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(End::Cancelled),
        made = future => Ok(made),
    }
}
