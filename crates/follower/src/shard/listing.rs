//! Documents of a follower shard, by the sequence numbers that they have on the target.
//!
//! For two kinds of documents that says something. A restore keeps the leader's sequence numbers, and whatever is written afterwards, by
//! whomever, gets one above all that was restored: so the documents at or below the highest of those are exactly the ones that nothing was
//! written to since. And what was written after the target had given a number lies above it. Another primary, another node and
//! merges change nothing about that.

use slipstream_cluster::{Cluster, ClusterError, ErrorKind, Searcher};
use slipstream_model::{Checkpoint, DocRef, IndexName, SeqNo, SeqRange, ShardId};

/// A listing of them, in the order of their sequence numbers.
pub(crate) struct Listing {
    cluster: Cluster,
    searcher: Searcher,
    /// Documents in a page: the most that the index gives.
    page: u64,
    rest: SeqRange,
}

/// A part of the listing.
pub(crate) struct Page {
    /// What is found, and where.
    pub(crate) docs: Vec<(SeqNo, DocRef)>,
    /// The listing is complete up to here.
    pub(crate) through: Checkpoint,
}

impl Page {
    /// The documents as the store takes them.
    pub(crate) fn refs(&self) -> Vec<(SeqNo, &DocRef)> {
        self.docs.iter().map(|(seq_no, doc)| (*seq_no, doc)).collect()
    }
}

impl Listing {
    /// Begins a listing of what lies in `range`, on the copy that is on `node`. It sees what that copy shows to searches.
    pub(crate) async fn of(
        cluster: &Cluster,
        index: &IndexName,
        shard: ShardId,
        node: &str,
        range: SeqRange,
    ) -> Result<Listing, ClusterError> {
        Ok(Listing {
            cluster: cluster.clone(),
            searcher: Searcher::new(index.clone(), shard, node),
            page: cluster.most_in_an_answer(index).await? as u64,
            rest: range,
        })
    }

    /// Begins a listing on the primary, with all that was applied to be seen: of what lies above `after`, and not above `through` if that
    /// is given.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] too where the shard has no primary.
    pub(crate) async fn of_all_applied(
        cluster: &Cluster,
        index: &IndexName,
        shard: ShardId,
        after: Checkpoint,
        through: Option<Checkpoint>,
    ) -> Result<Listing, ClusterError> {
        // First where the primary is: a copy that takes its place afterwards is refreshed with the others.
        let stats = cluster
            .seq_stats(std::slice::from_ref(index))
            .await?
            .remove(index);
        let Some(stats) = stats.and_then(|mut stats| stats.shards.remove(&shard)) else {
            let reason = format!("[{index}][{shard}] has no primary on the target");
            return Err(ClusterError::new(ErrorKind::Incomplete, cluster.url(), reason));
        };
        let range = SeqRange::new(after, through.unwrap_or(stats.max_seq_no).max(after));
        cluster.refresh(index).await?;
        Listing::of(cluster, index, shard, &stats.node, range).await
    }

    /// The next part; `None` at the end. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, ClusterError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        // A window, not all that is left: the engine sorts whatever the query finds. No two documents share a sequence number.
        let (window, rest) = self.rest.split_front(self.page);
        let docs = self
            .cluster
            .ids(&self.searcher, window, self.page as usize)
            .await?;
        self.rest = rest;
        Ok(Some(Page {
            docs,
            through: window.through,
        }))
    }

    /// How many documents the copy shows in all, whoever wrote them.
    pub(crate) async fn held(&self) -> Result<u64, ClusterError> {
        self.cluster.count(&self.searcher).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Map, json};
    use slipstream_cluster::BulkItem;
    use slipstream_model::{Change, Op, PrimaryTerm, Version};

    use super::*;
    use crate::testing::target;

    /// A listing may be gone on with at its very end, and what it says of the index then is compared with the map.
    #[tokio::test]
    async fn what_was_applied_is_seen_also_where_nothing_is_left_to_list() {
        let (sandbox, cluster) = target().await;
        let index = IndexName::new("i");
        let settings = [("index.refresh_interval".to_owned(), json!("-1"))].into();
        let mapping = RawValue::from_string("{}".to_owned()).unwrap();
        cluster
            .create_index(&index, &settings, &mapping, &Map::new())
            .await
            .unwrap();
        let op = Op {
            seq_no: SeqNo::ZERO,
            term: PrimaryTerm(1),
            version: Version(1),
            doc: DocRef {
                id: "a".to_owned(),
                routing: None,
            },
            change: Change::Index { source: "{}".into() },
        };
        cluster
            .bulk(&index, &[BulkItem::Index { op: &op }], "test")
            .await
            .unwrap();
        let end = Checkpoint::new(0);
        let mut listing = Listing::of_all_applied(&cluster, &index, ShardId(0), end, Some(end))
            .await
            .unwrap();
        assert!(listing.next().await.unwrap().is_none());
        assert_eq!(listing.held().await.unwrap(), 1);
        sandbox.stop().await;
    }
}
