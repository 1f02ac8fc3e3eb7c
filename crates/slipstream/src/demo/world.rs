//! Two clusters and two agents, on ports that the system chose, with certificates that live as long as the demo.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slipstream_cluster::{Cluster, ClusterConfig};
use slipstream_follower::{Follower, FollowerConfig, Leaders};
use slipstream_gateway::{Access, GatewayConfig, Proxy};
use slipstream_leader::{AllowRule, Leader, LeaderConfig};
use slipstream_model::Pattern;
use slipstream_sandbox::{Flavor, Sandbox, SandboxConfig};
use slipstream_store::Store;
use slipstream_wire::certs::{self, LEAF_VALIDITY, San};
use slipstream_wire::tls::{ClientTls, ServerTls, TlsIdentity};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::init::metrics;

/// Who the follower agent is to the leader agent.
pub(super) const FOLLOWER: &str = "follower.demo";
/// Any port of this host that is free.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long everything may take to end.
const DRAIN: Duration = Duration::from_secs(15);

/// All that runs.
pub(super) struct World {
    /// The cluster that is read.
    pub(super) leader: Sandbox,
    /// The cluster that is written.
    pub(super) follower: Sandbox,
    /// Where the leader agent listens, `HOST:PORT`.
    pub(super) leader_agent: String,
    /// The gateway's address as a URL.
    pub(super) gateway: String,
    agent: Follower,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    _folder: TempDir,
}

impl World {
    /// Brings everything up.
    pub(super) async fn create() -> Result<World, Failure> {
        let folder = TempDir::with_prefix("slipstream-demo-").map_err(|error| Failure::of(&error))?;
        let leader = sandbox(Flavor::Elasticsearch, "leader").await?;
        let follower = sandbox(Flavor::OpenSearch, "follower").await?;
        let certs = folder.path().join("certs");
        certs::init_ca(&certs).map_err(|error| Failure::of(&error))?;
        let server = identity(&certs, "leader", &[San::Ip(ANY.ip())])?;
        let client = identity(&certs, "follower", &[San::Dns(FOLLOWER.to_owned())])?;
        let server = ServerTls::new(&server).map_err(|error| Failure::of(&error))?;
        let client = ClientTls::new(&client).map_err(|error| Failure::of(&error))?;

        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (listener, leader_agent) = listen().await?;
        let allow = AllowRule {
            identity: FOLLOWER.to_owned(),
            indices: vec![Pattern::new("leader-*")],
        };
        let config = LeaderConfig {
            allow: vec![allow],
            ..LeaderConfig::default()
        };
        let serving = Leader::new(cluster(&leader)?, config, shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = serving.run(listener, server).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the leader agent ended");
            }
        });

        let path = folder.path().join("store");
        let store = tokio::task::spawn_blocking(move || Store::open(&path)).await;
        let store = store
            .map_err(|error| Failure::of(&error))?
            .map_err(|error| Failure::of(&error))?;
        let certificate = client.clone();
        let metrics = metrics::start(Box::new(move || certificate.expires_at()))?;
        let limits = FollowerConfig {
            memory_bytes: 64 << 20,
            lanes_per_shard: 4,
            refresh_millis: 0,
            snapshot_path: None,
            file_server: None,
            snapshot_from_bytes: 0,
            snapshot_bytes_per_s: 0,
            restore_mb_per_s: 0,
        };
        let target = cluster(&follower)?;
        let agent = Follower::start_agent(target, store, client, Leaders::new(), limits, shutdown.clone())
            .await
            .map_err(|error| Failure::of(&error))?;
        let proxy = Proxy::to(&follower.url(), None).map_err(|error| Failure::of(&error))?;
        let (listener, address) = listen().await?;
        let config = GatewayConfig {
            proxy: Some(proxy),
            access: Access::of_this_host(),
            tls: None,
        };
        let serving = slipstream_gateway::serve(
            listener,
            agent.clone(),
            config,
            Arc::clone(&metrics),
            shutdown.clone(),
        );
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(error = &error as &dyn std::error::Error, "the gateway ended");
            }
        });
        let gateway = format!("http://{address}");
        Ok(World {
            leader,
            follower,
            leader_agent,
            gateway,
            agent,
            tasks,
            shutdown,
            _folder: folder,
        })
    }

    /// Takes everything down.
    pub(super) async fn end(self) {
        self.shutdown.cancel();
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            self.agent.stopped().await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("the agents did not end in time");
        }
        self.follower.stop().await;
        self.leader.stop().await;
    }
}

async fn sandbox(engine: Flavor, name: &str) -> Result<Sandbox, Failure> {
    let config = SandboxConfig {
        engine,
        cluster_name: name.to_owned(),
        data: None,
        listen: ANY,
    };
    Sandbox::start(config).await.map_err(|error| Failure::of(&error))
}

fn cluster(sandbox: &Sandbox) -> Result<Cluster, Failure> {
    Cluster::new(&ClusterConfig::new(sandbox.url())).map_err(|error| Failure::of(&error))
}

fn identity(certs: &Path, name: &str, sans: &[San]) -> Result<TlsIdentity, Failure> {
    let files = certs::issue(certs, name, sans, LEAF_VALIDITY).map_err(|error| Failure::of(&error))?;
    TlsIdentity::load(&files).map_err(|error| Failure::of(&error))
}

async fn listen() -> Result<(TcpListener, String), Failure> {
    let listener = TcpListener::bind(ANY)
        .await
        .map_err(|error| Failure::of(&error))?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::of(&error))?
        .to_string();
    Ok((listener, address))
}
