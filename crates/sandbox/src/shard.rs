//! One shard: operations get sequence numbers and versions here, and searches see what was refreshed.
//!
//! Two pictures are kept. `live` and `tombs` are the newest state, which realtime reads and version checks use; `view`
//! is the state of the last refresh, which searches use. A refused operation changes neither and takes no sequence
//! number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use tokio::sync::watch;

use crate::error::{ApiError, ApiResult};

/// One document as one operation left it.
#[derive(Debug)]
pub(crate) struct Doc {
    pub(crate) id: Arc<str>,
    pub(crate) routing: Option<Box<str>>,
    /// As sent, byte by byte.
    pub(crate) source: Bytes,
    pub(crate) version: i64,
    pub(crate) seq_no: u64,
    pub(crate) term: u64,
}

/// The memory of a delete, kept for `gc_deletes`.
#[derive(Debug, Clone, Copy)]
struct Tombstone {
    version: i64,
    /// On the coarse clock.
    at: u64,
}

/// What searches see.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) docs: BTreeMap<u64, Arc<Doc>>,
    seqs: HashMap<Arc<str>, u64>,
}

/// What a write asks of the document's present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Any,
    /// `create`.
    Absent,
    External(i64),
    ExternalGte(i64),
    /// `if_seq_no` and `if_primary_term`.
    Seq(u64, u64),
}

/// What a write did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) version: i64,
    pub(crate) seq_no: u64,
    pub(crate) term: u64,
    /// `created`, `updated`, `deleted` or `not_found`.
    pub(crate) result: &'static str,
}

/// Counters as `_stats` shows them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) indexed: u64,
    pub(crate) index_failed: u64,
    pub(crate) deleted: u64,
    pub(crate) gets: u64,
    pub(crate) queries: u64,
    pub(crate) refreshes: u64,
    pub(crate) flushes: u64,
}

/// One primary shard; the sandbox has no replicas.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) history: String,
    pub(crate) term: u64,
    pub(crate) counters: Counters,
    next_seq: u64,
    live: HashMap<Arc<str>, Arc<Doc>>,
    tombs: HashMap<Arc<str>, Tombstone>,
    changed: HashSet<Arc<str>>,
    view: Arc<View>,
    searched: Instant,
    bytes: u64,
    /// Counts refreshes, for those who wait for the next one.
    refreshed: watch::Sender<u64>,
}

enum Current {
    Missing,
    Deleted(i64),
    Live { version: i64, seq_no: u64, term: u64 },
}

impl Shard {
    pub(crate) fn new(history: String, term: u64) -> Self {
        Shard {
            history,
            term,
            counters: Counters::default(),
            next_seq: 0,
            live: HashMap::new(),
            tombs: HashMap::new(),
            changed: HashSet::new(),
            view: Arc::default(),
            searched: Instant::now(),
            bytes: 0,
            refreshed: watch::Sender::new(0),
        }
    }

    /// The highest sequence number given, -1 for none; without replicas it is the global checkpoint too.
    pub(crate) fn max_seq_no(&self) -> i64 {
        self.next_seq as i64 - 1
    }

    /// The newest state of a document.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Doc>> {
        self.live.get(id)
    }

    /// What searches see, as a picture that stays.
    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// How many source bytes the live documents have.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn current(&self, id: &str, now: u64, gc: Duration) -> Current {
        if let Some(doc) = self.live.get(id) {
            return Current::Live {
                version: doc.version,
                seq_no: doc.seq_no,
                term: doc.term,
            };
        }
        match self.tombs.get(id) {
            Some(tomb) if u128::from(now.saturating_sub(tomb.at)) <= gc.as_millis() => {
                Current::Deleted(tomb.version)
            }
            _ => Current::Missing,
        }
    }

    /// The version that a write would make, or why it may not.
    fn next_version(&self, id: &str, expect: Expect, now: u64, gc: Duration) -> Result<(i64, bool), String> {
        let current = self.current(id, now, gc);
        let exists = matches!(current, Current::Live { .. });
        let known = match current {
            Current::Missing => None,
            Current::Deleted(version) | Current::Live { version, .. } => Some(version),
        };
        // An internal version counts on over a delete for as long as the delete is remembered.
        let counted = known.map_or(1, |v| v.wrapping_add(1));
        let next = match expect {
            Expect::Absent if exists => {
                return Err(format!(
                    "document already exists (current version [{}])",
                    known.unwrap_or(0)
                ));
            }
            Expect::Any | Expect::Absent => counted,
            Expect::External(version) => match known {
                Some(v) if v >= version => {
                    return Err(format!(
                        "current version [{v}] is higher or equal to the one provided [{version}]"
                    ));
                }
                _ => version,
            },
            Expect::ExternalGte(version) => match known {
                Some(v) if v > version => {
                    return Err(format!(
                        "current version [{v}] is higher than the one provided [{version}]"
                    ));
                }
                _ => version,
            },
            Expect::Seq(seq, want) => match current {
                Current::Live { seq_no, term, .. } if seq_no == seq && term == want => counted,
                Current::Live { seq_no, term, .. } => {
                    return Err(format!(
                        "required seqNo [{seq}], primary term [{want}]. current document has seqNo [{seq_no}] and \
                         primary term [{term}]"
                    ));
                }
                _ => {
                    return Err(format!(
                        "required seqNo [{seq}], primary term [{want}]. but no document was found"
                    ));
                }
            },
        };
        Ok((next, exists))
    }

    fn conflict(id: &str, why: &str) -> ApiError {
        ApiError::new(
            409,
            "version_conflict_engine_exception",
            format!("[{id}]: version conflict, {why}"),
        )
    }

    /// Indexes a document.
    pub(crate) fn index(
        &mut self,
        id: &str,
        routing: Option<&str>,
        source: Bytes,
        expect: Expect,
        now: u64,
        gc: Duration,
    ) -> ApiResult<(Written, Arc<Doc>)> {
        let (version, existed) = self.next_version(id, expect, now, gc).map_err(|why| {
            self.counters.index_failed += 1;
            Shard::conflict(id, &why)
        })?;
        let doc = Arc::new(Doc {
            id: Arc::from(id),
            routing: routing.map(Box::from),
            source,
            version,
            seq_no: self.next_seq,
            term: self.term,
        });
        self.counters.indexed += 1;
        self.apply_index(Arc::clone(&doc));
        let result = if existed { "updated" } else { "created" };
        Ok((
            Written {
                version,
                seq_no: doc.seq_no,
                term: doc.term,
                result,
            },
            doc,
        ))
    }

    /// Deletes a document; a missing one too takes a sequence number and leaves a tombstone.
    pub(crate) fn delete(&mut self, id: &str, expect: Expect, now: u64, gc: Duration) -> ApiResult<Written> {
        let (version, existed) = self
            .next_version(id, expect, now, gc)
            .map_err(|why| Shard::conflict(id, &why))?;
        let written = Written {
            version,
            seq_no: self.next_seq,
            term: self.term,
            result: if existed { "deleted" } else { "not_found" },
        };
        self.counters.deleted += 1;
        self.apply_delete(id, version, written.seq_no, now);
        Ok(written)
    }

    /// Takes over an operation whose sequence number and version are already known.
    pub(crate) fn apply_index(&mut self, doc: Arc<Doc>) {
        self.next_seq = self.next_seq.max(doc.seq_no + 1);
        self.bytes += doc.source.len() as u64;
        self.tombs.remove(&doc.id);
        self.changed.insert(Arc::clone(&doc.id));
        if let Some(old) = self.live.insert(Arc::clone(&doc.id), doc) {
            self.bytes -= old.source.len() as u64;
        }
    }

    /// Takes over a delete whose sequence number and version are already known.
    pub(crate) fn apply_delete(&mut self, id: &str, version: i64, seq_no: u64, now: u64) {
        self.next_seq = self.next_seq.max(seq_no + 1);
        let id: Arc<str> = Arc::from(id);
        if let Some(old) = self.live.remove(&id) {
            self.bytes -= old.source.len() as u64;
        }
        self.changed.insert(Arc::clone(&id));
        self.tombs.insert(id, Tombstone { version, at: now });
    }

    /// Makes everything so far visible to searches. Tombstones that no longer count are forgotten on the way, as the
    /// engines do; and as there, a refresh counts even if it had nothing to show.
    pub(crate) fn refresh(&mut self, now: u64, gc: Duration) {
        self.counters.refreshes += 1;
        self.refreshed.send_modify(|n| *n += 1);
        if self.changed.is_empty() {
            return;
        }
        // A point in time that holds the picture keeps it: the shard goes on with a copy.
        let view = Arc::make_mut(&mut self.view);
        for id in self.changed.drain() {
            if let Some(old) = view.seqs.remove(&id) {
                view.docs.remove(&old);
            }
            if let Some(doc) = self.live.get(&id) {
                view.seqs.insert(Arc::clone(&id), doc.seq_no);
                view.docs.insert(doc.seq_no, Arc::clone(doc));
            }
        }
        self.tombs
            .retain(|_, tomb| u128::from(now.saturating_sub(tomb.at)) <= gc.as_millis());
    }

    /// Whether a scheduled refresh has anything to do.
    pub(crate) fn wants_refresh(&self) -> bool {
        !self.changed.is_empty() || self.is_awaited()
    }

    /// Whether anybody waits for the next refresh.
    pub(crate) fn is_awaited(&self) -> bool {
        self.refreshed.receiver_count() > 0
    }

    /// A promise of the next refresh.
    pub(crate) fn next_refresh(&self) -> watch::Receiver<u64> {
        self.refreshed.subscribe()
    }

    /// Whether nobody has searched the shard for that long.
    pub(crate) fn is_idle(&self, after: Duration) -> bool {
        self.searched.elapsed() >= after
    }

    /// Notes a search.
    pub(crate) fn searched(&mut self) {
        self.searched = Instant::now();
        self.counters.queries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GC: Duration = Duration::from_mins(1);

    fn put(shard: &mut Shard, id: &str, expect: Expect) -> ApiResult<Written> {
        shard
            .index(id, None, Bytes::from_static(b"{}"), expect, 0, GC)
            .map(|(written, _)| written)
    }

    #[test]
    fn refused_operations_take_no_sequence_number() {
        let mut shard = Shard::new("h".into(), 1);
        assert_eq!(put(&mut shard, "a", Expect::ExternalGte(5)).unwrap().seq_no, 0);
        assert!(put(&mut shard, "a", Expect::ExternalGte(4)).is_err());
        assert!(put(&mut shard, "a", Expect::External(5)).is_err());
        assert!(put(&mut shard, "a", Expect::Absent).is_err());
        assert!(put(&mut shard, "a", Expect::Seq(9, 1)).is_err());
        assert_eq!(put(&mut shard, "a", Expect::ExternalGte(5)).unwrap().seq_no, 1);
        assert_eq!(shard.max_seq_no(), 1);
    }

    #[test]
    fn a_tombstone_guards_its_version_until_it_is_forgotten() {
        let mut shard = Shard::new("h".into(), 1);
        put(&mut shard, "a", Expect::ExternalGte(7)).unwrap();
        assert_eq!(
            shard
                .delete("a", Expect::Any, 1000, Duration::ZERO)
                .unwrap()
                .version,
            8
        );
        let lower = |shard: &mut Shard, now| {
            shard
                .index(
                    "a",
                    None,
                    Bytes::new(),
                    Expect::ExternalGte(3),
                    now,
                    Duration::ZERO,
                )
                .is_ok()
        };
        assert!(!lower(&mut shard, 1000));
        assert!(lower(&mut shard, 1200));
    }

    #[test]
    fn an_internal_version_counts_on_over_a_delete() {
        let mut shard = Shard::new("h".into(), 1);
        put(&mut shard, "a", Expect::Any).unwrap();
        shard.delete("a", Expect::Any, 0, GC).unwrap();
        let again = put(&mut shard, "a", Expect::Absent).unwrap();
        assert_eq!((again.version, again.result), (3, "created"));
    }

    #[test]
    fn searches_see_what_was_refreshed_and_a_held_picture_stays() {
        let mut shard = Shard::new("h".into(), 1);
        put(&mut shard, "a", Expect::Any).unwrap();
        assert!(shard.view().docs.is_empty());
        shard.refresh(0, GC);
        let held = Arc::clone(shard.view());
        put(&mut shard, "a", Expect::Any).unwrap();
        shard.refresh(0, GC);
        assert_eq!(held.docs.keys().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(shard.view().docs.keys().copied().collect::<Vec<_>>(), [1]);
    }
}
