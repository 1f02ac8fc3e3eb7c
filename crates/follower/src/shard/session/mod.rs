//! One stream of one shard, from opening to end.
//!
//! For each batch, in this order: check it; bring the target's metadata up to what it needs (I7); note its documents,
//! so that whatever reaches the target can be found again ([`remembering`], [`found`]); hand it to the lanes. A milestone is
//! stored when everything before it is applied. Deletes go the other way round: the bulk first, then the map.
//!
//! However a session ends, its lanes finish the bulks that they have begun before the next session starts.

mod arrivals;
mod conclude;
mod fill;
mod found;
mod intake;
mod milestones;
mod open;
mod remembering;
mod repair;

pub(crate) use repair::{Repair, Repaired};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{Buckets, Checkpoint, DocRef, PrimaryTerm, SeqNo};
use slipstream_store::{ShardProgress, ShardStore};
use slipstream_wire::v1;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tracing::Instrument;

use self::arrivals::Arrivals;
use super::deletes::DeleteSearch;
use super::ledger::{Ledger, Milestone};
use super::{End, Route, ShardContext};
use crate::apply::{Applied, Lane, Portion, settle};
use crate::blocking;
use crate::budget::Account;

/// Portions waiting in one lane.
const LANE_QUEUE: usize = 8;
/// A leader agent that says nothing for this long is gone, whatever the connection thinks: it says that it is alive every
/// 35 seconds, also while its reader waits. Agents that are too old for that pulse between requests to their cluster, which may
/// take a minute.
const SILENCE: Duration = Duration::from_secs(75);
/// How long the lanes may take to finish what they have begun; a bulk has a deadline of its own below this.
const DRAIN: Duration = Duration::from_secs(90);

/// The reader that every agent has.
const WINDOW: &str = "window";

/// How long a new place may wait to be stored. Each time costs a write to disk, of each shard that has moved; what a crash makes
/// this agent do again is no more than this.
const SAVE_WITHIN: Duration = Duration::from_secs(1);

/// While the window reader serves, other agents of the leader are looked at this often: one may stand beside a copy. Less
/// often where moving to one has not helped.
const RECONSIDER: Duration = Duration::from_secs(15);

struct Session<'a> {
    context: &'a ShardContext,
    /// The agent that serves.
    agent: String,
    /// When to look whether another agent should.
    reconsider: Option<Instant>,
    reconsider_every: Duration,
    progress: ShardProgress,
    /// When the place has to be stored, if it has moved since it was.
    unsaved: Option<Instant>,
    /// The checkpoint that the leader has heard of.
    acknowledged: Checkpoint,
    to_leader: mpsc::Sender<v1::FollowerFrame>,
    lanes: Vec<mpsc::Sender<Portion>>,
    ledger: Ledger,
    account: Account,
    /// The highest sequence number that the map knows or this session has had.
    highest: Option<SeqNo>,
    /// Counts of known documents, once a census needed them.
    buckets: Option<Buckets>,
    /// Where the first copy ends.
    bootstrap_through: Checkpoint,
    search: Option<DeleteSearch>,
    /// Found gone, waiting for the seal.
    gone: Vec<(SeqNo, DocRef)>,
    /// Who waits for a repair, by the number of its batch.
    repairs: BTreeMap<u64, (Repaired, repair::Reply)>,
}

/// Runs one session to its end, lanes included.
pub(super) async fn run(context: &Arc<ShardContext>, route: &mut Route, cancel: &CancellationToken) -> End {
    let mut lanes = JoinSet::new();
    let mut senders = Vec::new();
    // A lane never waits here: it sends one message a bulk, and has at most a queue of bulks and one before the session
    // must have taken a portion from it.
    let (done, mut applied) = mpsc::channel(context.lanes * (LANE_QUEUE + 2));
    let names: Vec<String> = (0..context.lanes)
        .map(|number| format!("{}-{number}", context.opaque_prefix))
        .collect();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    tokio::select! {
        () = settle(&context.lane, &ids) => {}
        () = cancel.cancelled() => return End::Cancelled,
    }
    let progress = match found::progress(context, cancel).await {
        Ok(progress) => progress,
        Err(end) => return end,
    };
    let trail = progress.trail.as_ref();
    let written = trail.map_or(Checkpoint::NONE, |trail| trail.above);
    for opaque_id in names {
        let lane = Lane::new(opaque_id, context.lane.clone(), written);
        let (sender, portions) = mpsc::channel(LANE_QUEUE);
        senders.push(sender);
        lanes.spawn(lane.run(portions, done.clone()));
    }
    drop(done);
    let end = stream(context, progress, route, cancel, senders, &mut applied).await;
    // The senders are gone with the session. What is still queued is applied too: it is acknowledged and remembered.
    let drained = timeout(DRAIN, async {
        while applied.recv().await.is_some() {}
        while lanes.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(shard = %context.key, "the target did not finish in time, bulks are left to end by themselves");
        return end;
    }
    if matches!(end, End::Cancelled)
        && let Err(error) = remembering::unmark(context).await
    {
        return error.into();
    }
    end
}

async fn stream(
    context: &ShardContext,
    progress: ShardProgress,
    route: &mut Route,
    cancel: &CancellationToken,
    lanes: Vec<mpsc::Sender<Portion>>,
    applied: &mut mpsc::Receiver<Applied>,
) -> End {
    let span = slipstream_trace::span!(parent: None, "open stream", shard = %context.key);
    std::mem::take(&mut route.origin).lead_to(&span);
    let opened = tokio::select! {
        opened = Session::open(context, progress, lanes, route).instrument(span) => opened,
        () = cancel.cancelled() => return End::Cancelled,
    };
    let (mut session, mut frames) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let mut repairs = context.repairs.lock().await;
    let end = session.run(&mut frames, applied, &mut repairs, cancel).await;
    // What is applied by now need not be applied again.
    match session.save().await {
        Err(end @ End::Final(_)) => end,
        _ => end,
    }
}

/// The time, if there is one; never otherwise.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    async fn run(
        &mut self,
        frames: &mut Streaming<v1::LeaderFrame>,
        applied: &mut mpsc::Receiver<Applied>,
        repairs: &mut mpsc::Receiver<Repair>,
        cancel: &CancellationToken,
    ) -> End {
        let mut frames = Arrivals::new(frames);
        let mut heard = Instant::now();
        loop {
            let step = tokio::select! {
                biased;
                () = cancel.cancelled() => return End::Cancelled,
                () = at(self.unsaved) => self.save().await,
                () = at(self.reconsider) => self.reconsider().await,
                done = applied.recv() => match done {
                    Some(Ok(done)) => self.portion_applied(done).await,
                    Some(Err(error)) => Err(error.into()),
                    None => Err(End::Passing("the lanes ended".to_owned())),
                },
                Some(repair) = repairs.recv() => self.repair(repair, applied, cancel).await,
                frame = timeout_at(heard + SILENCE, frames.next()) => match frame {
                    Ok(Ok(Some(v1::LeaderFrame { frame: Some(frame) }))) => {
                        let behind = frames.behind(&frame);
                        // Handing over may wait for the lanes, so what they finish meanwhile is taken in there.
                        let taken = self.take(frame, behind, applied, cancel).await;
                        heard = Instant::now();
                        taken
                    }
                    Ok(Ok(Some(v1::LeaderFrame { frame: None }))) => Ok(()),
                    Ok(Ok(None)) => Err(End::Passing("the leader agent ended the stream".to_owned())),
                    Ok(Err(status)) => Err(status.into()),
                    Err(_) => Err(End::Passing(format!("the leader agent was silent for {SILENCE:?}"))),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }
}

impl Session<'_> {
    async fn take(
        &mut self,
        frame: v1::leader_frame::Frame,
        behind: Vec<v1::Batch>,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        use v1::leader_frame::Frame;
        match frame {
            Frame::Opened(_) => Err(End::Passing("the leader agent opened the shard twice".to_owned())),
            Frame::Batch(batch) => {
                let batches = std::iter::once(batch).chain(behind).collect();
                self.batches(batches, applied, cancel).await
            }
            Frame::Progress(progress) => {
                self.context.status.scanned_to(Checkpoint::new(progress.scanned));
                let scanned = Checkpoint::new(progress.scanned);
                self.ledger
                    .milestone(Milestone::Scanned(scanned, PrimaryTerm(progress.primary_term)));
                self.reach().await
            }
            Frame::Census(census) => self.census(&census, applied, cancel).await,
            Frame::Evidence(evidence) => self.evidence(evidence).await,
            Frame::Sealed(sealed) => {
                self.sealed(Checkpoint::new(sealed.checkpoint), applied, cancel)
                    .await
            }
            Frame::Abandoned(abandoned) => {
                tracing::debug!(shard = %self.context.key, reason = abandoned.reason, "the leader abandoned a round");
                self.search = None;
                self.gone.clear();
                Ok(())
            }
            Frame::Alive(v1::Alive {}) => Ok(()),
            Frame::Serving(serving) => {
                self.context.status.serving(&serving.reader, &serving.why);
                self.served_by(&serving.reader);
                Ok(())
            }
            Frame::Pulse(pulse) => {
                let pending = Duration::from_micros(pulse.pending_age_micros);
                self.context
                    .status
                    .leader_at(Checkpoint::new(pulse.global_checkpoint), pending);
                if let Some(versions) = pulse.metadata {
                    self.metadata(versions, cancel).await?;
                }
                Ok(())
            }
        }
    }

    /// Another agent may do better than one that reads by windows.
    fn served_by(&mut self, reader: &str) {
        self.reconsider = (reader == WINDOW).then(|| Instant::now() + self.reconsider_every);
        if reader != WINDOW {
            self.without_counts();
        }
    }

    /// Moves on to another agent if that one stands beside a copy of the shard, as after a relocation.
    async fn reconsider(&mut self) -> Result<(), End> {
        self.reconsider = Some(Instant::now() + self.reconsider_every);
        let link = self.context.leaders.link(&self.context.leader_alias)?;
        match link.better_agent(&self.context.leader, &self.agent).await {
            Some(agent) => Err(End::Moving(agent)),
            None => Ok(()),
        }
    }

    async fn send(&self, frame: v1::follower_frame::Frame) -> Result<(), End> {
        send(&self.to_leader, frame).await
    }
}

async fn send(to: &mpsc::Sender<v1::FollowerFrame>, frame: v1::follower_frame::Frame) -> Result<(), End> {
    let sent = timeout(SILENCE, to.send(v1::FollowerFrame { frame: Some(frame) })).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Passing("the stream to the leader agent ended".to_owned())),
        Err(_) => Err(End::Passing("the leader agent takes nothing".to_owned())),
    }
}

async fn save(store: &ShardStore, progress: &ShardProgress) -> Result<(), End> {
    let (store, progress) = (store.clone(), progress.clone());
    Ok(blocking(move || store.save_progress(&progress)).await?)
}
