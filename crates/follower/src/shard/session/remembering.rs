//! What a session has the map learn of what it writes: at once where the answer matters, else a moment later ([`super::super::scribe`]).
//!
//! The answer is where a document was known before. It matters
//!
//! - **for order** (I3): a reader that started again, on a copy that lags, may show an earlier state of a document than was already sent, and
//!   such an operation is dropped. None is, if its sequence number is above all that the map knows and this session has had; what comes in the
//!   order of the leader's log always is, the first time;
//! - **for the counts** of known documents, once a census has needed them;
//! - **while the shard is read again** after its history changed, for then its numbers say nothing.
//!
//! Before a session writes anything, it marks the shard as one whose map follows ([`Trail`]); when it ended in order, and all is remembered, the
//! mark is taken back. So a later run of the agent sees from which shards something may be missing ([`super::found`]).

use slipstream_model::{Buckets, Change, Op, SeqNo};
use slipstream_store::{Remember, ShardStore, StoreError, Trail};

use super::super::{End, ShardContext};
use super::{Session, save};
use crate::blocking;

impl Session<'_> {
    /// Remembers documents that are to be written, and drops operations that were overtaken.
    pub(super) async fn remember(&mut self, mut ops: Vec<Op>) -> Result<Vec<Op>, End> {
        self.mark().await?;
        ops.retain(|op| op.change != Change::Noop);
        let (Some(first), Some(last)) = (ops.first(), ops.last()) else {
            return Ok(ops);
        };
        let ascending = ops.is_sorted_by(|a, b| a.seq_no < b.seq_no);
        let new = ascending && Some(first.seq_no) > self.highest;
        let last = Some(last.seq_no);
        let ops = if new && !self.must_know_at_once() {
            let docs = ops.iter().map(|op| (op.seq_no, op.doc.clone())).collect();
            let ShardContext {
                scribe, key, store, ..
            } = self.context;
            scribe.written(key, store, docs).await?;
            ops
        } else {
            self.remember_at_once(ops).await?
        };
        self.highest = self.highest.max(last);
        Ok(ops)
    }

    fn must_know_at_once(&self) -> bool {
        self.progress.reconciling || self.buckets.is_some()
    }

    async fn remember_at_once(&mut self, mut ops: Vec<Op>) -> Result<Vec<Op>, End> {
        self.settle().await?;
        let (store, newer) = (self.context.store.clone(), !self.progress.reconciling);
        let call = move || remember(&store, newer, &ops).map(|before| (before, ops));
        let before;
        (before, ops) = blocking(call).await?;
        let mut moved = Vec::with_capacity(ops.len());
        let mut known = before.into_iter();
        ops.retain(|op| {
            let before = known.next().flatten();
            let overtaken = newer && before.is_some_and(|before| before > op.seq_no);
            if !overtaken {
                moved.push((before, op.seq_no));
            }
            !overtaken
        });
        self.recount(moved);
        Ok(ops)
    }

    /// Keeps the counts of known documents in step with what was remembered.
    fn recount(&mut self, moved: Vec<(Option<SeqNo>, SeqNo)>) {
        if self.progress.reconciling {
            self.buckets = None;
        } else if let Some(buckets) = &mut self.buckets {
            for (before, now) in moved {
                if let Some(before) = before {
                    buckets.remove(before);
                }
                buckets.add(now);
            }
        }
    }

    /// Forgets documents whose deletes are applied. One that came back meanwhile stays remembered.
    pub(super) async fn forget(&mut self, docs: Vec<(SeqNo, String)>) -> Result<(), End> {
        let ShardContext {
            scribe, key, store, ..
        } = self.context;
        if !self.must_know_at_once() {
            return Ok(scribe.deleted(key, store, docs).await?);
        }
        self.settle().await?;
        let store = store.clone();
        let forgotten = blocking(move || store.forget(&docs)).await?;
        if let Some(buckets) = &mut self.buckets {
            for seq_no in forgotten {
                buckets.remove(seq_no);
            }
        }
        Ok(())
    }

    /// The counts of known documents are made anew when a census needs them; until then nothing has to wait for them.
    pub(super) fn without_counts(&mut self) {
        if self.search.is_none() && self.gone.is_empty() {
            self.buckets = None;
        }
    }

    /// Counts what the map knows, all that was noted included.
    pub(super) async fn count(&mut self) -> Result<&Buckets, End> {
        self.settle().await?;
        let store = self.context.store.clone();
        let buckets = blocking(move || store.count_buckets()).await?;
        Ok(self.buckets.insert(buckets))
    }

    /// Returns once the map has all that was noted for it.
    pub(super) async fn settle(&self) -> Result<(), End> {
        Ok(self.context.scribe.settle(&self.context.key).await?)
    }

    /// Marks the shard, once: from now on its map may be behind when this run of the agent ends.
    async fn mark(&mut self) -> Result<(), End> {
        let run = self.context.store.run();
        let trail = self.progress.trail.get_or_insert_default();
        if trail.run.as_ref() == Some(run) {
            return Ok(());
        }
        trail.run = Some(run.clone());
        save(&self.context.store, &self.progress).await
    }
}

/// The session has ended and its lanes have: nothing is under way any more, so the mark is taken back once all is remembered.
pub(super) async fn unmark(context: &ShardContext) -> Result<(), StoreError> {
    context.scribe.settle(&context.key).await?;
    let store = context.store.clone();
    blocking(move || {
        let mut progress = store.progress()?;
        match &mut progress.trail {
            Some(trail @ Trail { run: Some(_), .. }) => trail.run = None,
            _ => return Ok(()),
        }
        store.save_progress(&progress)
    })
    .await
}

/// Where each document was known before.
fn remember(store: &ShardStore, newer: bool, ops: &[Op]) -> Result<Vec<Option<SeqNo>>, StoreError> {
    let docs: Vec<_> = ops.iter().map(|op| (op.seq_no, &op.doc)).collect();
    let part = Remember {
        shard: store,
        docs: &docs,
        newer,
    };
    Ok(ShardStore::remember_all(&[part])?.pop().unwrap_or_default())
}
