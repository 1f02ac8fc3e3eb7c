//! What is kept of one shard: how far it is durable, and the map of the documents that the follower holds.
//!
//! The map is kept in both directions, `seq → document` and `id → seq`, and the two always agree: a document is known at
//! one sequence number. Whoever writes remembers what it writes before, or a moment behind; what such a map may lack after a sudden end is
//! told by [`ShardProgress::trail`]. A document is forgotten only after its delete was applied. Nothing else takes one out of the map,
//! not even another document at the same sequence number, as there is after the leader's history was rewritten: what
//! only the history before had is still on the target, and must be found there to be deleted.
//!
//! Where the target got documents otherwise, from the leader's files, the map need not hold them at once:
//! [`ShardProgress::unmapped`] says which it lacks, and [`ShardStore::adopt`] takes them in.

use std::collections::HashSet;
use std::sync::Arc;

use rocksdb::WriteBatch;
use slipstream_model::{Buckets, DocRef, IndexName, SeqNo, SeqRange, ShardId, ShardKey};

use crate::engine::Engine;
use crate::error::{Malformed, Result, StoreError};
use crate::records::ShardProgress;
use crate::run::Run;
use crate::store::{forget_all, from_json, to_json};
use crate::tuning::Family;
use crate::{keys, value};

/// Where a document stays that is known and comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// Where it came last.
    Last,
    /// At the highest sequence number.
    Newest,
    /// Where it is known.
    Known,
}

impl Stays {
    fn moves(self, known: SeqNo, to: SeqNo) -> bool {
        match self {
            Stays::Last => true,
            Stays::Newest => known <= to,
            Stays::Known => false,
        }
    }
}

/// One shard's part of the store. Clones share it. Calls that change the map of one shard wait for each other.
#[derive(Clone)]
pub struct ShardStore {
    engine: Arc<Engine>,
    shard: Arc<ShardKey>,
    prefix: Arc<[u8]>,
}

/// Documents of one shard to be remembered together with those of others.
#[derive(Debug)]
pub struct Remember<'a> {
    /// The shard.
    pub shard: &'a ShardStore,
    /// Its documents, at their sequence numbers.
    pub docs: &'a [(SeqNo, &'a DocRef)],
    /// A document that is known at a higher sequence number stays there: what comes back for it is higher than what was given. Within
    /// one history that tells an operation that was overtaken.
    pub newer: bool,
}

impl ShardStore {
    pub(crate) fn new(engine: Arc<Engine>, index: &IndexName, shard: ShardId) -> Self {
        let prefix = keys::shard_prefix(index, shard).into();
        ShardStore {
            engine,
            shard: Arc::new(ShardKey {
                index: index.clone(),
                shard,
            }),
            prefix,
        }
    }

    /// The present use of the store.
    pub fn run(&self) -> &Run {
        self.engine.run()
    }

    /// How far the shard has come; the default if nothing was saved yet.
    pub fn progress(&self) -> Result<ShardProgress> {
        let action = || self.action("reading the progress of");
        match self.engine.get(Family::Progress, &self.prefix, action)? {
            Some(json) => from_json(&self.engine, &json, action),
            None => Ok(ShardProgress::default()),
        }
    }

    /// Saves how far the shard has come. Synced: a checkpoint counts from when this returned (I2).
    pub fn save_progress(&self, progress: &ShardProgress) -> Result<()> {
        let batch = self.with_progress(progress)?;
        self.engine
            .write_synced(batch, || self.action("save the progress of"))
    }

    fn with_progress(&self, progress: &ShardProgress) -> Result<WriteBatch> {
        let mut batch = WriteBatch::default();
        batch.put_cf(
            self.engine.family(Family::Progress)?,
            &self.prefix,
            to_json(&self.engine, progress)?,
        );
        Ok(batch)
    }

    /// Remembers documents at their sequence numbers, before their bulk is sent. Synced.
    ///
    /// A document that was known at another sequence number moves. Of one that occurs twice the later stays.
    /// Remembering the same again changes nothing.
    ///
    /// Returns for each document the sequence number that it had before, earlier ones of the same call included.
    pub fn remember(&self, docs: &[(SeqNo, &DocRef)]) -> Result<Vec<Option<SeqNo>>> {
        self.put(WriteBatch::default(), docs, Stays::Last)
    }

    /// Takes in documents that were found on the target, and saves with them how far the shard has come: both or neither.
    /// A document that is known stays where it is, for what is known of it is on its way to the target or newer than what
    /// was found. Synced.
    ///
    /// Returns how many were not known.
    pub fn adopt(&self, docs: &[(SeqNo, &DocRef)], progress: &ShardProgress) -> Result<u64> {
        let before = self.put(self.with_progress(progress)?, docs, Stays::Known)?;
        Ok(before.iter().filter(|before| before.is_none()).count() as u64)
    }

    /// Remembers documents of several shards, each of which may be there once: all of them or none. As
    /// [`ShardStore::remember`], whose answer comes for each part, but not synced: each shard's [`ShardProgress::trail`] must have been saved
    /// before, with the present run.
    pub fn remember_all(parts: &[Remember<'_>]) -> Result<Vec<Vec<Option<SeqNo>>>> {
        let Some(first) = parts.first() else {
            return Ok(Vec::new());
        };
        let shards: HashSet<_> = parts.iter().map(|part| &part.shard.prefix).collect();
        debug_assert_eq!(
            shards.len(),
            parts.len(),
            "the second would not see what the first remembers"
        );
        let engine = &first.shard.engine;
        let _turns = engine.turns(parts.iter().map(|part| &*part.shard.prefix));
        let mut batch = WriteBatch::default();
        let enter = |part: &Remember<'_>| {
            let stays_at = if part.newer { Stays::Newest } else { Stays::Last };
            part.shard.enter(&mut batch, part.docs, stays_at)
        };
        let before = parts.iter().map(enter).collect::<Result<_>>()?;
        let action = || {
            let shards: Vec<_> = parts.iter().map(|part| part.shard.shard.to_string()).collect();
            format!("remember documents of {}", shards.join(", "))
        };
        engine.write_unsynced(batch, action)?;
        Ok(before)
    }

    fn put(
        &self,
        mut batch: WriteBatch,
        docs: &[(SeqNo, &DocRef)],
        stays_at: Stays,
    ) -> Result<Vec<Option<SeqNo>>> {
        if docs.is_empty() && batch.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.engine.turn(&self.prefix);
        let before = self.enter(&mut batch, docs, stays_at)?;
        self.engine
            .write_synced(batch, || self.action("remember documents of"))?;
        Ok(before)
    }

    /// Adds to a batch what remembering documents changes, and tells where they were known before. It is this shard's turn.
    fn enter(
        &self,
        batch: &mut WriteBatch,
        docs: &[(SeqNo, &DocRef)],
        stays_at: Stays,
    ) -> Result<Vec<Option<SeqNo>>> {
        // In the order of ids, as they lie in the store: neighbours are found and put many times quicker. The sort is
        // stable, so of one id the later ones come later.
        let mut by_id: Vec<usize> = (0..docs.len()).collect();
        by_id.sort_by_key(|at| docs[*at].1.id.as_str());
        let same_id: Vec<_> = by_id.chunk_by(|a, b| docs[*a].1.id == docs[*b].1.id).collect();
        let ids: Vec<_> = same_id
            .iter()
            .map(|ats| keys::id(&self.prefix, &docs[ats[0]].1.id))
            .collect();
        let stored = self.read_seqs(&ids, true)?;

        let (live, ids_family) = (
            self.engine.family(Family::Live)?,
            self.engine.family(Family::Ids)?,
        );
        let mut before = vec![None; docs.len()];
        let mut stays = vec![false; docs.len()];
        for ((ats, key), stored) in same_id.iter().zip(&ids).zip(stored) {
            let (mut known, mut last) = (stored, None);
            for &at in *ats {
                before[at] = known;
                if known.is_none_or(|known| stays_at.moves(known, docs[at].0)) {
                    known = Some(docs[at].0);
                    last = Some(at);
                }
            }
            let Some(last) = last else { continue };
            stays[last] = true;
            let (seq_no, doc) = docs[last];
            if let Some(old) = stored.filter(|old| *old != seq_no) {
                batch.delete_cf(live, keys::live(&self.prefix, old, &doc.id));
            }
            batch.put_cf(ids_family, key, seq_no.get().to_be_bytes());
        }
        for ((seq_no, doc), _) in docs.iter().zip(stays).filter(|(_, stays)| *stays) {
            let key = keys::live(&self.prefix, *seq_no, &doc.id);
            batch.put_cf(live, key, value::encode(doc.routing.as_deref()));
        }
        Ok(before)
    }

    /// Forgets documents at the sequence numbers that they had, after their delete was applied. One that meanwhile is
    /// known at another sequence number, or not known at all, is left as it is.
    ///
    /// Not synced: a document that a crash of the host brings back is only found gone, and deleted, once more (I4).
    ///
    /// Returns the sequence numbers of those forgotten by this call.
    pub fn forget(&self, docs: &[(SeqNo, String)]) -> Result<Vec<SeqNo>> {
        if docs.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.engine.turn(&self.prefix);
        let ids: Vec<_> = docs.iter().map(|(_, id)| keys::id(&self.prefix, id)).collect();
        let (live, by_id) = (
            self.engine.family(Family::Live)?,
            self.engine.family(Family::Ids)?,
        );
        let mut batch = WriteBatch::default();
        let mut forgotten = Vec::with_capacity(docs.len());
        let mut seen = HashSet::with_capacity(docs.len());
        for (((seq_no, id), key), known) in docs.iter().zip(&ids).zip(self.read_seqs(&ids, false)?) {
            if known == Some(*seq_no) && seen.insert(id) {
                batch.delete_cf(live, keys::live(&self.prefix, *seq_no, id));
                batch.delete_cf(by_id, key);
                forgotten.push(*seq_no);
            }
        }
        self.engine
            .write_unsynced(batch, || self.action("forget documents of"))?;
        Ok(forgotten)
    }

    /// The highest sequence number at which a document is known.
    pub fn highest(&self) -> Result<Option<SeqNo>> {
        let action = || self.action("looking for the last document of");
        let last = self.engine.last_key(Family::Live, &self.prefix, action)?;
        last.map(|key| self.split(&key).map(|(seq_no, _)| seq_no))
            .transpose()
            .map_err(|e| StoreError::corrupt(self.engine.path(), action(), e))
    }

    /// The sequence number at which a document is known.
    pub fn seq_of(&self, id: &str) -> Result<Option<SeqNo>> {
        Ok(self.seqs_of(&[id])?.pop().flatten())
    }

    /// The sequence numbers at which documents are known, in the order of `ids`.
    pub fn seqs_of(&self, ids: &[&str]) -> Result<Vec<Option<SeqNo>>> {
        self.read_seqs(
            &ids.iter()
                .map(|id| keys::id(&self.prefix, id))
                .collect::<Vec<_>>(),
            false,
        )
    }

    /// The first `limit` documents known in a range, ascending, and with them all that share the last one's sequence
    /// number: so the next range can begin right above it. Fewer than `limit` are all there are.
    ///
    /// Documents share one only after the leader's history was rewritten: one of them belongs to the history before.
    pub fn live_in(&self, range: SeqRange, limit: usize) -> Result<Vec<(SeqNo, DocRef)>> {
        let mut found: Vec<(SeqNo, DocRef)> = Vec::new();
        let Some(through) = range
            .through
            .last()
            .filter(|_| range.after < range.through && limit > 0)
        else {
            return Ok(found);
        };
        let from = keys::live_from(&self.prefix, range.after.next());
        let to = keys::live_from(&self.prefix, through.next());
        self.engine.scan(
            Family::Live,
            &from,
            to,
            || self.action("listing documents of"),
            |key, value| {
                let (seq_no, id) = self.split(key)?;
                if found.len() >= limit && found.last().is_none_or(|(last, _)| *last != seq_no) {
                    return Ok(false);
                }
                found.push((
                    seq_no,
                    DocRef {
                        id: value::text(id)?,
                        routing: value::decode(value)?,
                    },
                ));
                Ok(true)
            },
        )?;
        Ok(found)
    }

    /// How many documents are known in each stretch of the sequence space. Reads all keys of the shard: some hundred
    /// milliseconds for a million documents.
    pub fn count_buckets(&self) -> Result<Buckets> {
        let mut buckets = Buckets::default();
        let to = keys::end_of(&self.prefix);
        self.engine.scan(
            Family::Live,
            &self.prefix,
            to,
            || self.action("counting documents of"),
            |key, _| {
                buckets.add(self.split(key)?.0);
                Ok(true)
            },
        )?;
        Ok(buckets)
    }

    /// Forgets documents and progress of this shard, as if it had never been followed. Synced, and all or nothing.
    pub fn clear(&self) -> Result<()> {
        let _turn = self.engine.turn(&self.prefix);
        forget_all(&self.engine, WriteBatch::default(), &self.prefix, || {
            self.action("clear")
        })
    }

    fn read_seqs(&self, keys: &[Vec<u8>], ascending: bool) -> Result<Vec<Option<SeqNo>>> {
        self.engine.get_all(
            Family::Ids,
            keys,
            ascending,
            || self.action("looking up documents of"),
            |value| keys::seq_from(value).ok_or(Malformed("a sequence number does not have eight bytes")),
        )
    }

    fn split<'k>(&self, key: &'k [u8]) -> std::result::Result<(SeqNo, &'k [u8]), Malformed> {
        keys::split_live(&self.prefix, key).ok_or(Malformed("a key of a document has no sequence number"))
    }

    fn action(&self, what: &str) -> String {
        format!("{what} {}", self.shard)
    }
}

impl std::fmt::Debug for ShardStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ShardStore")
            .field(&self.shard.to_string())
            .finish()
    }
}
