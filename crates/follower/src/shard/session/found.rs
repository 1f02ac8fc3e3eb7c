//! What a crash of the host took from the map is found again, on the target.
//!
//! Documents are remembered before they are written, but not synced: that would cost each operation as much again as the target's own
//! sync. Nothing is lost when this agent dies. When its host does, the map may lack the documents that were remembered last, and where the leader
//! is read by windows, one of these that is deleted on the leader before it comes again would stay on the target for good. So a session that
//! finds the host in another life than its shard was left in first looks for them:
//!
//! - **Where**: whatever the last stored place was stored with, was synced with it. What came later was written later, so it has on the
//!   target higher sequence numbers than any that the target had given by then; that number is stored with the place
//!   ([`Unsynced`]). That is about a second's writes, however large the shard.
//! - **Nothing is under way meanwhile**: what earlier lives had sent has ended (`settle`), and this session has sent nothing.
//! - **At which sequence number of the leader's**: the target does not know. If the leader still has the document, its operation lies above
//!   the stored place and comes again, so the number right behind that place is low enough for it to replace. If not, the
//!   document is one that the leader does not have there, and the next census finds it: documents that share
//!   a number are all looked up (`deletes.rs`).
//! - **What the map knows stays where it is**: an operation that was lost for it comes again, or the document is found gone.
//! - **What was restored** and is not in the map yet (`fill.rs`) lies below anything written, and is left to that.

use slipstream_cluster::ClusterError;
use slipstream_model::Checkpoint;
use slipstream_store::{ShardProgress, Unsynced};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::listing::Listing;
use super::super::{End, ShardContext};
use super::fill::until;
use super::intake::target_still_there;
use super::save;
use crate::blocking;

/// How far the shard has come, with all in the map that the host's last life may have taken from it.
pub(super) async fn progress(
    context: &ShardContext,
    cancel: &CancellationToken,
) -> Result<ShardProgress, End> {
    let store = context.store.clone();
    let mut progress = blocking(move || store.progress()).await?;
    let life = context.store.life();
    let in_another = |unsynced: &Unsynced| Some(&unsynced.life) != life;
    let Some(unsynced) = progress.unsynced.clone().filter(in_another) else {
        return Ok(progress);
    };
    let begun = Instant::now();
    let documents = take_in(context, &progress, unsynced.above, cancel).await?;
    progress.unsynced = life.map(|life| Unsynced {
        life: life.clone(),
        ..unsynced
    });
    save(&context.store, &progress).await?;
    tracing::info!(
        shard = %context.key, documents, took = ?begun.elapsed(),
        "the host was started anew since: documents that the store may have lost were looked for on the target"
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
        "what the store may have lost with the host could not be looked for on the target: {}",
        crate::chain(error)
    ))
}
