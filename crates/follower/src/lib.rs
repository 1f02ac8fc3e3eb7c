//! The follower agent: pulls shard changes, indexes them into the target, and keeps its place.
//!
//! [`Follower`] is the handle that the gateway and the command line hold. Below it, one task an index walks the state
//! machine ([`slipstream_model::Phase`]), and one session a shard turns the leader's stream into bulks.

mod agent;
mod apply;
mod autofollow;
mod backoff;
mod budget;
pub mod control;
mod health;
mod index;
mod leaders;
mod many;
pub mod metrics;
mod overview;
mod shard;
mod status;
#[cfg(test)]
mod testing;
mod together;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipstream_cluster::Cluster;
use slipstream_model::readiness::Component;
use slipstream_model::settings::Settings;
use slipstream_model::words::chain;
use slipstream_model::{IndexName, Reason, event};
use slipstream_store::{Store, StoreError};
use slipstream_wire::tls::ClientTls;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::autofollow::AutoFollow;
use crate::index::Command;
use crate::many::Many;
use crate::overview::Overview;
use crate::verify::Verifications;

pub use control::{
    ControlError, Difference, DifferenceKind, FailedIndex, FailedStart, FilesStatus, IndexStatus, Leaders,
    ManyOperation, ManyRequest, ManyStatus, RepairStatus, RuleRequest, RuleStatus, ShardStatus, StartRequest,
    VerifyOutcome, VerifyStatus,
};
pub use index::{FileServer, NoWay, check_folder};
pub use overview::{
    AgentStatus, CertificateStatus, ClusterStatus, LagHistory, LeaderStatus, Surroundings, TargetStatus,
    Trend,
};

/// How the agent works; the limits of its memory and its pace.
#[derive(Debug, Clone)]
pub struct FollowerConfig {
    /// Bytes of operations that all sessions together may have received and not yet applied (I8).
    pub memory_bytes: u64,
    /// Bulks in flight a shard.
    pub lanes_per_shard: usize,
    /// Ask leaders for a refresh this often when there is something new, in milliseconds; 0 follows the leader's rhythm.
    pub refresh_millis: u32,
    /// A folder under the target's `path.repo` that this agent can write, for indices that begin with their files.
    pub snapshot_path: Option<PathBuf>,
    /// Serves those files where there is no such folder. Whoever makes it has it serve. Without both, indices never begin with files.
    pub file_server: Option<FileServer>,
    /// The size of an index, in bytes, from which on it begins with its files where it can.
    pub snapshot_from_bytes: u64,
    /// Bytes a second of the leader's files that may come, over all indices; 0 for no limit. A setting can change it.
    pub snapshot_bytes_per_s: u64,
    /// Mebibytes a second at which the target may restore, in place of its own limit for recoveries; 0 leaves that as it is.
    pub restore_mb_per_s: u64,
}

/// The follower agent. Cheap to clone; all clones are the same agent.
#[derive(Clone)]
pub struct Follower {
    agent: Arc<Agent>,
    autofollow: Arc<AutoFollow>,
    many: Arc<Many>,
    verifications: Arc<Verifications>,
    overview: Arc<Overview>,
}

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
        let agent = Agent::start(cluster, store, tls, leaders, &config, shutdown.clone()).await?;
        let agent = Arc::new(agent);
        let ending = shutdown.clone();
        let autofollow = AutoFollow::start(Arc::clone(&agent), shutdown).await?;
        Ok(Follower {
            verifications: Arc::new(Verifications::new(Arc::clone(&agent), ending.clone())),
            overview: Arc::new(Overview::start(Arc::clone(&agent), ending.clone())),
            many: Arc::new(Many::new(Arc::clone(&agent), ending)),
            agent,
            autofollow: Arc::new(autofollow),
        })
    }

    /// Starts following. Returns once the follower index exists and the bootstrap runs.
    pub async fn start(&self, request: StartRequest) -> Result<(), ControlError> {
        let index = request.follower_index.clone();
        let started = self.agent.follow(request).await;
        if let Err(error) = &started {
            let reason = chain(error);
            tracing::warn!(event = event::INDEX_START_FAILED, %index, reason, "not started");
        }
        started
    }

    /// Ends following: the index becomes an ordinary one, with its held-back settings put back.
    pub async fn stop(&self, index: &IndexName) -> Result<(), ControlError> {
        self.agent.command(index, Command::Stop).await
    }

    /// Holds an index where it is; `reason` is shown by status.
    pub async fn pause(&self, index: &IndexName, reason: Option<String>) -> Result<(), ControlError> {
        let reason = Reason::new(reason.unwrap_or_default());
        self.agent
            .command(index, |reply| Command::Pause(reason, reply))
            .await
    }

    /// Goes on with a paused or failed index. Where a shard's history had changed on the leader, resuming is the
    /// operator's word to read everything again over what is there.
    pub async fn resume(&self, index: &IndexName) -> Result<(), ControlError> {
        self.agent.command(index, Command::Resume).await
    }

    /// Replaces the settings that an index has otherwise than its leader. In force soon after.
    pub async fn update(&self, index: &IndexName, overrides: Settings) -> Result<(), ControlError> {
        self.agent
            .command(index, |reply| Command::Update(overrides, reply))
            .await
    }

    /// Begins one operation on many indices; returns the task's number. One task at a time.
    pub async fn many(&self, request: ManyRequest) -> Result<u64, ControlError> {
        self.many.begin(request).await
    }

    /// How such a task stands; `None` if this life of the agent does not know it.
    pub fn many_status(&self, id: u64) -> Option<ManyStatus> {
        self.many.status(id)
    }

    /// Leaves out what such a task has not begun yet.
    pub fn cancel_many(&self, id: u64) -> Result<(), ControlError> {
        self.many.cancel(id)
    }

    /// The agent's own identity, which its lives share.
    pub fn id(&self) -> &str {
        self.agent.store().follower_id()
    }

    /// Makes a rule that follows a leader's indices by their names.
    pub async fn add_rule(&self, request: RuleRequest) -> Result<(), ControlError> {
        self.autofollow.add(request).await
    }

    /// Ends a rule. What it has started goes on.
    pub async fn remove_rule(&self, leader_alias: &str, name: &str) -> Result<(), ControlError> {
        self.autofollow.remove(leader_alias, name).await
    }

    /// All rules, by leader and name.
    pub fn rules(&self) -> Vec<RuleStatus> {
        self.autofollow.list()
    }

    /// Keeps settings by name; `None` puts the default back. [`control::BLOCK_START`] and [`control::DELETE_INDEX`] are
    /// obeyed, the others are only shown.
    pub async fn set_switches(&self, switches: Vec<(String, Option<String>)>) -> Result<(), ControlError> {
        self.agent.set_switches(switches).await
    }

    /// All that are kept.
    pub fn switches(&self) -> BTreeMap<String, String> {
        self.agent.switches()
    }

    /// Begins to compare an index with its leader's, document by document, unless that is being done already. With `repair`,
    /// documents that differ are fetched and written again, and those that the leader does not have are deleted.
    pub fn verify(&self, index: &IndexName, repair: bool) -> Result<(), ControlError> {
        self.verifications.begin(index, repair)
    }

    /// What the last comparison of an index since the agent started has found.
    pub fn verified(&self, index: &IndexName) -> Option<VerifyStatus> {
        self.verifications.status(index)
    }

    /// Where an index stands; `None` if it does not follow.
    pub fn status(&self, index: &IndexName) -> Option<IndexStatus> {
        self.agent.status(index)
    }

    /// All following indices, by name.
    pub fn list(&self) -> Vec<IndexStatus> {
        self.agent.list()
    }

    /// Registers a leader: addresses of its agents, `host:port`.
    pub async fn register_leader(&self, alias: &str, agents: Vec<String>) -> Result<(), ControlError> {
        self.agent.set_leader(alias, Some(agents)).await
    }

    /// Forgets a registered leader.
    pub async fn remove_leader(&self, alias: &str) -> Result<(), ControlError> {
        if let Some(name) = self.autofollow.user_of(alias) {
            return Err(ControlError::LeaderInUseByRule {
                alias: alias.to_owned(),
                name,
            });
        }
        self.agent.set_leader(alias, None).await
    }

    /// All leaders.
    pub fn leaders(&self) -> Leaders {
        self.agent.leaders()
    }

    /// What is around the agent, as found last: clusters, leader agents, certificates. Never waits; asking it is what makes
    /// the agent look again.
    pub fn surroundings(&self) -> Surroundings {
        self.overview.surroundings()
    }

    /// How lag went over the last half hour: that of one index, or of all together.
    pub fn lag(&self, index: Option<&IndexName>) -> LagHistory {
        self.overview.lag(index)
    }

    /// How an index has been doing, in few numbers.
    pub fn trend(&self, index: &IndexName) -> Trend {
        self.overview.trend(index)
    }

    /// What the agent works with, and whether that works right now. Takes a few seconds where something does not answer.
    pub async fn components(&self) -> Vec<Component> {
        health::components(&self.agent).await
    }

    /// The target cluster.
    pub fn cluster(&self) -> &Cluster {
        self.agent.cluster()
    }

    /// Waits until all tasks have ended and stored their places. Call after cancelling the `shutdown` token given at the
    /// start.
    pub async fn stopped(&self) {
        self.autofollow.stopped().await;
        self.many.stopped().await;
        self.verifications.stopped().await;
        self.overview.stopped().await;
        self.agent.stopped().await;
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
