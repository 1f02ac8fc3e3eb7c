//! An engine small enough to embed: the subset of the Elasticsearch and OpenSearch REST API that replication agents,
//! and people with curl, use.
//!
//! It stands in for a real cluster in demos and in tests, so what it guarantees is sameness where it matters: sequence
//! numbers, versions and tombstones, primary terms and checkpoints, what a refresh makes visible, byte-exact sources,
//! how mappings grow, and how refusals look. The conformance suite of the `slipstream-tests` package runs the same
//! cases against it and against real servers; where they differ, the sandbox is wrong.
//!
//! With a data folder everything acknowledged survives a kill; without one everything is gone with the process.
//! Deliberately absent: relevance, analyzers, scripts, pipelines, templates, replicas, snapshots, security.

mod aggs;
mod aliases;
mod bulk;
mod call;
mod cat;
mod cluster;
mod create;
mod documents;
mod dynamic;
mod error;
mod faults;
mod index;
mod json;
mod knobs;
mod mapping;
mod metadata;
mod nodes;
mod persist;
mod pit;
mod query;
mod read;
mod render;
mod resolve;
mod routes;
mod search;
mod server;
mod settings;
mod shard;
mod state;
mod stats;
mod tasks;
mod time;
mod update;
mod values;
mod wishes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

pub use cluster::Flavor;
pub use faults::{Endpoint, Faults};
pub use persist::StoreError;

use cluster::Cluster;
use server::Server;

/// What a sandbox is to be.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The engine that it says it is.
    pub engine: Flavor,
    /// Its `cluster.name`.
    pub cluster_name: String,
    /// Where it keeps its indices; `None` keeps them in memory only.
    pub data: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address could not be listened on.
    #[error("the sandbox could not listen on {address}; choose a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The data folder could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running sandbox. Dropping it stops it without waiting for requests that still run.
#[derive(Debug)]
pub struct Sandbox {
    server: Server,
}

impl Sandbox {
    /// Starts a sandbox with whatever its data folder holds; it answers requests when this returns.
    pub async fn start(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let failed = |source| SandboxError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cluster = Cluster::open(
            config.engine,
            config.cluster_name,
            config.data.as_deref(),
            address,
        )?;
        tracing::info!(%address, engine = %config.engine, "the sandbox listens");
        Ok(Sandbox {
            server: Server::start(Arc::new(cluster), listener),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The knobs by which tests make it misbehave.
    pub fn faults(&self) -> Faults {
        self.server.cluster().faults.clone()
    }

    /// Stops listening and waits up to five seconds for requests that still run.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
