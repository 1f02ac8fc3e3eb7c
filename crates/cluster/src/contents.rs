//! All documents of a shard, read once, and what tells two shards' documents apart: a fingerprint of each, and sums of
//! those over buckets of ids, which do not depend on the order of reading.
//!
//! The two sides of a comparison may be of different engines, so nothing here is asked of the engines but the documents
//! themselves. Format and digest are part of the agents' protocol (`contents.proto`).

use ring::digest::{Context, SHA256, digest};
use slipstream_model::{
    Change, Checkpoint, DocRef, GlobalCheckpoint, HistoryUuid, IndexName, Op, SeqRange, ShardId, Version,
};

use crate::client::Cluster;
use crate::error::{ErrorKind, Result};
use crate::pages::PageQuery;
use crate::searcher::Searcher;
use crate::stats::ShardSeqStats;

/// How many buckets ids are spread over.
const BUCKETS: usize = 4096;

/// Documents in a page at most; halved and more where they are large.
const PAGE: usize = 2_000;
/// The largest answer for a page of several documents, and of one.
const PAGE_BYTES: usize = 24 << 20;
const DOCUMENT_BYTES: usize = 256 << 20;

/// What a document is told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Id and routing.
    pub doc: DocRef,
    /// Its version.
    pub version: Version,
    /// Over routing, version and source.
    pub digest: u128,
}

impl Fingerprint {
    /// Of a document as it was read; `None` for what is no document.
    pub fn of(op: &Op) -> Option<Fingerprint> {
        let Change::Index { source } = &op.change else {
            return None;
        };
        let mut context = Context::new(&SHA256);
        match &op.doc.routing {
            Some(routing) => {
                context.update(&(routing.len() as u64).to_be_bytes());
                context.update(routing.as_bytes());
            }
            None => context.update(&u64::MAX.to_be_bytes()),
        }
        context.update(&op.version.0.to_be_bytes());
        context.update(source);
        let bytes = context.finish();
        let half = bytes.as_ref().first_chunk().copied().unwrap_or_default();
        Some(Fingerprint {
            doc: op.doc.clone(),
            version: op.version,
            digest: u128::from_be_bytes(half),
        })
    }

    /// The bucket of its id.
    pub fn bucket(&self) -> usize {
        let hash = digest(&SHA256, self.doc.id.as_bytes());
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        usize::from(u16::from_be_bytes(first)) % BUCKETS
    }
}

/// Sums over the buckets of a shard's documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests(Vec<(u64, u128)>);

impl Default for Digests {
    fn default() -> Self {
        Digests(vec![(0, 0); BUCKETS])
    }
}

impl Digests {
    /// Adds a document.
    pub fn add(&mut self, document: &Fingerprint) {
        let (count, sum) = &mut self.0[document.bucket()];
        *count += 1;
        *sum = sum.wrapping_add(document.digest);
    }

    /// How many documents there are.
    pub fn documents(&self) -> u64 {
        self.0.iter().map(|(count, _)| count).sum()
    }

    /// The buckets in which two shards differ, with the number of documents that both have there.
    pub fn differing(&self, other: &Digests) -> Vec<(usize, u64)> {
        let pairs = self.0.iter().zip(&other.0).enumerate();
        pairs
            .filter(|(_, (left, right))| left != right)
            .map(|(bucket, (left, right))| (bucket, left.0 + right.0))
            .collect()
    }

    /// As they travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BUCKETS * 24);
        for (count, sum) in &self.0 {
            bytes.extend_from_slice(&count.to_be_bytes());
            bytes.extend_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// From what [`Digests::to_bytes`] made; `None` from anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Digests> {
        let (entries, rest) = bytes.as_chunks::<24>();
        if entries.len() != BUCKETS || !rest.is_empty() {
            return None;
        }
        let entries = entries.iter().map(|entry| {
            let (count, sum) = entry.split_at(8);
            let count = u64::from_be_bytes(count.try_into().ok()?);
            Some((count, u128::from_be_bytes(sum.try_into().ok()?)))
        });
        entries.collect::<Option<Vec<_>>>().map(Digests)
    }
}

impl Cluster {
    /// Reads all documents of a shard once, after a refresh, and hands each one's fingerprint to `take`. Returns what the
    /// shard had acknowledged before it was read. What changes meanwhile may be seen as it was, as it is, or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the index has no such shard with a started primary; [`ErrorKind::Incomplete`] if the
    /// primary moves meanwhile.
    pub async fn fingerprints(
        &self,
        index: &IndexName,
        shard: ShardId,
        mut take: impl FnMut(Fingerprint),
    ) -> Result<GlobalCheckpoint> {
        self.refresh(index).await?;
        let place = self.place(index, shard).await?;
        let take = |op: &Op| {
            if let Some(fingerprint) = Fingerprint::of(op) {
                take(fingerprint);
            }
        };
        self.read_through(index, shard, &place, place.max_seq_no, take)
            .await?;
        Ok(place.global_checkpoint)
    }

    /// Reads all documents of a shard once, after a refresh, as far as they are acknowledged, and hands each one's operation
    /// to `take`. Returns the history that their sequence numbers belong to. A document whose newest state is not
    /// acknowledged yet is left out.
    ///
    /// # Errors
    /// As [`Cluster::fingerprints`].
    pub async fn acknowledged_documents(
        &self,
        index: &IndexName,
        shard: ShardId,
        take: impl FnMut(&Op),
    ) -> Result<HistoryUuid> {
        // Asked before the refresh: what was acknowledged by then is final, and can be found after it.
        let place = self.place(index, shard).await?;
        self.refresh(index).await?;
        self.read_through(index, shard, &place, place.global_checkpoint.0, take)
            .await?;
        Ok(place.history_uuid)
    }

    async fn read_through(
        &self,
        index: &IndexName,
        shard: ShardId,
        place: &ShardSeqStats,
        through: Checkpoint,
        mut take: impl FnMut(&Op),
    ) -> Result<()> {
        let target = Searcher::new(index.clone(), shard, place.node.clone());
        let most = PAGE.min(self.most_in_an_answer(index).await?);
        let (mut read, mut size) = (Checkpoint::NONE, most);
        while read < through {
            let query = PageQuery {
                target: &target,
                range: SeqRange::new(read, through),
                unbounded: false,
                size,
                max_bytes: if size == 1 { DOCUMENT_BYTES } else { PAGE_BYTES },
                count_live: false,
            };
            let page = match self.read_page(&query).await {
                Err(error) if error.kind == ErrorKind::TooLarge && size > 1 => {
                    size = (size / 8).max(1);
                    continue;
                }
                page => page?,
            };
            read = match page.ops.last() {
                Some(last) if page.full => last.seq_no.as_checkpoint(),
                _ => through,
            };
            size = (size * 2).min(most);
            page.ops.iter().for_each(&mut take);
        }
        Ok(())
    }

    async fn place(&self, index: &IndexName, shard: ShardId) -> Result<ShardSeqStats> {
        let mut stats = self.seq_stats(std::slice::from_ref(index)).await?;
        let place = stats
            .remove(index)
            .and_then(|mut stats| stats.shards.remove(&shard));
        place.ok_or_else(|| {
            let call = crate::client::Call::get(format!("/{index}/_stats"), "");
            self.error(ErrorKind::NotFound, &call)
                .with_reason(format!("[{index}][{shard}] has no started primary"))
        })
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::{PrimaryTerm, SeqNo};

    use super::*;

    fn document(id: &str, routing: Option<&str>, version: i64, source: &'static str) -> Fingerprint {
        let op = Op {
            seq_no: SeqNo::ZERO,
            term: PrimaryTerm(1),
            version: Version(version),
            doc: DocRef {
                id: id.to_owned(),
                routing: routing.map(str::to_owned),
            },
            change: Change::Index {
                source: source.as_bytes().into(),
            },
        };
        Fingerprint::of(&op).unwrap()
    }

    #[test]
    fn everything_that_a_user_would_notice_is_in_the_digest() {
        let one = document("a", None, 1, r#"{"n":1}"#);
        for other in [
            document("a", Some(""), 1, r#"{"n":1}"#),
            document("a", Some("r"), 1, r#"{"n":1}"#),
            document("a", None, 2, r#"{"n":1}"#),
            document("a", None, 1, r#"{"n": 1}"#),
        ] {
            assert_ne!(one.digest, other.digest, "{other:?}");
        }
        assert_eq!(one, document("a", None, 1, r#"{"n":1}"#));
        assert_eq!(one.bucket(), document("a", Some("r"), 9, "{}").bucket());
    }

    #[test]
    fn sums_do_not_depend_on_the_order_and_travel_whole() {
        let documents: Vec<_> = ["a", "b", "c", "d"].map(|id| document(id, None, 1, "{}")).into();
        let (mut left, mut right) = (Digests::default(), Digests::default());
        for document in &documents {
            left.add(document);
        }
        for document in documents.iter().rev() {
            right.add(document);
        }
        assert_eq!(left, right);
        assert_eq!(Digests::from_bytes(&left.to_bytes()), Some(left.clone()));
        assert_eq!(Digests::from_bytes(&left.to_bytes()[1..]), None);
        right.add(&document("e", None, 1, "{}"));
        let bucket = document("e", None, 1, "{}").bucket();
        assert_eq!(left.differing(&right).len(), 1);
        assert_eq!(left.differing(&right)[0].0, bucket);
        assert_eq!((left.documents(), right.documents()), (4, 5));
    }
}
