//! What the files cannot tell and the leader has to be asked: whether the copy is still of this history, whether its node still
//! belongs to the cluster, under which metadata operations were indexed, and what a quiet copy has acknowledged. And what the
//! follower is told of it.

use slipstream_cluster::{ClusterError, MetadataVersions};
use slipstream_model::{Checkpoint, GlobalCheckpoint};
use tokio::time::{Duration, Instant};

use super::leave::Leave;
use super::{End, METADATA_AGE, Tail, why};
use crate::link::{Event, Link};
use crate::nudge::Push;
use crate::{ReadError, ReaderKind};

/// The follower hears from an unchanged shard when it is looked at after this long: with each look of a quiet one, also if a
/// timer was a little early.
const PULSE: Duration = Duration::from_secs(25);
/// The master is asked this often whether the node still belongs to its cluster.
pub(super) const BELONGS: Duration = Duration::from_secs(10);

impl Tail {
    /// Under a new primary the copy may be of another history although its translog is the same: a stale copy that somebody
    /// forced to be the primary has lost acknowledged operations (I5). Or it is that primary, which the follower is told.
    pub(super) async fn vouch(&mut self, link: &Link) -> Result<(), End> {
        let term = self.files().term();
        if term == self.vouched {
            return Ok(());
        }
        let (node, copy) = self.tails.0.places.copy(&self.start).await?;
        if copy.history_uuid != self.history {
            return Err(Leave::Renewed("the copy here is of another history by now".to_owned()).into());
        }
        self.vouched = term;
        let why = why(copy.primary, &node);
        if self.why != why {
            self.why.clone_from(&why);
            let reader = ReaderKind::Translog;
            link.send(Event::Serving { reader, why }).await?;
        }
        Ok(())
    }

    /// Asks the node for the index's metadata. If mapping or settings have changed, what was sent and not sealed becomes due
    /// again. Whether anything has changed.
    pub(super) async fn learn_metadata(&mut self, age: Duration) -> Result<bool, End> {
        let (begun, state) = self
            .tails
            .0
            .watch
            .local_state_within(&self.start.shard.index, age)
            .await
            .map_err(|error| self.failed(error))?;
        let state = state.filter(|state| state.uuid == self.start.index_uuid && state.open);
        let Some(state) = state else {
            return Err(Leave::Renewed("the index was closed, deleted or replaced".to_owned()).into());
        };
        self.asked = Some(begun);
        let (before, now) = (self.metadata, state.versions);
        self.metadata = now;
        if before != MetadataVersions::default() && before.settings != now.settings {
            self.told = None;
        }
        // Aliases have no part in indexing.
        if self.emitted > self.sealed && (before.mapping, before.settings) != (now.mapping, now.settings) {
            tracing::debug!(shard = %self.start.shard, "metadata changed, sending again what was not sealed");
            self.files().rewind();
            self.emitted = self.sealed;
        }
        Ok(before != now)
    }

    /// Tells the follower where the shard stands: when its metadata has changed, and now and then.
    pub(super) async fn pulse(&mut self, link: &Link) -> Result<(), End> {
        let changed = self.learn_metadata(METADATA_AGE).await?;
        if self.belonged.elapsed() >= BELONGS {
            self.belongs().await?;
        }
        if !changed && self.last_pulse.is_some_and(|at| at.elapsed() < PULSE) {
            return Ok(());
        }
        self.last_pulse = Some(Instant::now());
        let (acknowledged, newest) = {
            let files = self.files();
            let acknowledged = files.global_checkpoint();
            (acknowledged, files.checkpoint().max_seq_no.max(acknowledged))
        };
        let event = Event::Pulse {
            global_checkpoint: GlobalCheckpoint(Checkpoint::new(acknowledged)),
            max_seq_no: Checkpoint::new(newest),
            pending: Duration::ZERO,
            metadata: self.metadata,
        };
        Ok(link.send(event).await?)
    }

    /// A node that is cut off from its cluster has files that look well, and a state of its own that says so. Only the master can
    /// tell that it still belongs.
    async fn belongs(&mut self) -> Result<(), End> {
        let (watch, index) = (&self.tails.0.watch, &self.start.shard.index);
        let state = watch
            .state_within(index, BELONGS)
            .await
            .map_err(|error| self.failed(error))?;
        if state.is_none_or(|state| state.uuid != self.start.index_uuid) {
            return Err(Leave::Renewed("the index was deleted or replaced".to_owned()).into());
        }
        self.belonged = Instant::now();
        Ok(())
    }

    /// Whether the copy has operations that cannot be emitted yet, as far as is known.
    pub(super) fn is_behind(&self) -> bool {
        self.told.is_none_or(|told| told > self.emitted) || self.files().is_behind()
    }

    /// Operations that are there and stay unacknowledged: asks this very copy what it has acknowledged, and the leader for
    /// what moves it. Under `async` durability the file may stay behind for 30 s after the last write of a burst. And where
    /// the index was switched from `async` to `request` right after its last write, that write stays in the engine's memory,
    /// and no file tells of it: so a copy is asked for its highest sequence number whenever settings have changed.
    pub(super) async fn raise_if_stuck(&mut self) -> Result<(), End> {
        if self.told.is_none() {
            let (_, copy) = self.tails.0.places.copy(&self.start).await?;
            self.told = Some(copy.max_seq_no);
        }
        if !self.is_behind() {
            self.nudge.caught_up();
            return Ok(());
        }
        let (known, term) = {
            let files = self.files();
            (files.global_checkpoint(), files.term())
        };
        let stands = GlobalCheckpoint(Checkpoint::new(known));
        let Some(push) = self.nudge.behind(stands, Instant::now()) else {
            return Ok(());
        };
        let (_, copy) = self.tails.0.places.copy(&self.start).await?;
        self.told = Some(copy.max_seq_no);
        let acknowledged = copy.global_checkpoint.0.get();
        if acknowledged > known {
            self.files().raise(acknowledged, term);
            return Ok(());
        }
        let (cluster, index) = (self.tails.0.watch.cluster(), &self.start.shard.index);
        let pushed = match push {
            Push::Refresh => cluster.refresh(index).await,
            Push::Flush => cluster.flush(index).await,
        };
        if let Err(error) = pushed {
            tracing::debug!(shard = %self.start.shard, %error, "asking for the global checkpoint to move failed");
        }
        Ok(())
    }

    fn failed(&self, source: ClusterError) -> End {
        End::Read(ReadError::of_cluster(self.start.shard.clone(), source))
    }
}
