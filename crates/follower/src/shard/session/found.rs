//! What the end of this agent took from the map is found again, on the target.
//!
//! The map follows what is written a moment behind ([`super::super::scribe`]). When the agent dies, or its host does, it may lack the documents
//! that were written last, and where the leader is read by windows, one of these that is deleted on the leader before it comes again
//! would stay on the target for good. So a session that finds the mark of an earlier run first looks for them:
//!
//! - **Where**: with its place a shard's whole map was stored, and synced. What came later was sent later, so it has on the
//!   target higher sequence numbers than any that the target had given by then; that number is stored with the place
//!   ([`Trail`]). That is about a second's writes, however large the shard.
//! - **Nothing is under way meanwhile**: what earlier runs had sent has ended (`settle`), and this session has sent nothing.
//! - **At which sequence number of the leader's**: the target does not know. If the leader still has the document, its operation lies above
//!   the stored place and comes again, so the number right behind that place is low enough for it to replace. If not, the
//!   document is one that the leader does not have there, and the next census finds it: documents that share
//!   a number are all looked up (`deletes.rs`).
//! - **What the map knows stays where it is**: an operation that was lost for it comes again, or the document is found gone.
//! - **What was restored** and is not in the map yet (`fill.rs`) lies below anything written, and is left to that.
//! - **Order** (I3): an operation that comes again may be older than one that the map has lost. The target refuses it, its conflict is won
//!   (`conflict.rs`), and the newer one comes right behind it.

use slipstream_cluster::ClusterError;
use slipstream_model::Checkpoint;
use slipstream_store::{ShardProgress, Trail};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::listing::Listing;
use super::super::{End, ShardContext};
use super::fill::until;
use super::intake::target_still_there;
use super::save;
use crate::blocking;

/// How far the shard has come, with all in the map that an earlier run may not have remembered.
pub(super) async fn progress(
    context: &ShardContext,
    cancel: &CancellationToken,
) -> Result<ShardProgress, End> {
    // Of an earlier session in this run.
    context.scribe.settle(&context.key).await?;
    let store = context.store.clone();
    let mut progress = blocking(move || store.progress()).await?;
    let another = |trail: &Trail| trail.run.as_ref().is_some_and(|run| run != context.store.run());
    let Some(trail) = progress.trail.clone().filter(another) else {
        return Ok(progress);
    };
    let begun = Instant::now();
    let documents = take_in(context, &progress, trail.above, cancel).await?;
    progress.trail = Some(Trail { run: None, ..trail });
    save(&context.store, &progress).await?;
    tracing::info!(
        shard = %context.key, documents, took = ?begun.elapsed(),
        "the agent did not end in order: documents that it may not have remembered were looked for on the target"
    );
    Ok(progress)
}

/// Returns how many documents the map did not have.
async fn take_in(
    context: &ShardContext,
    progress: &ShardProgress,
    above: Checkpoint,
    cancel: &CancellationToken,
) -> Result<u64, End> {
    let (cluster, index, shard) = (
        &context.lane.bulks.cluster,
        &context.lane.index,
        context.key.shard,
    );
    let _turn = until(cancel, context.budget.listing()).await?;
    target_still_there(context, cancel).await?;
    let opened = until(cancel, context.metadata.opened()).await?;
    opened.map_err(|error| passing(&error))?;
    let restored = progress
        .unmapped
        .map_or(Checkpoint::NONE, |unmapped| unmapped.through);
    let after = above.max(restored);
    let listing = Listing::of_all_applied(cluster, index, shard, after, None);
    let mut listing = until(cancel, listing).await?.map_err(|error| passing(&error))?;
    let scanned = progress
        .scan
        .as_ref()
        .map_or(Checkpoint::NONE, |scan| scan.scanned);
    let at = progress.checkpoint.get().max(scanned).next();
    let mut documents = 0;
    while let Some(page) = until(cancel, listing.next())
        .await?
        .map_err(|error| passing(&error))?
    {
        let (store, progress) = (context.store.clone(), progress.clone());
        documents += blocking(move || {
            let docs: Vec<_> = page.docs.iter().map(|(_, doc)| (at, doc)).collect();
            store.adopt(&docs, &progress)
        })
        .await?;
    }
    Ok(documents)
}

/// The target can be asked again, by another session.
fn passing(error: &ClusterError) -> End {
    End::Passing(format!(
        "documents that this agent may not have remembered could not be looked for on the target: {}",
        crate::chain(error)
    ))
}
