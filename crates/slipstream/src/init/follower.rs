//! `slipstream follower`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use slipstream_cluster::Cluster;
use slipstream_follower::Follower;
use slipstream_gateway::{GatewayConfig, Proxy};
use slipstream_model::event;
use slipstream_store::Store;
use slipstream_wire::tls::ClientTls;
use tokio_util::sync::CancellationToken;

use super::access::Front;
use super::files::{Files, FilesTls};
use super::signals::{Asked, Signals};
use super::{bind::bind, descriptors, expiry, introduce, logging, metrics};
use crate::cli::LogFormat;
use crate::config::{FollowerFile, environment};
use crate::failure::{Failure, chain};

/// How long the indices may take to store their places at the end.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs a follower agent until it is told to end.
pub(crate) async fn run(path: &Path, log: LogFormat) -> Result<(), Failure> {
    let file = FollowerFile::load(path, environment())?;
    let tls = ClientTls::new(&file.tls.identity).map_err(|error| Failure::usage(chain(&error)))?;
    let cluster = Cluster::new(&file.cluster).map_err(|error| Failure::usage(chain(&error)))?;
    let proxy = if file.gateway.proxy {
        let way = Proxy::to(&file.cluster.url, file.cluster.ca_pem.as_deref());
        Some(way.map_err(|error| Failure::usage(chain(&error)))?)
    } else {
        None
    };
    let front = Front::new(&file.gateway, &file.cluster, &cluster)?;
    let export = logging::start_tracing(log, "slipstream-follower", file.otlp.as_ref())?;
    descriptors::allow_all();
    let mut signals = Signals::listen()?;
    let listener = bind(&file.gateway.address, "[gateway] address", "gateway").await?;
    let files = match &file.snapshots {
        Some(served) => Some(Files::new(served).await?),
        None => None,
    };
    let shown = Shown {
        agent: tls.clone(),
        front: front.clone(),
        files: files.as_ref().map(Files::tls).unwrap_or_default(),
    };
    let certificates = shown.clone();
    let metrics = metrics::start(Box::new(move || certificates.expires_at()))?;
    expiry::warn_if_soon(shown.expires_at());

    let store = open_store(file.store.0).await?;
    let shutdown = CancellationToken::new();
    // However this function ends, so does everything below it.
    let _end = shutdown.clone().drop_guard();
    let (leaders, mut limits) = (file.leaders, file.limits);
    limits.file_server = files.as_ref().map(|files| files.server.clone());
    let follower = Follower::start_agent(
        cluster.clone(),
        store,
        tls.clone(),
        leaders,
        limits,
        shutdown.clone(),
    )
    .await
    .map_err(|error| Failure::of(&error))?;
    let gateway = slipstream_gateway::serve(
        listener,
        follower.clone(),
        GatewayConfig {
            proxy,
            access: front.access.clone(),
            tls: front.tls.clone(),
        },
        metrics,
        shutdown.clone(),
    );
    tracing::info!(
        event = event::AGENT_STARTED,
        agent = "follower",
        version = env!("CARGO_PKG_VERSION"),
        "started"
    );
    let told = async {
        while signals.next().await == Asked::Reload {
            reload(path, &shown);
        }
        shutdown.cancel();
    };
    let served = async { gateway.await.map_err(|error| Failure::of(&error)) };
    let introduced = async {
        introduce(cluster, shutdown.clone()).await;
        Ok(())
    };
    let files_served = async {
        match files {
            Some(files) => files.serve(shutdown.clone()).await,
            None => Ok(()),
        }
    };
    let working = async { tokio::try_join!(served, introduced, files_served).map(drop) };
    tokio::pin!(working);
    tokio::select! {
        failed = &mut working => return failed,
        () = told => {}
    }
    working.await?;
    if tokio::time::timeout(DRAIN, follower.stopped()).await.is_err() {
        return Err(Failure::failed(
            "the indices did not end in time; their places are as of the last checkpoint",
        )
        .advise("start the agent again: it goes on from there"));
    }
    if let Some(export) = export {
        export.end().await;
    }
    tracing::info!(event = event::AGENT_STOPPED, "ended");
    Ok(())
}

async fn open_store(path: std::path::PathBuf) -> Result<Store, Failure> {
    let opened = tokio::task::spawn_blocking(move || Store::open(&path)).await;
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(error) => Err(Failure::of(&error)),
    }
}

/// What the agent shows to others, and lets them show.
#[derive(Clone)]
struct Shown {
    /// To leader agents.
    agent: ClientTls,
    /// To callers of the gateway.
    front: Front,
    /// To nodes of the target that fetch files.
    files: FilesTls,
}

impl Shown {
    /// When the first of the certificates expires.
    fn expires_at(&self) -> SystemTime {
        self.files
            .expires_at(self.front.expires_at(self.agent.expires_at()))
    }
}

/// Takes new certificates, users and rules from the files; keeps the old ones if anything is wrong with them.
fn reload(path: &Path, shown: &Shown) {
    let loaded = FollowerFile::load(path, environment()).map_err(|error| error.to_string());
    let reloaded = loaded.and_then(|file| {
        shown.files.reload(file.snapshots.as_ref())?;
        shown.front.reload(file.gateway)?;
        shown
            .agent
            .reload(&file.tls.identity)
            .map_err(|error| chain(&error))
    });
    match reloaded {
        Ok(()) => {
            expiry::warn_if_soon(shown.expires_at());
            tracing::info!(
                event = event::CERTIFICATE_RELOADED,
                "certificates, users and allow rules reloaded; other settings take effect with a restart"
            );
        }
        Err(error) => tracing::error!(
            event = event::RELOAD_FAILED,
            error,
            "not reloaded: everything stays as it was"
        ),
    }
}
