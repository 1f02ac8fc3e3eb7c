//! Between rounds: waiting for something new, telling the follower where the shard stands meanwhile.

use slipstream_cluster::MetadataVersions;
use slipstream_model::PrimaryTerm;
use tokio::time::{Duration, Instant, sleep};

use super::rhythm::Look;
use super::{Stop, Survey, WindowReader};
use crate::ReadError;
use crate::link::{Event, Link};
use crate::nudge::{Nudge, Push};
use crate::watch::Reading;

/// Metadata that changes without operations is noticed within this time.
const METADATA_AGE: Duration = Duration::from_secs(1);
/// The follower hears from an unchanged shard at least this often.
const PULSE: Duration = Duration::from_secs(2);

impl WindowReader {
    /// Waits until a round is due, or until `until`. What it returns was read before anything of the round.
    pub(super) async fn work(
        &mut self,
        link: &Link,
        until: Option<Instant>,
    ) -> Result<Option<(Survey, Look)>, Stop> {
        let mut nudge = Nudge::default();
        loop {
            let poll = self.rhythm.poll();
            let index = &self.start.shard.index;
            let reading = self
                .watch
                .stats_within(index, poll / 2)
                .await
                .map_err(|e| self.failed(e))?;
            let survey = self.survey(reading).await?;
            let now = Instant::now();

            let unfinished = self.scanned > self.checkpoint;
            let look = if survey.global.0 > self.checkpoint {
                self.rhythm.due(now, survey.refreshes)
            } else {
                None
            };
            self.pulse(link, &survey, now).await?;
            if self.uncounted || (unfinished && survey.global.0 > self.checkpoint) {
                self.rhythm.looked(now);
                return Ok(Some((survey, Look::Refresh)));
            }
            if let Some(look) = look {
                self.rhythm.looked(now);
                return Ok(Some((survey, look)));
            }

            if survey.max > survey.global.0 {
                self.push(nudge.behind(survey.global, now)).await?;
            } else {
                nudge.caught_up();
            }
            if until.is_some_and(|until| until <= now) {
                return Ok(None);
            }
            tokio::select! {
                () = sleep(poll) => {}
                () = link.unlinked() => return Err(Stop::Unlinked),
            }
        }
    }

    /// Asks the leader for what may move its global checkpoint.
    pub(super) async fn push(&self, push: Option<Push>) -> Result<(), Stop> {
        let (cluster, index) = (self.watch.cluster(), &self.start.shard.index);
        let pushed = match push {
            None => return Ok(()),
            Some(Push::Refresh) => cluster.refresh(index).await,
            Some(Push::Flush) => {
                tracing::info!(shard = %self.start.shard, "the global checkpoint is stuck, asking for a flush");
                cluster.flush(index).await
            }
        };
        Ok(pushed.map_err(|e| self.failed(e))?)
    }

    /// Statistics and term in the order that makes them usable: whatever the statistics call acknowledged was so under
    /// this term or an earlier one, and a term that moves on later is noticed before anything is concluded.
    async fn survey(&mut self, reading: Reading) -> Result<Survey, Stop> {
        let index = &self.start.shard.index;
        let shard = if let Ok(shard) = self.shard_stats(&reading) {
            shard
        } else {
            // Not in the shared poll: it may only have begun before this shard was followed.
            let reading = self.watch.stats_now(index).await.map_err(|e| self.failed(e))?;
            match self.shard_stats(&reading) {
                Ok(shard) => shard,
                Err(error) => {
                    self.state().await?;
                    return Err(error.into());
                }
            }
        };
        let state = self
            .watch
            .state_within(index, METADATA_AGE)
            .await
            .map_err(|e| self.failed(e))?;
        let state = self.checked(state)?;
        let term: PrimaryTerm = self.term_in(&state)?;
        if shard.history_uuid != self.opening.history {
            return Err(ReadError::HistoryChanged {
                shard: self.start.shard.clone(),
                expected: self.opening.history.clone(),
                found: shard.history_uuid,
            }
            .into());
        }
        if state.versions != self.metadata {
            if state.versions.settings != self.metadata.settings {
                self.learn_settings().await?;
            }
            self.metadata = state.versions;
            self.last_pulse = None;
        }
        Ok(Survey {
            node: shard.node,
            term,
            global: shard.global_checkpoint,
            max: shard.max_seq_no,
            refreshes: shard.refreshes,
        })
    }

    async fn pulse(&mut self, link: &Link, survey: &Survey, now: Instant) -> Result<(), Stop> {
        let metadata: MetadataVersions = self.metadata;
        let pending = self.rhythm.pending(now);
        let quiet = self.last_pulse.is_some_and(|at| now.duration_since(at) < PULSE);
        if quiet && pending.is_zero() {
            return Ok(());
        }
        self.last_pulse = Some(now);
        link.send(Event::Pulse {
            global_checkpoint: survey.global,
            max_seq_no: survey.max,
            pending,
            metadata,
        })
        .await?;
        Ok(())
    }
}
