//! Where the changes of a restored shard go on, and what its map has to hold for that.
//!
//! What comes again lies above the place that was read before the snapshot. Of that the snapshot may hold something newer already,
//! which only the map can tell: so the documents that were restored above the place are remembered, before anything follows. None
//! of the others is older than what comes, so the map can do without them until it has to be whole: that they are missing is
//! stored with the place ([`Unmapped`]), and a shard's session sees to it.

use slipstream_cluster::{Cluster, ShardSeqStats};
use slipstream_model::{Checkpoint, DurableCheckpoint, HistoryUuid, IndexName, SeqRange, ShardId};
use slipstream_store::{ShardProgress, Store, Unmapped};
use slipstream_wire::v1;

use super::RestoreError;
use crate::blocking;
use crate::budget::Budget;
use crate::shard::Listing;

/// What a restored shard goes on with.
pub(super) struct Restored<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) store: &'a Store,
    pub(super) budget: &'a Budget,
    pub(super) index: &'a IndexName,
    /// Where its changes go on.
    pub(super) place: &'a v1::Place,
    /// What it says of itself; nothing was written to it yet.
    pub(super) stats: &'a ShardSeqStats,
}

impl Restored<'_> {
    /// Stores the place, after what has to be remembered for it.
    pub(super) async fn remember(&self) -> Result<(), RestoreError> {
        let shard = ShardId(self.place.shard);
        let (place, restored) = (
            Checkpoint::new(self.place.global_checkpoint),
            self.stats.max_seq_no,
        );
        if restored < place {
            // What is written from now on would get sequence numbers of the leader's.
            return Err(RestoreError::Changed(format!(
                "[{}][{shard}] was restored up to {restored}, and {place} was acknowledged before the snapshot",
                self.index
            )));
        }
        let store = self.store.shard(self.index, shard);
        if place < restored {
            let _turn = self.budget.listing().await;
            let above = SeqRange::new(place, restored);
            let node = &self.stats.node;
            let mut listing = Listing::of(self.cluster, self.index, shard, node, above).await?;
            while let Some(page) = listing.next().await? {
                let store = store.clone();
                blocking(move || store.remember(&page.refs())).await?;
            }
        }
        let unmapped = Unmapped {
            after: Checkpoint::NONE,
            through: place,
        };
        let progress = ShardProgress {
            // The engine has synced what it restored, and it holds all of this.
            checkpoint: DurableCheckpoint::claim(place),
            history: Some(HistoryUuid::new(self.place.history_uuid.clone())),
            unmapped: place.last().map(|_| unmapped),
            ..ShardProgress::default()
        };
        Ok(blocking(move || store.save_progress(&progress)).await?)
    }
}
