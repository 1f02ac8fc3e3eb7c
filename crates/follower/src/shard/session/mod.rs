//! One stream of one shard, from opening to end.
//!
//! For each batch, in this order: check it; bring the target's metadata up to what it needs (I7); remember its documents
//! durably, so that whatever reaches the target can be found again (write-ahead); hand it to the lanes. A milestone is
//! stored when everything before it is applied. Deletes go the other way round: the bulk first, then the map.
//!
//! However a session ends, its lanes finish the bulks that they have begun before the next session starts.

mod conclude;
mod milestones;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{Buckets, Change, Checkpoint, DocRef, GlobalCheckpoint, Op, PrimaryTerm, SeqNo};
use slipstream_store::{ShardProgress, ShardStore};
use slipstream_wire::{decode_batch, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::deletes::DeleteSearch;
use super::ledger::{Done, Ledger, Milestone};
use super::{End, ShardContext};
use crate::apply::{Applied, Lane, Portion, Write};
use crate::blocking;
use crate::budget::Account;
use crate::metrics;

/// Portions waiting in one lane.
const LANE_QUEUE: usize = 8;
/// A leader that says nothing for this long is gone, whatever the connection thinks: it pulses every few seconds. Longer
/// than its requests to its cluster may take, so that what holds it up is told by itself.
const SILENCE: Duration = Duration::from_secs(75);
/// The answer to the opening takes a few requests on the leader cluster.
const OPENING: Duration = Duration::from_mins(1);
/// How long the lanes may take to finish what they have begun; a bulk has a deadline of its own below this.
const DRAIN: Duration = Duration::from_secs(90);

struct Session<'a> {
    context: &'a ShardContext,
    progress: ShardProgress,
    to_leader: mpsc::Sender<v1::FollowerFrame>,
    lanes: Vec<mpsc::Sender<Portion>>,
    ledger: Ledger,
    account: Account,
    /// Counts of known documents, once a census needed them.
    buckets: Option<Buckets>,
    /// Where the first copy ends.
    bootstrap_through: Checkpoint,
    search: Option<DeleteSearch>,
    /// Found gone, waiting for the seal.
    gone: Vec<(SeqNo, DocRef)>,
}

/// Runs one session to its end, lanes included.
pub(super) async fn run(context: &Arc<ShardContext>, cancel: &CancellationToken) -> End {
    let mut lanes = JoinSet::new();
    let mut senders = Vec::new();
    // A lane never waits here: it sends one message a bulk, and has at most a queue of bulks and one before the session
    // must have taken a portion from it.
    let (done, mut applied) = mpsc::channel(context.lanes * (LANE_QUEUE + 2));
    for number in 0..context.lanes {
        let lane = Lane {
            opaque_id: format!("{}-{number}", context.opaque_prefix),
            context: context.lane.clone(),
        };
        tokio::select! {
            () = lane.settle() => {}
            () = cancel.cancelled() => return End::Cancelled,
        }
        let (sender, portions) = mpsc::channel(LANE_QUEUE);
        senders.push(sender);
        lanes.spawn(lane.run(portions, done.clone()));
    }
    drop(done);
    let end = stream(context, cancel, senders, &mut applied).await;
    // The senders are gone with the session. What is still queued is applied too: it is acknowledged and remembered.
    let drained = timeout(DRAIN, async {
        while applied.recv().await.is_some() {}
        while lanes.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(shard = %context.key, "the target did not finish in time, bulks are left to end by themselves");
    }
    end
}

async fn stream(
    context: &ShardContext,
    cancel: &CancellationToken,
    lanes: Vec<mpsc::Sender<Portion>>,
    applied: &mut mpsc::Receiver<Applied>,
) -> End {
    let opened = tokio::select! {
        opened = Session::open(context, lanes) => opened,
        () = cancel.cancelled() => return End::Cancelled,
    };
    let (mut session, mut frames) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    loop {
        let step = tokio::select! {
            biased;
            () = cancel.cancelled() => return End::Cancelled,
            done = applied.recv() => match done {
                Some(Ok(batch)) => session.portion_applied(batch).await,
                Some(Err(error)) => Err(error.into()),
                None => Err(End::Passing("the lanes ended".to_owned())),
            },
            frame = timeout(SILENCE, frames.message()) => match frame {
                Ok(Ok(Some(v1::LeaderFrame { frame: Some(frame) }))) => {
                    // Handing over may wait for the lanes, so what they finish meanwhile is taken in there.
                    session.take(frame, applied, cancel).await
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

impl<'a> Session<'a> {
    async fn open(
        context: &'a ShardContext,
        lanes: Vec<mpsc::Sender<Portion>>,
    ) -> Result<(Self, Streaming<v1::LeaderFrame>), End> {
        let store = context.store.clone();
        let mut progress = blocking(move || store.progress()).await?;
        let connected = context.leaders.link(&context.leader_alias)?.connect().await?;
        let (to_leader, outgoing) = mpsc::channel(64);
        let scan = progress
            .scan
            .clone()
            .filter(|scan| scan.scanned > progress.checkpoint.get());
        let open = v1::Open {
            protocol: connected.hello.protocol,
            index: context.leader.index.to_string(),
            index_uuid: context.leader_index_uuid.to_string(),
            shard: context.leader.shard.0,
            history_uuid: progress
                .history
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            checkpoint: progress.checkpoint.get().get(),
            scanned: scan.as_ref().map_or(-1, |scan| scan.scanned.get()),
            scanned_term: scan.as_ref().map_or(0, |scan| scan.term.0),
            refresh_millis: context.refresh_millis,
        };
        send(&to_leader, v1::follower_frame::Frame::Open(open)).await?;
        let opening = async {
            let mut frames = connected
                .changes()
                .stream(ReceiverStream::new(outgoing))
                .await?
                .into_inner();
            Ok::<_, tonic::Status>((frames.message().await?, frames))
        };
        let (first, frames) = timeout(OPENING, opening)
            .await
            .map_err(|_| End::Passing("the leader agent did not open the shard in time".to_owned()))??;
        let Some(v1::LeaderFrame {
            frame: Some(v1::leader_frame::Frame::Opened(opened)),
        }) = first
        else {
            return Err(End::Passing(
                "the leader agent did not answer the opening".to_owned(),
            ));
        };

        let global = GlobalCheckpoint::new(opened.global_checkpoint);
        if progress.history.is_none() {
            progress.history = Some(opened.history_uuid.as_str().into());
            save(&context.store, &progress).await?;
        }
        let mut session = Session {
            context,
            progress,
            to_leader,
            lanes,
            ledger: Ledger::default(),
            account: context.budget.account(),
            buckets: None,
            bootstrap_through: global.0,
            search: None,
            gone: Vec::new(),
        };
        let through = (!session.progress.bootstrapped).then_some(global.0);
        context.status.opened(&opened.reader, &opened.why, through);
        context.status.durable_at(session.progress.checkpoint.get());
        context.status.leader_at(global.0, Duration::ZERO);
        session.check_bootstrapped().await?;
        let credit = session.account.open();
        session
            .send(v1::follower_frame::Frame::Credit(v1::Credit { bytes: credit }))
            .await?;
        Ok((session, frames))
    }

    async fn take(
        &mut self,
        frame: v1::leader_frame::Frame,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        use v1::leader_frame::Frame;
        match frame {
            Frame::Opened(_) => Err(End::Passing("the leader agent opened the shard twice".to_owned())),
            Frame::Batch(batch) => self.batch(batch, applied, cancel).await,
            Frame::Progress(progress) => {
                self.context.status.scanned_to(Checkpoint::new(progress.scanned));
                let scanned = Checkpoint::new(progress.scanned);
                self.ledger
                    .milestone(Milestone::Scanned(scanned, PrimaryTerm(progress.primary_term)));
                self.reach().await
            }
            Frame::Census(census) => self.census(&census).await,
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

    async fn batch(
        &mut self,
        batch: v1::Batch,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let (wire, versions) = (batch.block_zstd.len() as u64, batch.metadata.unwrap_or_default());
        // What the leader counts against the credit, so what is counted here.
        let bytes = batch.block_bytes;
        metrics::received(wire, bytes);
        self.context.status.received(bytes);
        self.account.received(bytes);
        let ops = decode_batch(batch)
            .map_err(|e| End::Passing(format!("a batch arrived damaged: {}", crate::chain(&e))))?;
        self.metadata(versions, cancel).await?;
        self.target_still_there(cancel).await?;
        let ops = self.remember(ops).await?;
        self.dispatch(ops.into_iter().map(Write::Op).collect(), bytes, applied, cancel)
            .await
    }

    /// Brings the target's metadata up to date before anything that needs it is written (I7).
    async fn metadata(&self, versions: v1::MetadataVersions, cancel: &CancellationToken) -> Result<(), End> {
        tokio::select! {
            result = self.context.metadata.ensure(versions, &self.context.status) => result.map_err(End::Final),
            () = cancel.cancelled() => Err(End::Cancelled),
        }
    }

    async fn target_still_there(&self, cancel: &CancellationToken) -> Result<(), End> {
        tokio::select! {
            result = self.context.metadata.still_there(&self.context.status) => result.map_err(End::Final),
            () = cancel.cancelled() => Err(End::Cancelled),
        }
    }

    /// Remembers documents before they are written, and drops operations that are older than what was already sent for
    /// their document: a reader that started again, on a copy that lags, may show an earlier state (I3).
    async fn remember(&mut self, mut ops: Vec<Op>) -> Result<Vec<Op>, End> {
        let store = self.context.store.clone();
        let reconciling = self.progress.reconciling;
        ops.retain(|op| op.change != Change::Noop);
        let (ops, seqs) = blocking(move || {
            let docs: Vec<_> = ops.iter().map(|op| (op.seq_no, &op.doc)).collect();
            let before = if reconciling {
                store.remember(&docs)?
            } else {
                store.remember_newer(&docs)?
            };
            let mut moved = Vec::with_capacity(ops.len());
            let mut before = before.into_iter();
            ops.retain(|op| {
                let before = before.next().flatten();
                let overtaken = !reconciling && before.is_some_and(|before| before > op.seq_no);
                if !overtaken {
                    moved.push((before, op.seq_no));
                }
                !overtaken
            });
            Ok((ops, moved))
        })
        .await?;
        if reconciling {
            self.buckets = None;
        } else if let Some(buckets) = &mut self.buckets {
            for (before, now) in seqs {
                if let Some(before) = before {
                    buckets.remove(before);
                }
                buckets.add(now);
            }
        }
        Ok(ops)
    }

    /// Hands writes to the lanes. While a lane is full, what the lanes finish is taken in.
    async fn dispatch(
        &mut self,
        writes: Vec<Write>,
        bytes: u64,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let mut portions: BTreeMap<usize, Vec<Write>> = BTreeMap::new();
        let (mut indexed, mut forget) = (0, Vec::new());
        for write in writes {
            match &write {
                Write::Gone(seq_no, doc)
                | Write::Op(Op {
                    change: Change::Delete,
                    seq_no,
                    doc,
                    ..
                }) => {
                    forget.push((*seq_no, doc.id.clone()));
                }
                Write::Op(_) => indexed += 1,
            }
            portions
                .entry(write.lane(self.lanes.len()))
                .or_default()
                .push(write);
        }
        if portions.is_empty() {
            self.account.applied(bytes);
            return self.grant().await;
        }
        let batch = self.ledger.enter(
            portions.len(),
            Done {
                bytes,
                indexed,
                forget,
            },
        );
        for (lane, writes) in portions {
            let lane = self.lanes[lane].clone();
            let place = loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(End::Cancelled),
                    place = lane.reserve() => break place,
                    done = applied.recv() => match done {
                        Some(Ok(batch)) => self.portion_applied(batch).await?,
                        Some(Err(error)) => return Err(error.into()),
                        None => return Err(End::Passing("the lanes ended".to_owned())),
                    },
                }
            };
            let Ok(place) = place else {
                // The lane ended on an error, which is on its way.
                return Err(lane_error(applied).await);
            };
            place.send(Portion { batch, writes });
        }
        Ok(())
    }

    async fn send(&self, frame: v1::follower_frame::Frame) -> Result<(), End> {
        send(&self.to_leader, frame).await
    }
}

async fn lane_error(applied: &mut mpsc::Receiver<Applied>) -> End {
    while let Some(done) = applied.recv().await {
        if let Err(error) = done {
            return error.into();
        }
    }
    End::Passing("a lane ended".to_owned())
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
