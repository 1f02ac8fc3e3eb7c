//! The follower agent: pulls shard changes, indexes them into the target, and keeps its place.
//!
//! [`Follower`] is the handle that the gateway and the command line hold. Below it, one task an index walks the state
//! machine ([`slipstream_model::Phase`]), and one session a shard turns the leader's stream into bulks.

mod agent;
mod apply;
mod backoff;
mod budget;
pub mod control;
mod index;
mod leaders;
pub mod metrics;
mod shard;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipstream_cluster::Cluster;
use slipstream_model::words::chain;
use slipstream_model::{IndexName, Reason};
use slipstream_store::{Store, StoreError};
use slipstream_wire::tls::ClientTls;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::index::Command;

pub use control::{ControlError, IndexStatus, Leaders, ShardStatus, StartRequest};

/// How the agent works; the limits of its memory and its pace.
#[derive(Debug, Clone)]
pub struct FollowerConfig {
    /// Bytes of operations that all sessions together may have received and not yet applied (I8).
    pub memory_bytes: u64,
    /// Bulks in flight a shard.
    pub lanes_per_shard: usize,
    /// Ask leaders for a refresh this often when there is something new, in milliseconds; 0 follows the leader's rhythm.
    pub refresh_millis: u32,
}

/// The follower agent. Cheap to clone; all clones are the same agent.
#[derive(Clone)]
pub struct Follower(Arc<Agent>);

impl Follower {
    /// Starts the agent, which goes on with every index that the store knows. `leaders` come from the configuration and
    /// take precedence over registered ones of the same alias.
    pub async fn start_agent(
        cluster: Cluster,
        store: Store,
        tls: ClientTls,
        leaders: Leaders,
        config: FollowerConfig,
        shutdown: CancellationToken,
    ) -> Result<Follower, ControlError> {
        Ok(Follower(Arc::new(
            Agent::start(cluster, store, tls, leaders, &config, shutdown).await?,
        )))
    }

    /// Starts following. Returns once the follower index exists and the bootstrap runs.
    pub async fn start(&self, request: StartRequest) -> Result<(), ControlError> {
        self.0.follow(request).await
    }

    /// Ends following: the index becomes an ordinary one, with its held-back settings put back.
    pub async fn stop(&self, index: &IndexName) -> Result<(), ControlError> {
        self.0.command(index, Command::Stop).await
    }

    /// Holds an index where it is; `reason` is shown by status.
    pub async fn pause(&self, index: &IndexName, reason: Option<String>) -> Result<(), ControlError> {
        let reason = Reason::new(reason.unwrap_or_default());
        self.0.command(index, |reply| Command::Pause(reason, reply)).await
    }

    /// Goes on with a paused or failed index. Where a shard's history had changed on the leader, resuming is the
    /// operator's word to read everything again over what is there.
    pub async fn resume(&self, index: &IndexName) -> Result<(), ControlError> {
        self.0.command(index, Command::Resume).await
    }

    /// Where an index stands; `None` if it does not follow.
    pub fn status(&self, index: &IndexName) -> Option<IndexStatus> {
        self.0.status(index)
    }

    /// All following indices, by name.
    pub fn list(&self) -> Vec<IndexStatus> {
        self.0.list()
    }

    /// Registers a leader: addresses of its agents, `host:port`.
    pub async fn register_leader(&self, alias: &str, agents: Vec<String>) -> Result<(), ControlError> {
        self.0.set_leader(alias, Some(agents)).await
    }

    /// Forgets a registered leader.
    pub async fn remove_leader(&self, alias: &str) -> Result<(), ControlError> {
        self.0.set_leader(alias, None).await
    }

    /// All leaders.
    pub fn leaders(&self) -> Leaders {
        self.0.leaders()
    }

    /// The target cluster.
    pub fn cluster(&self) -> &Cluster {
        self.0.cluster()
    }

    /// Waits until all tasks have ended and stored their places. Call after cancelling the `shutdown` token given at the
    /// start.
    pub async fn stopped(&self) {
        self.0.stopped().await;
    }
}

/// Locks a mutex whose contents are good after any panic: nothing here changes them in more than one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs calls of the store on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(join) => match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and nobody will look at what this future makes.
            Err(_) => std::future::pending().await,
        },
    }
}
