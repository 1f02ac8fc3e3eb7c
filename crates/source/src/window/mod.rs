//! The window reader: a shard's changes through the REST API alone, exact on any engine.
//!
//! It works in rounds. What is acknowledged (`g`) → make it visible → read the windows of new sequence numbers → account
//! for holes by counting → seal → the next round. Why each step is there:
//!
//! - **g first, then refresh**: whatever is at or below `g` is then visible, so an unseen sequence number at or below
//!   `g` is a hole and not a latecomer.
//! - **One pinned copy**: every read of a round goes to the primary's node. Different copies refresh at different times.
//! - **A scan without holes needs no count**: every sequence number was seen alive, so nothing was deleted. Unless the follower
//!   may hold what no sequence number of this history tells of: then the first round counts in any case.
//! - **The count comes from the searcher that read the tail**: from another one it could agree by accident.
//! - **Seal**: search and realtime lookups show operations that are not acknowledged yet. A failover can roll those
//!   back, and a document that one of them had hidden would never be read again. So deletes and the checkpoint wait
//!   until everything that could have been seen is acknowledged, in the same term and history.
//! - **Above g with care**: an operation above the `g` of the round leaves only after a later global checkpoint covers
//!   it *and* the term is still the same; else it may be a ghost whose number the next primary gives to another (I1).
//!
//! The states of a shard's position: `checkpoint ≤ scanned`. Up to `checkpoint` all is sealed. Up to `scanned` every live
//! document has been emitted under the current term, holes not accounted for. A change of term throws `scanned` back.

mod census;
mod holes;
mod page_size;
mod rhythm;
mod scan;
mod wait;

use std::collections::BTreeSet;
use std::sync::Arc;

use slipstream_cluster::{ClusterError, IndexState, MetadataVersions, Searcher};
use slipstream_model::settings::{MOST_IN_AN_ANSWER, most_in_an_answer};
use slipstream_model::{Checkpoint, GlobalCheckpoint, Op, PrimaryTerm, SeqNo};
use tokio::time::{Duration, Instant};

use self::page_size::PageSize;
use self::rhythm::{Look, Rhythm};
use crate::link::{Event, Link, Unlinked};
use crate::watch::{Following, Reading, Watch};
use crate::{Opening, ReadError, Start};

/// Reads one shard by windows. See the module for how.
pub struct WindowReader {
    watch: Watch,
    _following: Following,
    start: Start,
    opening: Opening,
    checkpoint: Checkpoint,
    scanned: Checkpoint,
    term: PrimaryTerm,
    /// Whether `(checkpoint, scanned]` has sequence numbers that were not seen alive.
    holes: bool,
    /// Whether the follower may hold documents of another history, which show in a count only.
    uncounted: bool,
    /// Emitted on this link although above `scanned`, so that they are not sent twice.
    emitted: BTreeSet<SeqNo>,
    pages: PageSize,
    /// Live documents a sequence number, smoothed: how wide a window may be.
    density: f64,
    rhythm: Rhythm,
    metadata: MetadataVersions,
    last_pulse: Option<Instant>,
}

/// What a round stands on, read before it looks at anything.
#[derive(Debug, Clone)]
struct Survey {
    node: String,
    term: PrimaryTerm,
    global: GlobalCheckpoint,
    max: Checkpoint,
    refreshes: u64,
}

/// Why a round ended early.
enum Stop {
    /// The session is gone.
    Unlinked,
    /// Reading cannot go on.
    Read(ReadError),
    /// The round's findings are not to be trusted; another round will do.
    Abandon(String),
}

impl From<Unlinked> for Stop {
    fn from(_: Unlinked) -> Self {
        Stop::Unlinked
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Stop::Read(error)
    }
}

impl WindowReader {
    /// Checks that the shard is the one that the checkpoint belongs to (I5), and stands ready to read it.
    pub async fn open(watch: &Watch, start: Start) -> Result<WindowReader, ReadError> {
        let following = watch.follow(&start.shard.index);
        let mut reader = WindowReader {
            watch: watch.clone(),
            _following: following,
            opening: Opening {
                history: "".into(),
                term: PrimaryTerm(0),
                global_checkpoint: GlobalCheckpoint(Checkpoint::NONE),
            },
            checkpoint: start.checkpoint,
            scanned: start.checkpoint,
            term: PrimaryTerm(0),
            holes: start.reconciling,
            uncounted: start.reconciling,
            emitted: BTreeSet::new(),
            pages: PageSize::new(MOST_IN_AN_ANSWER),
            density: 1.0,
            rhythm: Rhythm::new(start.refresh_every),
            metadata: MetadataVersions::default(),
            last_pulse: None,
            start,
        };
        let state = reader.state().await?;
        let term = reader.term_in(&state)?;
        let reading = reader
            .watch
            .stats_now(&reader.start.shard.index)
            .await
            .map_err(|e| reader.failed(e))?;
        let shard = reader.shard_stats(&reading)?;
        let history = shard.history_uuid.clone();
        if let Some(expected) = reader.start.history.clone().filter(|h| *h != history) {
            return Err(ReadError::HistoryChanged {
                shard: reader.start.shard.clone(),
                expected,
                found: history,
            });
        }
        if shard.max_seq_no < reader.checkpoint {
            return Err(ReadError::Regressed {
                shard: reader.start.shard.clone(),
                checkpoint: reader.checkpoint,
                max_seq_no: shard.max_seq_no,
            });
        }
        reader.opening = Opening {
            history,
            term,
            global_checkpoint: shard.global_checkpoint,
        };
        reader.term = term;
        if let Some((scanned, _)) = reader
            .start
            .scan
            .filter(|(scanned, t)| *t == term && *scanned > reader.checkpoint)
        {
            reader.scanned = scanned;
            // What lies below was read by an earlier reader, which took its knowledge of holes along.
            reader.holes = true;
        }
        reader.learn_settings().await?;
        reader.metadata = state.versions;
        Ok(reader)
    }

    /// One round: everything up to the survey's global checkpoint is emitted, and sealed unless the tail ran away.
    async fn round(&mut self, link: &mut Link, survey: &Survey, look: Look) -> Result<(), Stop> {
        if survey.term != self.term {
            // Under another primary a document that was hidden before may be visible again: read from the seal.
            self.term = survey.term;
            self.scanned = self.checkpoint;
            self.holes = self.uncounted;
        }
        if look == Look::AsIs && self.read_as_is(link, survey).await? {
            return Ok(());
        }
        let index = &self.start.shard.index;
        self.watch
            .cluster()
            .refresh(index)
            .await
            .map_err(|e| self.failed(e))?;
        self.scan(link, survey).await?;
        self.finish(link, survey).await
    }

    /// Reads what the index's own refresh has made visible. If that is an unbroken run, the round is over: it is complete
    /// as far as it reaches, and what was acknowledged after the index's refresh comes with its next one.
    async fn read_as_is(&mut self, link: &mut Link, survey: &Survey) -> Result<bool, Stop> {
        let docs = self.pages.docs(link.credit().await?);
        if self.holes || self.scanned.distance_to(survey.global.0) > docs as u64 {
            return Ok(false);
        }
        let searcher = self.searcher(survey);
        let (page, _) = self.read_tail(&searcher, docs, false).await?;
        if page.full {
            return Ok(false);
        }
        let through = holes::contiguous_through(self.scanned, &page.ops);
        let unbroken = page
            .ops
            .last()
            .is_some_and(|last| through == last.seq_no.as_checkpoint());
        if unbroken || through >= survey.global.0 {
            self.conclude_contiguous(link, survey, page.ops, through).await?;
            return Ok(true);
        }
        // What is acknowledged may leave; the round then reads again, after a refresh, to learn what the holes are.
        let acknowledged = page
            .ops
            .into_iter()
            .filter(|op| survey.global.0.covers(op.seq_no))
            .collect();
        self.emit(link, acknowledged).await?;
        Ok(false)
    }

    /// Emits a tail in which nothing is missing and moves the checkpoint with it: without holes there is nothing to
    /// count and nothing to seal, for no document was hidden.
    async fn conclude_contiguous(
        &mut self,
        link: &mut Link,
        survey: &Survey,
        mut ops: Vec<Op>,
        through: Checkpoint,
    ) -> Result<(), Stop> {
        let above = ops.partition_point(|op| survey.global.0.covers(op.seq_no));
        let above = ops.split_off(above);
        self.emit(link, ops).await?;
        let mut sealed = through.min(survey.global.0);
        if through > sealed {
            let (global, _) = self.confirm(survey).await?;
            sealed = through.min(global.0);
            let acknowledged = above.into_iter().filter(|op| sealed.covers(op.seq_no)).collect();
            self.emit(link, acknowledged).await?;
        }
        self.seal(link, sealed).await
    }

    /// Tells the follower that all up to `checkpoint` has been emitted and is final.
    async fn seal(&mut self, link: &Link, checkpoint: Checkpoint) -> Result<(), Stop> {
        self.checkpoint = checkpoint;
        self.scanned = checkpoint;
        self.holes = false;
        self.uncounted = false;
        self.emitted = self.emitted.split_off(&checkpoint.next());
        link.send(Event::Sealed {
            checkpoint,
            term: self.term,
        })
        .await?;
        Ok(())
    }

    /// Emits acknowledged operations that this link has not seen, with the metadata that they were indexed under (I7).
    async fn emit(&mut self, link: &Link, mut ops: Vec<Op>) -> Result<(), Stop> {
        ops.retain(|op| !self.emitted.contains(&op.seq_no));
        if ops.is_empty() {
            return Ok(());
        }
        // Asked for after the operations were read: the mapping they needed was committed before they were visible.
        let state = self.state().await?;
        if state.versions.settings != self.metadata.settings {
            self.learn_settings().await?;
        }
        self.metadata = state.versions;
        let emitted: Vec<SeqNo> = ops
            .iter()
            .map(|op| op.seq_no)
            .filter(|s| !self.scanned.covers(*s))
            .collect();
        link.send_ops(ops, self.metadata).await?;
        self.emitted.extend(emitted);
        Ok(())
    }

    /// Reads global checkpoint and maximum again, and makes sure that the primary is still the one of the survey: the
    /// operations seen since then are its own.
    async fn confirm(&self, survey: &Survey) -> Result<(GlobalCheckpoint, Checkpoint), Stop> {
        let reading = self
            .watch
            .stats_now(&self.start.shard.index)
            .await
            .map_err(|e| self.failed(e))?;
        let (node, global, max, history) = {
            let shard = self.shard_stats(&reading)?;
            (
                shard.node,
                shard.global_checkpoint,
                shard.max_seq_no,
                shard.history_uuid,
            )
        };
        let state = self.state().await?;
        if node != survey.node || self.term_in(&state)? != survey.term || history != self.opening.history {
            return Err(Stop::Abandon("the primary changed during the round".to_owned()));
        }
        Ok((global, max))
    }

    fn searcher(&self, survey: &Survey) -> Searcher {
        Searcher {
            index: self.start.shard.index.clone(),
            shard: self.start.shard.shard,
            node: survey.node.clone(),
            pit: None,
        }
    }

    /// The index's state as of now, if it is still the index that is followed.
    async fn state(&self) -> Result<Arc<IndexState>, ReadError> {
        let index = &self.start.shard.index;
        let state = self
            .watch
            .state_within(index, Duration::ZERO)
            .await
            .map_err(|e| self.failed(e))?;
        self.checked(state)
    }

    fn checked(&self, state: Option<Arc<IndexState>>) -> Result<Arc<IndexState>, ReadError> {
        let shard = self.start.shard.clone();
        let Some(state) = state else {
            return Err(ReadError::IndexGone(shard));
        };
        if state.uuid != self.start.index_uuid {
            let expected = self.start.index_uuid.clone();
            return Err(ReadError::IndexReplaced {
                shard,
                expected,
                found: state.uuid.clone(),
            });
        }
        if state.open {
            Ok(state)
        } else {
            Err(ReadError::IndexClosed(shard))
        }
    }

    fn term_in(&self, state: &IndexState) -> Result<PrimaryTerm, ReadError> {
        let term = state.primary_terms.get(&self.start.shard.shard).copied();
        term.ok_or_else(|| ReadError::NoSuchShard(self.start.shard.clone()))
    }

    fn shard_stats(&self, reading: &Reading) -> Result<slipstream_cluster::ShardSeqStats, ReadError> {
        let no_primary = || ReadError::NoPrimary(self.start.shard.clone());
        let stats = reading
            .stats
            .as_ref()
            .filter(|s| s.uuid == self.start.index_uuid)
            .ok_or_else(no_primary)?;
        stats
            .shards
            .get(&self.start.shard.shard)
            .cloned()
            .ok_or_else(no_primary)
    }

    /// Settings that the reader itself goes by: the refresh interval and the largest page.
    async fn learn_settings(&mut self) -> Result<(), ReadError> {
        let index = &self.start.shard.index;
        let settings = self
            .watch
            .cluster()
            .settings(index)
            .await
            .map_err(|e| self.failed(e))?;
        let refresh_interval = settings.get("index.refresh_interval");
        self.rhythm
            .set_interval(refresh_interval.and_then(serde_json::Value::as_str));
        self.pages = PageSize::new(most_in_an_answer(&settings));
        Ok(())
    }

    fn failed(&self, source: ClusterError) -> ReadError {
        ReadError::of_cluster(self.start.shard.clone(), source)
    }
}

/// What became of one turn of the reader.
pub(crate) enum Turn {
    /// A round was made, or was abandoned and another one will do.
    Round,
    /// Nothing came up in the time given.
    Idle,
    /// The session is gone.
    Unlinked,
}

impl WindowReader {
    /// Waits for something new until `until`, and makes a round if there is.
    pub(crate) async fn turn(&mut self, link: &mut Link, until: Option<Instant>) -> Result<Turn, ReadError> {
        let result = match self.work(link, until).await {
            Ok(Some((survey, look))) => self.round(link, &survey, look).await,
            Ok(None) => return Ok(Turn::Idle),
            Err(stop) => Err(stop),
        };
        match result {
            Ok(()) => Ok(Turn::Round),
            Err(Stop::Unlinked) => Ok(Turn::Unlinked),
            Err(Stop::Read(error)) => Err(error),
            Err(Stop::Abandon(reason)) => {
                tracing::debug!(shard = %self.start.shard, reason, "round abandoned");
                Ok(match link.send(Event::Abandoned { reason }).await {
                    Ok(()) => Turn::Round,
                    Err(Unlinked) => Turn::Unlinked,
                })
            }
        }
    }

    /// What it found when it opened the shard.
    pub(crate) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The place up to which all has been emitted for good, if nothing above it is half read.
    pub(crate) fn sealed(&self) -> Option<Checkpoint> {
        (self.scanned == self.checkpoint).then_some(self.checkpoint)
    }

    /// Goes on from a place up to which another reader has emitted everything. The next look does not wait for the index's
    /// own refresh, for that reader stopped because something is missing.
    pub(crate) fn resume_at(&mut self, checkpoint: Checkpoint) {
        self.checkpoint = checkpoint;
        self.scanned = checkpoint;
        self.holes = false;
        self.emitted.clear();
        self.rhythm.hurry();
        self.last_pulse = None;
    }
}
