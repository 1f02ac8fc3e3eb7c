//! The map of a restored shard: as long as nothing was written to it, its sequence numbers are those of the leader.

use slipstream_cluster::{Cluster, Searcher, ShardSeqStats};
use slipstream_model::{Checkpoint, DocRef, IndexName, SeqNo, SeqRange, ShardId};
use slipstream_store::ShardStore;

use super::RestoreError;

/// Documents in a page: the most that engines answer.
const PAGE: usize = 10_000;

/// Puts all documents of a restored shard into its map.
pub(super) async fn remember_all(
    cluster: &Cluster,
    index: &IndexName,
    shard: ShardId,
    stats: &ShardSeqStats,
    store: &ShardStore,
) -> Result<(), RestoreError> {
    let searcher = Searcher::new(index.clone(), shard, stats.node.clone());
    let mut after = Checkpoint::NONE;
    while after < stats.max_seq_no {
        // A window, not all that is left: the engine sorts whatever the query finds. No two documents share a sequence number.
        let through = Checkpoint::new(after.get() + PAGE as i64).min(stats.max_seq_no);
        let page = cluster
            .ids(&searcher, SeqRange::new(after, through), PAGE)
            .await?;
        after = through;
        let store = store.clone();
        crate::blocking(move || {
            let docs: Vec<(SeqNo, &DocRef)> = page.iter().map(|(seq_no, doc)| (*seq_no, doc)).collect();
            store.remember(&docs)
        })
        .await?;
    }
    Ok(())
}
