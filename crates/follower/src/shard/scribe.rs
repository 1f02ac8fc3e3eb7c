//! Keeping the map up with what is written, a moment behind, for all shards at once.
//!
//! Every operation has to be remembered, and for most nobody needs to wait until it is: what is newer than anything that the map knows cannot
//! have been overtaken. Such documents are noted here, and within [`PAUSE`] all that were noted meanwhile, of whatever shards, are
//! one write to the store. What the end of this agent takes with it is found again on the target (`session/found.rs`).
//!
//! - **In order within a shard**: who looks into the map or changes it otherwise first lets its notes be written ([`Scribe::settle`]).
//! - **With the place**: a shard stores its place only after that, too, so what may be missing was sent later.
//! - **Bounded**: who would note too much writes it.
//! - **A write that fails** leaves the notes where they are; the shards hear of it when they settle, at the latest with the next place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_model::{DocRef, IndexName, SeqNo, ShardKey};
use slipstream_store::{Remember, ShardStore, StoreError};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{blocking, lock};

/// How long notes may wait for others to be written with.
const PAUSE: Duration = Duration::from_millis(20);
/// So many notes are written at once, whoever has to wait for it.
const MOST: usize = 8_192;

/// Takes notes for all shards.
#[derive(Debug, Default)]
pub(crate) struct Scribe {
    notes: Arc<Mutex<Notes>>,
    /// Held while notes are being written, by whoever does it.
    writing: Arc<tokio::sync::Mutex<()>>,
    noted: Notify,
}

/// What is not in the store yet.
#[derive(Debug, Default)]
struct Notes {
    shards: HashMap<ShardKey, ShardNotes>,
    count: usize,
    /// The scribe was told of what there is.
    told: bool,
}

#[derive(Debug)]
struct ShardNotes {
    store: ShardStore,
    /// Documents to be remembered, ascending.
    written: Vec<(SeqNo, DocRef)>,
    /// Documents to be forgotten at the sequence numbers of their deletes, which are among those above or in the store.
    deleted: Vec<(SeqNo, String)>,
}

impl Scribe {
    /// Writes what is noted, a moment later, until the token is cancelled. What is noted then is for those who settle.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let writing = async {
            loop {
                self.noted.notified().await;
                sleep(PAUSE).await;
                if let Err(error) = self.write(None).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "documents could not be remembered yet"
                    );
                }
            }
        };
        shutdown.run_until_cancelled(writing).await;
    }

    /// Notes documents to be remembered, each at a higher sequence number than all before it and all that the map knows.
    pub(super) async fn written(
        &self,
        shard: &ShardKey,
        store: &ShardStore,
        docs: Vec<(SeqNo, DocRef)>,
    ) -> Result<(), StoreError> {
        self.note(docs.len(), |notes| notes.of(shard, store).written.extend(docs))
            .await
    }

    /// Notes documents to be forgotten, at the sequence numbers of their deletes.
    pub(super) async fn deleted(
        &self,
        shard: &ShardKey,
        store: &ShardStore,
        docs: Vec<(SeqNo, String)>,
    ) -> Result<(), StoreError> {
        self.note(docs.len(), |notes| notes.of(shard, store).deleted.extend(docs))
            .await
    }

    /// Returns once all is written that was noted of a shard.
    pub(super) async fn settle(&self, shard: &ShardKey) -> Result<(), StoreError> {
        self.write(Some(shard)).await
    }

    /// Drops what is left of an index that is not followed any more: notes that could not be written.
    pub(crate) async fn forget(&self, index: &IndexName) {
        // What is being written now is written before the index is removed.
        let _turn = self.writing.lock().await;
        lock(&self.notes).drop_index(index);
    }

    async fn note(&self, count: usize, note: impl FnOnce(&mut Notes)) -> Result<(), StoreError> {
        if lock(&self.notes).count + count > MOST {
            self.write(None).await?;
        }
        let first = {
            let mut notes = lock(&self.notes);
            note(&mut notes);
            notes.count += count;
            !std::mem::replace(&mut notes.told, true)
        };
        if first {
            self.noted.notify_one();
        }
        Ok(())
    }

    /// Writes the notes of one shard or of all. Whoever waits for this may be dropped: what it has begun ends by itself, and whoever comes
    /// next waits for that.
    async fn write(&self, only: Option<&ShardKey>) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.writing).lock_owned().await;
        let taken = lock(&self.notes).take(only);
        if taken.is_empty() {
            return Ok(());
        }
        let notes = Arc::clone(&self.notes);
        blocking(move || {
            let written = write(&taken);
            if written.is_err() {
                lock(&notes).put_back(taken);
            }
            drop(turn);
            written
        })
        .await
    }
}

impl Notes {
    fn of(&mut self, shard: &ShardKey, store: &ShardStore) -> &mut ShardNotes {
        let empty = || ShardNotes {
            store: store.clone(),
            written: Vec::new(),
            deleted: Vec::new(),
        };
        self.shards.entry(shard.clone()).or_insert_with(empty)
    }

    fn take(&mut self, only: Option<&ShardKey>) -> HashMap<ShardKey, ShardNotes> {
        let taken = match only {
            None => {
                self.told = false;
                std::mem::take(&mut self.shards)
            }
            Some(shard) => self.shards.remove_entry(shard).into_iter().collect(),
        };
        self.count -= taken.values().map(ShardNotes::count).sum::<usize>();
        taken
    }

    fn drop_index(&mut self, index: &IndexName) {
        let Notes { shards, count, .. } = self;
        shards.retain(|shard, notes| {
            let stays = shard.index != *index;
            if !stays {
                *count -= notes.count();
            }
            stays
        });
    }

    /// Puts notes back that were taken, before what was noted since.
    fn put_back(&mut self, taken: HashMap<ShardKey, ShardNotes>) {
        for (shard, mut notes) in taken {
            self.count += notes.count();
            if let Some(since) = self.shards.remove(&shard) {
                notes.written.extend(since.written);
                notes.deleted.extend(since.deleted);
            }
            self.shards.insert(shard, notes);
        }
    }
}

impl ShardNotes {
    fn count(&self) -> usize {
        self.written.len() + self.deleted.len()
    }
}

/// What is forgotten was remembered first, and what came back since stays: it is known at a higher sequence number then.
fn write(notes: &HashMap<ShardKey, ShardNotes>) -> Result<(), StoreError> {
    let docs: Vec<(&ShardStore, Vec<_>)> = notes
        .values()
        .map(|notes| {
            let docs = notes.written.iter().map(|(seq_no, doc)| (*seq_no, doc));
            (&notes.store, docs.collect())
        })
        .collect();
    let parts: Vec<_> = docs
        .iter()
        .map(|(shard, docs)| Remember {
            shard,
            docs,
            newer: true,
        })
        .collect();
    ShardStore::remember_all(&parts)?;
    for notes in notes.values().filter(|notes| !notes.deleted.is_empty()) {
        notes.store.forget(&notes.deleted)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use slipstream_model::ShardId;
    use slipstream_store::Store;
    use tempfile::TempDir;

    use super::*;

    struct Ground {
        scribe: Arc<Scribe>,
        store: Store,
        _folder: TempDir,
    }

    impl Ground {
        fn new() -> Ground {
            let folder = tempfile::tempdir().unwrap();
            Ground {
                scribe: Arc::default(),
                store: Store::open(folder.path()).unwrap(),
                _folder: folder,
            }
        }

        fn shard(&self, index: &str) -> (ShardKey, ShardStore) {
            let key = ShardKey {
                index: index.into(),
                shard: ShardId(0),
            };
            let store = self.store.shard(&key.index, key.shard);
            (key, store)
        }

        async fn written(&self, index: &str, seqs: std::ops::Range<u64>) {
            let (key, store) = self.shard(index);
            let doc = |seq: u64| DocRef {
                id: format!("d{seq}"),
                routing: None,
            };
            let docs = seqs.map(|seq| (SeqNo::new(seq), doc(seq))).collect();
            self.scribe.written(&key, &store, docs).await.unwrap();
        }

        fn known(&self, index: &str) -> u64 {
            self.shard(index).1.count_buckets().unwrap().total()
        }
    }

    #[tokio::test]
    async fn what_is_noted_is_known_once_its_shard_has_settled() {
        let ground = Ground::new();
        ground.written("a", 0..10).await;
        ground.written("b", 0..5).await;
        assert_eq!((ground.known("a"), ground.known("b")), (0, 0));
        ground.scribe.settle(&ground.shard("a").0).await.unwrap();
        assert_eq!((ground.known("a"), ground.known("b")), (10, 0));
        ground.scribe.settle(&ground.shard("b").0).await.unwrap();
        assert_eq!(ground.known("b"), 5);
        assert_eq!(lock(&ground.scribe.notes).count, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_settles_is_written_a_moment_later() {
        let ground = Ground::new();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&ground.scribe).run(shutdown.clone()));
        for round in 0..3 {
            ground.written("a", round * 10..round * 10 + 10).await;
            ground.written("b", round..round + 1).await;
            while ground.known("b") <= round {
                sleep(PAUSE).await;
            }
            assert_eq!(ground.known("a"), round * 10 + 10, "of both in one write");
        }
        shutdown.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_document_that_came_back_is_not_forgotten_with_its_delete() {
        let ground = Ground::new();
        let (key, store) = ground.shard("a");
        let gone = |seq: u64, id: &str| vec![(SeqNo::new(seq), id.to_owned())];
        ground.written("a", 0..3).await;
        ground.scribe.deleted(&key, &store, gone(0, "d0")).await.unwrap();
        ground.scribe.deleted(&key, &store, gone(1, "d1")).await.unwrap();
        let again = DocRef {
            id: "d1".to_owned(),
            routing: None,
        };
        let again = vec![(SeqNo::new(7), again)];
        ground.scribe.written(&key, &store, again).await.unwrap();
        ground.scribe.settle(&key).await.unwrap();
        assert_eq!(
            store.seqs_of(&["d0", "d1", "d2"]).unwrap(),
            [None, Some(SeqNo::new(7)), Some(SeqNo::new(2))]
        );
    }

    #[tokio::test]
    async fn no_more_is_noted_than_may_be() {
        let ground = Ground::new();
        let half = MOST as u64 / 2;
        for round in 0..5 {
            ground.written("a", round * half..(round + 1) * half).await;
            assert!(lock(&ground.scribe.notes).count <= MOST);
        }
        assert!(ground.known("a") >= 3 * half);
    }

    #[tokio::test]
    async fn notes_that_are_put_back_come_before_those_since() {
        let ground = Ground::new();
        ground.written("a", 0..2).await;
        let taken = lock(&ground.scribe.notes).take(None);
        ground.written("a", 2..4).await;
        lock(&ground.scribe.notes).put_back(taken);
        let (key, _) = ground.shard("a");
        let notes = lock(&ground.scribe.notes).take(Some(&key));
        let seqs: Vec<_> = notes[&key].written.iter().map(|(seq, _)| seq.get()).collect();
        assert_eq!(seqs, [0, 1, 2, 3]);
        assert_eq!(lock(&ground.scribe.notes).count, 0);
    }

    /// A write that failed leaves notes behind, and so what is noted next must be written all the same.
    #[tokio::test(start_paused = true)]
    async fn notes_that_were_put_back_do_not_keep_the_next_from_being_written() {
        let ground = Ground::new();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&ground.scribe).run(shutdown.clone()));
        ground.written("a", 0..2).await;
        let taken = lock(&ground.scribe.notes).take(None);
        sleep(PAUSE * 2).await;
        lock(&ground.scribe.notes).put_back(taken);
        ground.written("b", 0..1).await;
        while (ground.known("a"), ground.known("b")) != (2, 1) {
            sleep(PAUSE).await;
        }
        shutdown.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn of_an_index_that_is_not_followed_any_more_nothing_is_written() {
        let ground = Ground::new();
        ground.written("gone", 0..5).await;
        ground.written("goes-on", 0..3).await;
        ground.scribe.forget(&"gone".into()).await;
        for index in ["gone", "goes-on"] {
            ground.scribe.settle(&ground.shard(index).0).await.unwrap();
        }
        assert_eq!((ground.known("gone"), ground.known("goes-on")), (0, 3));
        assert_eq!(lock(&ground.scribe.notes).count, 0);
    }

    #[tokio::test]
    async fn who_stops_waiting_for_a_write_does_not_undo_it() {
        let ground = Ground::new();
        ground.written("a", 0..1_000).await;
        let (key, _) = ground.shard("a");
        let mut settling = Box::pin(ground.scribe.settle(&key));
        assert!(futures::poll!(&mut settling).is_pending());
        drop(settling);
        ground.scribe.settle(&key).await.unwrap();
        assert_eq!(ground.known("a"), 1_000);
    }
}
