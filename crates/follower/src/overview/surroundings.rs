//! The clusters and agents around this one, asked only while somebody wants to know.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use slipstream_cluster::Cluster;
use slipstream_model::moment::{millis_of, now_millis};
use slipstream_wire::Certificate;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::lock;

/// How old what is known may be before it is asked anew. However many people look, each agent is bothered six times a minute.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the target may take to tell how it is.
const TARGET_PATIENCE: Duration = Duration::from_secs(5);

/// What is around a follower agent, as it was found last.
#[derive(Debug, Clone, Serialize)]
pub struct Surroundings {
    /// The cluster that is written to.
    pub target: TargetStatus,
    /// The clusters that are followed, by alias.
    pub leaders: Vec<LeaderStatus>,
    /// The certificate that this agent shows to leader agents.
    pub certificate: CertificateStatus,
    /// Whether somebody is looking at this moment, so that asking again soon tells something newer.
    pub looking: bool,
}

/// Who a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Its permanent identity.
    pub uuid: String,
    /// `elasticsearch` or `opensearch`.
    pub engine: String,
    /// The version of the node that answered.
    pub version: String,
}

/// The cluster that is written to.
#[derive(Debug, Clone, Serialize)]
pub struct TargetStatus {
    /// The address of the node that is asked.
    pub url: String,
    /// Who it is; `None` until it has answered once.
    pub cluster: Option<ClusterStatus>,
    /// `green`, `yellow` or `red`; `None` where it did not tell.
    pub health: Option<String>,
    /// Nodes in the cluster.
    pub nodes: Option<u32>,
    /// Why it did not answer when it was asked last, and what to do.
    pub error: Option<String>,
    /// When it was asked last, in milliseconds since 1970; `None` before the first time.
    pub asked_at_millis: Option<u64>,
}

/// A cluster that can be followed.
#[derive(Debug, Clone, Serialize)]
pub struct LeaderStatus {
    /// The name that it is registered under.
    pub alias: String,
    /// Who it is; `None` until one of its agents has answered once.
    pub cluster: Option<ClusterStatus>,
    /// The agents beside it.
    pub agents: Vec<AgentStatus>,
}

/// A leader agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentStatus {
    /// Where it listens.
    pub address: String,
    /// Whether it could be used when it was asked last; `None` before the first time.
    pub reachable: Option<bool>,
    /// Why it could not, and what to do.
    pub error: Option<String>,
    /// When it was asked last, in milliseconds since 1970.
    pub asked_at_millis: Option<u64>,
    /// Its release.
    pub release: Option<String>,
    /// The node that it stands beside, by name.
    pub node: Option<String>,
    /// Whether it can read the translog files of that node.
    pub reads_translog: bool,
    /// The certificate that it showed last.
    pub certificate: Option<CertificateStatus>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Whom it names.
    pub names: Vec<String>,
    /// Its last moment, in milliseconds since 1970.
    pub expires_at_millis: u64,
}

impl From<Certificate> for CertificateStatus {
    fn from(certificate: Certificate) -> Self {
        CertificateStatus {
            names: certificate.names,
            expires_at_millis: millis_of(certificate.expires_at),
        }
    }
}

/// Sees to it that somebody looks, and remembers what was seen of the target. The leaders' links remember theirs themselves.
pub(super) struct Lookout {
    shutdown: CancellationToken,
    look: Mutex<Look>,
}

#[derive(Default)]
struct Look {
    begun: Option<Instant>,
    /// Ends with the look, however it ends.
    alive: Option<CancellationToken>,
    target: Arc<Mutex<Option<TargetStatus>>>,
}

impl Lookout {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Lookout {
            shutdown,
            look: Mutex::default(),
        }
    }

    /// What was seen last. Begins a new look if that is old and none is under way.
    pub(super) fn surroundings(&self, agent: &Arc<Agent>, tasks: &TaskTracker) -> Surroundings {
        let mut look = lock(&self.look);
        let mut looking = look.alive.as_ref().is_some_and(|alive| !alive.is_cancelled());
        let old = look.begun.is_none_or(|begun| begun.elapsed() >= LOOK_AGAIN);
        if old && !looking && !self.shutdown.is_cancelled() {
            let alive = CancellationToken::new();
            let (agent, target) = (Arc::clone(agent), Arc::clone(&look.target));
            let (ended, shutdown) = (alive.clone().drop_guard(), self.shutdown.clone());
            tasks.spawn(async move {
                let _ended = ended;
                tokio::select! {
                    () = look_around(&agent, &target) => {}
                    () = shutdown.cancelled() => {}
                }
            });
            look.begun = Some(Instant::now());
            look.alive = Some(alive);
            looking = true;
        }
        let target = lock(&look.target).clone();
        Surroundings {
            target: target.unwrap_or_else(|| TargetStatus::unasked(agent.cluster())),
            leaders: agent.leader_book().statuses(),
            certificate: agent.leader_book().certificate().into(),
            looking,
        }
    }
}

async fn look_around(agent: &Agent, target: &Mutex<Option<TargetStatus>>) {
    let found = async {
        let before = lock(target).clone();
        let found = TargetStatus::ask(agent.cluster(), before).await;
        *lock(target) = Some(found);
    };
    let book = agent.leader_book();
    let links = book.all().into_keys().filter_map(|alias| book.link(&alias).ok());
    // What comes of it the links remember.
    let leaders = join_all(links.map(|link| async move { timeout(PATIENCE, link.look()).await.is_ok() }));
    tokio::join!(found, leaders);
}

impl TargetStatus {
    fn unasked(cluster: &Cluster) -> Self {
        TargetStatus {
            url: cluster.url().to_owned(),
            cluster: None,
            health: None,
            nodes: None,
            error: None,
            asked_at_millis: None,
        }
    }

    /// As it is now; who it is stays known while it is away.
    async fn ask(cluster: &Cluster, before: Option<TargetStatus>) -> Self {
        let mut status = TargetStatus {
            cluster: before.and_then(|before| before.cluster),
            asked_at_millis: Some(now_millis()),
            ..TargetStatus::unasked(cluster)
        };
        let asked = async {
            let identity = cluster.identity().await?;
            Ok((identity, cluster.health().await?))
        };
        match timeout(TARGET_PATIENCE, asked).await {
            Ok(Ok((identity, health))) => {
                status.cluster = Some(ClusterStatus {
                    name: identity.name.clone(),
                    uuid: identity.uuid.to_string(),
                    engine: identity.engine.to_string(),
                    version: identity.version.to_string(),
                });
                status.health = Some(health.status);
                status.nodes = Some(health.nodes);
            }
            Ok(Err(error)) => {
                let error: slipstream_cluster::ClusterError = error;
                status.error = Some(crate::chain(&error));
            }
            Err(_) => {
                status.error = Some(format!(
                    "{} does not answer within {TARGET_PATIENCE:?}: check that the cluster is up and not overloaded",
                    cluster.url()
                ));
            }
        }
        status
    }
}
