//! The agent as a server: one cluster, one set of rules, four services, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use slipstream_cluster::Cluster;
use slipstream_model::event;
use slipstream_source::{Tails, Watch};
use slipstream_wire::accept::{incoming, server};
use slipstream_wire::protocol::MAX_MESSAGE_BYTES;
use slipstream_wire::{ServerTls, v1};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::authorise::Access;
use crate::catalog::CatalogService;
use crate::changes::ChangesService;
use crate::config::{AllowRule, LeaderConfig};
use crate::contents::ContentsService;
use crate::encoders::Encoders;
use crate::handshake::HandshakeService;
use crate::snapshots::{Snapshots, SnapshotsService};

/// How long connections may take to close after the end was announced. Sessions end at once by themselves; this is for
/// peers that do not read what they are told.
const DRAIN: Duration = Duration::from_secs(3);

/// Whole shards that are read at once, for followers that compare themselves; others wait for their turn.
const MOST_READINGS: usize = 2;

/// Why a leader agent stopped serving.
#[derive(Debug, Error)]
pub enum LeaderError {
    /// The gRPC server failed as a whole.
    #[error("the leader agent cannot serve on its listening address any more; restart it")]
    Serve(#[source] tonic::transport::Error),
}

/// The leader agent of one cluster. Cheap to clone; all clones are the same agent.
#[derive(Clone)]
pub struct Leader(Agent);

/// What the services share.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) watch: Watch,
    pub(crate) tails: Tails,
    pub(crate) access: Access,
    pub(crate) config: Arc<LeaderConfig>,
    /// Streams that may still be opened.
    pub(crate) streams: Arc<Semaphore>,
    /// Readings of whole shards that may still be begun: they are searches of the leader's, and not urgent.
    pub(crate) readings: Arc<Semaphore>,
    pub(crate) encoders: Encoders,
    pub(crate) snapshots: Snapshots,
    /// The agent's end.
    pub(crate) shutdown: CancellationToken,
}

impl Leader {
    /// An agent beside `cluster`, which is not asked anything yet. It ends with `shutdown`.
    pub fn new(cluster: Cluster, mut config: LeaderConfig, shutdown: CancellationToken) -> Self {
        let access = Access::new(std::mem::take(&mut config.allow));
        let streams = Arc::new(Semaphore::new(config.max_streams.min(Semaphore::MAX_PERMITS)));
        let watch = Watch::new(cluster);
        let snapshots = Snapshots::new(config.snapshot_path.clone(), &config.agent_name);
        let tails = Tails::new(watch.clone(), config.translog.clone());
        Leader(Agent {
            watch,
            tails,
            access,
            config: Arc::new(config),
            streams,
            readings: Arc::new(Semaphore::new(MOST_READINGS)),
            encoders: Encoders::default(),
            snapshots,
            shutdown,
        })
    }

    /// Whether the translog files of the node beside this agent can be read.
    ///
    /// # Errors
    /// Why not, in words, and what to do.
    pub async fn check_translog(&self) -> Result<(), String> {
        self.0.tails.check().await
    }

    /// Replaces the rules of who may read what. New calls go by the new rules, and open streams that these do not allow
    /// end with `PERMISSION_DENIED`.
    pub fn reload_rules(&self, allow: Vec<AllowRule>) {
        tracing::info!(
            event = event::CONFIGURATION_RELOADED,
            rules = allow.len(),
            "rules of who may read what are replaced"
        );
        self.0.access.replace(allow);
    }

    /// Serves follower agents that connect to `listener` until `shutdown`, then within three seconds returns: open
    /// streams end with `UNAVAILABLE`, in words, so that followers come again.
    ///
    /// # Errors
    /// Where the server fails as a whole. A connection that fails ends only itself.
    pub async fn run(&self, listener: TcpListener, tls: ServerTls) -> Result<(), LeaderError> {
        let agent = &self.0;
        let limit = MAX_MESSAGE_BYTES;
        let router = server()
            .add_service(v1::handshake_server::HandshakeServer::new(HandshakeService(
                agent.clone(),
            )))
            .add_service(
                v1::catalog_server::CatalogServer::new(CatalogService(agent.clone()))
                    .max_encoding_message_size(limit),
            )
            .add_service(
                v1::contents_server::ContentsServer::new(ContentsService(agent.clone()))
                    .max_encoding_message_size(limit),
            )
            .add_service(
                v1::snapshots_server::SnapshotsServer::new(SnapshotsService(agent.clone()))
                    .max_encoding_message_size(limit),
            )
            .add_service(
                v1::changes_server::ChangesServer::new(ChangesService(agent.clone()))
                    .max_encoding_message_size(limit),
            );
        agent.snapshots.sweep(agent);
        let connections = incoming(listener, tls, agent.shutdown.clone());
        let serving =
            router.serve_with_incoming_shutdown(connections, agent.shutdown.clone().cancelled_owned());
        let drained = async {
            agent.shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(LeaderError::Serve),
            () = drained => {
                tracing::warn!(after = ?DRAIN, "connections did not close in time and are left behind");
                Ok(())
            }
        };
        // What is not cleared up by then is cleared up by the agent's next life.
        if tokio::time::timeout(DRAIN, agent.snapshots.ended())
            .await
            .is_err()
        {
            tracing::warn!(after = ?DRAIN, "snapshots could not be removed in time");
        }
        served
    }

    /// [`Leader::new`] and [`Leader::run`] in one, for a caller that never reloads rules.
    ///
    /// # Errors
    /// As [`Leader::run`].
    pub async fn serve(
        listener: TcpListener,
        cluster: Cluster,
        tls: ServerTls,
        config: LeaderConfig,
        shutdown: CancellationToken,
    ) -> Result<(), LeaderError> {
        Leader::new(cluster, config, shutdown).run(listener, tls).await
    }
}
