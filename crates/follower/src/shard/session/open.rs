//! The opening of a stream: which agent, from which place, and what the leader says to it.

use std::collections::BTreeMap;
use std::time::Duration;

use slipstream_model::GlobalCheckpoint;
use slipstream_store::ShardProgress;
use slipstream_wire::v1;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::super::ledger::Ledger;
use super::super::{End, Route, ShardContext};
use super::{RECONSIDER, Session, save, send};
use crate::apply::Portion;
use crate::blocking;

/// The answer to the opening takes a few requests on the leader cluster.
const OPENING: Duration = Duration::from_mins(1);

impl<'a> Session<'a> {
    pub(super) async fn open(
        context: &'a ShardContext,
        mut progress: ShardProgress,
        lanes: Vec<mpsc::Sender<Portion>>,
        route: &mut Route,
    ) -> Result<(Self, Streaming<v1::LeaderFrame>), End> {
        let link = context.leaders.link(&context.leader_alias)?;
        let connected = link.connect_for(&context.leader, route.avoid.as_deref()).await?;
        // Until it has opened the shard, the next try goes to another one if there is one.
        route.avoid = Some(connected.agent.clone());
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
            reconciling: progress.reconciling,
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

        route.avoid = None;
        let global = GlobalCheckpoint::new(opened.global_checkpoint);
        if progress.history.is_none() {
            progress.history = Some(opened.history_uuid.as_str().into());
            save(&context.store, &progress).await?;
        }
        let store = context.store.clone();
        let highest = blocking(move || store.highest()).await?;
        let mut session = Session {
            context,
            agent: connected.agent,
            reconsider: None,
            reconsider_every: RECONSIDER,
            acknowledged: progress.checkpoint.get(),
            progress,
            unsaved: None,
            to_leader,
            lanes,
            ledger: Ledger::default(),
            account: context.budget.account(),
            highest,
            buckets: None,
            bootstrap_through: global.0,
            search: None,
            gone: Vec::new(),
            repairs: BTreeMap::new(),
        };
        let through = (!session.progress.bootstrapped).then_some(global.0);
        context.status.opened(&opened.reader, &opened.why, through);
        session.reconsider_every = RECONSIDER * (1 << route.moves.min(5));
        session.served_by(&opened.reader);
        if session.reconsider.is_none() {
            route.moves = 0;
        }
        context.status.durable_at(session.progress.checkpoint.get());
        context.status.leader_at(global.0, Duration::ZERO);
        session.check_bootstrapped().await?;
        let credit = session.account.open();
        session
            .send(v1::follower_frame::Frame::Credit(v1::Credit { bytes: credit }))
            .await?;
        Ok((session, frames))
    }
}
