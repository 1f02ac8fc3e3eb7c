//! The opening of a shard stream: nothing is read before the caller, its protocol and its place are found good.

use slipstream_model::{IndexName, event};
use slipstream_source::{RelayReader, ShardReader};
use slipstream_wire::v1;
use slipstream_wire::v1::follower_frame::Frame as Said;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::authorise::Caller;
use crate::frames::{self, FrameError};
use crate::metrics::{Refusal, refused};
use crate::server::Agent;
use crate::session::{Session, SessionStream, malformed};
use crate::{cause, handshake};

/// Opens streams.
pub(crate) struct ChangesService(pub(crate) Agent);

#[tonic::async_trait]
impl v1::changes_server::Changes for ChangesService {
    type StreamStream = SessionStream;

    async fn stream(
        &self,
        request: Request<Streaming<v1::FollowerFrame>>,
    ) -> Result<Response<SessionStream>, Status> {
        let caller = Caller::of(&request)?;
        tokio::select! {
            session = self.open(caller, request.into_inner()) => Ok(Response::new(session?.begin())),
            () = self.0.shutdown.cancelled() => Err(cause::shutting_down()),
        }
    }
}

impl ChangesService {
    async fn open(&self, caller: Caller, mut said: Streaming<v1::FollowerFrame>) -> Result<Session, Status> {
        let agent = &self.0;
        // Taken before the first wait, so that streams that never open are bounded too.
        let permit = agent.streams.clone().try_acquire_owned().map_err(|_| {
            let streams = agent.config.max_streams;
            tracing::warn!(event = event::PEER_REFUSED, identity = %caller, streams, "refused a stream, this many are open already");
            refused(Refusal::TooManyStreams);
            Status::unavailable(format!(
                "the leader agent already serves {streams} streams: raise [limits] max_streams in leader.toml, or follow fewer shards"
            ))
        })?;
        let open = self.first_frame(&caller, &mut said).await?;
        handshake::check_protocol(&caller, open.protocol)?;
        agent
            .access
            .check(&caller, &IndexName::from(open.index.as_str()))?;
        let start = frames::start(open).map_err(|error| refuse(&caller, &error))?;

        let (shard, checkpoint) = (start.shard.clone(), start.checkpoint);
        agent.snapshots.release(&caller, &shard.index, &start.index_uuid);
        let opened = RelayReader::open(&agent.watch, &agent.tails, start).await;
        let reader = opened.map_err(|error| {
            let status = cause::of_read(&error);
            let (code, reason) = (status.code(), status.message());
            tracing::warn!(identity = %caller, %shard, ?code, reason, "a shard could not be opened");
            status
        })?;
        let opening = reader.opening();
        tracing::info!(
            identity = %caller, %shard, reader = reader.kind().as_str(), why = reader.why(), %checkpoint,
            global_checkpoint = %opening.global_checkpoint, term = %opening.term, "a stream begins"
        );
        Ok(Session {
            caller,
            shard,
            access: agent.access.clone(),
            shutdown: agent.shutdown.clone(),
            encoders: agent.encoders.clone(),
            reader: Box::new(reader),
            said,
            permit,
        })
    }

    async fn first_frame(
        &self,
        caller: &Caller,
        said: &mut Streaming<v1::FollowerFrame>,
    ) -> Result<v1::Open, Status> {
        let deadline = self.0.config.open_deadline;
        let Ok(first) = timeout(deadline, said.message()).await else {
            tracing::warn!(event = event::PEER_REFUSED, identity = %caller, ?deadline, "a stream was not opened in time");
            refused(Refusal::Malformed);
            let seconds = deadline.as_secs_f64();
            return Err(Status::deadline_exceeded(format!(
                "a stream must begin with Open within {seconds} seconds"
            )));
        };
        match first?.and_then(|frame| frame.frame) {
            Some(Said::Open(open)) => Ok(open),
            _ => Err(refuse(caller, &FrameError::NotOpen)),
        }
    }
}

fn refuse(caller: &Caller, error: &FrameError) -> Status {
    tracing::warn!(event = event::PEER_REFUSED, identity = %caller, reason = %error, "refused a stream");
    malformed(error)
}
