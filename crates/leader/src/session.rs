//! One shard stream from Open to its status: the reader, what it tells, and what the follower says, side by side.
//!
//! All three run in one task that the response stream owns: dropping the response (the follower is gone) ends them, and
//! none of them waits for another except through the link. The reader in particular is never held up between two
//! steps by a follower that does not listen, for it may be holding what the readers of other shards wait for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use slipstream_model::{Op, ShardKey, event};
use slipstream_source::{Credit, Event, Link, Question, ReadError, ShardReader};
use slipstream_wire::v1;
use slipstream_wire::v1::follower_frame::Frame as Said;
use slipstream_wire::v1::leader_frame::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use crate::authorise::{Access, Caller};
use crate::cause;
use crate::dialogue::{Dialogue, Verdict};
use crate::encoders::Encoders;
use crate::frames::{self, FrameError, Operations};
use crate::metrics::{Refusal, SessionMetrics, refused};

/// Events between reader and session, and frames between session and connection. Short: what is in them has taken
/// credit, yet it is memory of this agent (I8).
const DEPTH: usize = 4;
/// The follower hears something at least this often. More than a quiet reader's own pulse, so that it costs nothing then.
const ALIVE: Duration = Duration::from_secs(35);
/// Blocks above this are packed on a thread of their own, so that the other streams do not wait for it.
const INLINE_BYTES: usize = 1024 * 1024;

/// What a session is made from, once its Open was found good.
pub(crate) struct Session {
    pub(crate) caller: Caller,
    pub(crate) shard: ShardKey,
    pub(crate) access: Access,
    pub(crate) shutdown: CancellationToken,
    pub(crate) encoders: Encoders,
    pub(crate) reader: Box<dyn ShardReader>,
    pub(crate) said: Streaming<v1::FollowerFrame>,
    /// The session's share of the agent, given back with it.
    pub(crate) permit: tokio::sync::OwnedSemaphorePermit,
}

impl Session {
    /// Begins to read and to answer.
    pub(crate) fn begin(self) -> SessionStream {
        let (frames, answered) = mpsc::channel(DEPTH);
        SessionStream {
            frames: answered,
            task: Some(AbortOnDropHandle::new(tokio::spawn(self.run(frames)))),
        }
    }

    async fn run(self, frames: mpsc::Sender<v1::LeaderFrame>) -> Result<(), Status> {
        let Session {
            caller,
            shard,
            access,
            shutdown,
            encoders,
            mut reader,
            said,
            permit,
        } = self;
        let mut gone = Gone {
            caller: &caller,
            shard: &shard,
            armed: true,
        };
        let metrics = SessionMetrics::begin(&shard, reader.kind().as_str());
        let (mut link, events, questions, credit) = Link::new(DEPTH);
        let dialogue = Arc::new(Dialogue::default());
        let teller = Teller {
            frames,
            credit: credit.clone(),
            dialogue: Arc::clone(&dialogue),
            shard: &shard,
            metrics: &metrics,
            encoders,
        };
        let listener = Listener {
            credit,
            questions,
            dialogue,
            metrics: &metrics,
        };

        let opened = frames::opened(reader.kind(), reader.why(), reader.opening());
        let reading = async move {
            let result = reader.run(&mut link).await;
            // Ends the queue of events; what is still in it is told before the reader's end is.
            drop(link);
            result
        };
        let told = async { tokio::join!(reading, teller.tell(opened, events)) };
        let ended = tokio::select! {
            (read, told) = told => told.and_then(|()| read.map_err(|e: ReadError| cause::of_read(&e))),
            heard = listener.listen(said) => heard,
            status = access.revoked(&caller, &shard.index) => Err(status),
            () = shutdown.cancelled() => Err(cause::shutting_down()),
        };
        gone.armed = false;
        match &ended {
            Ok(()) => tracing::info!(identity = %caller, %shard, "the follower agent ended a stream"),
            Err(_) if shutdown.is_cancelled() => {
                tracing::debug!(identity = %caller, %shard, "a stream ended with the agent");
            }
            Err(status) => {
                let (code, reason) = (status.code(), status.message());
                tracing::warn!(identity = %caller, %shard, ?code, reason, "a stream ended");
            }
        }
        drop(permit);
        ended
    }
}

/// Logs the end of a session that is dropped in the middle because its follower is gone.
struct Gone<'a> {
    caller: &'a Caller,
    shard: &'a ShardKey,
    armed: bool,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if self.armed {
            tracing::info!(identity = %self.caller, shard = %self.shard, "a stream ended, the follower agent is gone");
        }
    }
}

/// The direction towards the follower.
struct Teller<'a> {
    frames: mpsc::Sender<v1::LeaderFrame>,
    credit: Credit,
    dialogue: Arc<Dialogue>,
    shard: &'a ShardKey,
    metrics: &'a SessionMetrics,
    encoders: Encoders,
}

impl Teller<'_> {
    /// Passes on everything that the reader tells, until it has no more to tell or nobody takes it.
    async fn tell(self, opened: v1::LeaderFrame, mut events: mpsc::Receiver<Event>) -> Result<(), Status> {
        let mut frame = opened;
        while self.frames.send(frame).await.is_ok() {
            let event = match timeout(ALIVE, events.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                // The reader waits for its cluster, or for credit; a follower must not take that for a dead agent.
                Err(_) => {
                    frame = frames::frame(Frame::Alive(v1::Alive {}));
                    continue;
                }
            };
            self.dialogue.leader_says(&event);
            if let Event::Serving { reader, why } = &event {
                tracing::info!(event = event::READER_CHANGED, shard = %self.shard, reader = reader.as_str(), why, "the shard is read otherwise now");
                self.metrics.serving(reader.as_str());
            }
            frame = match frames::of_event(event) {
                Ok(frame) => frame,
                Err(operations) => self.pack(operations).await?,
            };
        }
        Ok(())
    }

    async fn pack(&self, operations: Operations) -> Result<v1::LeaderFrame, Status> {
        let Operations { ops, metadata } = operations;
        self.metrics.count_ops(&ops);
        let taken: usize = ops.iter().map(Op::weight).sum();
        let metadata = frames::versions(metadata);
        let batch = if taken <= INLINE_BYTES {
            self.encoders.with(|encoder| encoder.encode(&ops, metadata))
        } else {
            let encoders = self.encoders.clone();
            let packing =
                tokio::task::spawn_blocking(move || encoders.with(|encoder| encoder.encode(&ops, metadata)));
            packing.await.map_err(|error| {
                Status::internal(format!("packing a batch did not come to an end: {error}"))
            })?
        };
        let batch = batch.map_err(|error| cause::of_batch(&error))?;
        // The reader took what the operations weigh in memory; the follower pays for the block only.
        self.credit
            .grant((taken as u64).saturating_sub(batch.block_bytes));
        self.metrics
            .count_bytes(batch.block_bytes, batch.block_zstd.len() as u64);
        Ok(frames::frame(Frame::Batch(batch)))
    }
}

/// The direction from the follower.
struct Listener<'a> {
    credit: Credit,
    questions: mpsc::Sender<Question>,
    dialogue: Arc<Dialogue>,
    metrics: &'a SessionMetrics,
}

impl Listener<'_> {
    /// Takes in what the follower says, until it ends the stream (`Ok`) or says something that makes no sense.
    async fn listen(self, mut said: Streaming<v1::FollowerFrame>) -> Result<(), Status> {
        // An error means that the connection broke: nobody is there to be told.
        while let Ok(Some(frame)) = said.message().await {
            self.hear(frame).map_err(|error| malformed(&error))?;
        }
        Ok(())
    }

    fn hear(&self, frame: v1::FollowerFrame) -> Result<(), FrameError> {
        match frame.frame.ok_or(FrameError::Unknown)? {
            Said::Open(_) => Err(FrameError::OpenedTwice),
            Said::Credit(credit) => {
                // More than a signed number holds is as good as endless.
                self.credit.grant(credit.bytes.min(MOST_CREDIT));
                Ok(())
            }
            Said::Ack(ack) => {
                self.metrics.acknowledged(ack.checkpoint);
                Ok(())
            }
            Said::Probe(probe) => self.ask(Question::Probe(frames::probe(probe)?)),
            Said::Settle(v1::Settle {}) => self.ask(Question::Settle),
        }
    }

    fn ask(&self, question: Question) -> Result<(), FrameError> {
        match self.dialogue.follower_asks()? {
            // One question at a time always finds room, unless the reader is gone, whose error then ends the session.
            Verdict::Due => {
                let queued = self.questions.try_send(question);
                debug_assert!(!matches!(queued, Err(mpsc::error::TrySendError::Full(_))));
            }
            Verdict::Void => {
                tracing::debug!(?question, "a question crossed with the abandonment of its census");
            }
        }
        Ok(())
    }
}

/// Largest grant that is counted, in bytes.
const MOST_CREDIT: u64 = 1 << 40;

/// The status of a frame that makes no sense.
pub(crate) fn malformed(error: &FrameError) -> Status {
    refused(Refusal::Malformed);
    Status::invalid_argument(error.to_string())
}

/// The leader's half of a stream: frames, then the session's status. Dropping it ends the session.
#[derive(Debug)]
pub(crate) struct SessionStream {
    frames: mpsc::Receiver<v1::LeaderFrame>,
    /// `None` once the status was told.
    task: Option<AbortOnDropHandle<Result<(), Status>>>,
}

impl Stream for SessionStream {
    type Item = Result<v1::LeaderFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(frame) = ready!(self.frames.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(task) = self.task.as_mut() else {
            return Poll::Ready(None);
        };
        let ended = ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(Err(status)),
            Err(error) => {
                tracing::error!(%error, "a session broke off");
                Some(Err(Status::internal(
                    "the session broke off by a fault of the leader agent; its log has more",
                )))
            }
        })
    }
}
