//! The agent behind the handle: which indices are followed, by which tasks, and the rules for starting another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use slipstream_cluster::Cluster;
use slipstream_model::moment::now_millis;
use slipstream_model::{IndexName, Phase, Reason, ShardId, event, size};
use slipstream_store::{Definition, LeaderAlias, Store};
use slipstream_wire::tls::ClientTls;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::apply::Bulks;
use crate::budget::Budget;
use crate::control::{BLOCK_START, COPY_RATE, ControlError, IndexStatus, Leaders, StartRequest};
use crate::index::{
    Command, IndexHandle, IndexTask, Sightings, TaskContext, Throttle, Transfers, check, describe,
};
use crate::leaders::{LeaderBook, LeaderError, LeaderLink};
use crate::shard::Repair;
use crate::{FollowerConfig, lock};

/// How long a request waits for its index task; the task goes on all the same.
const PATIENCE: Duration = Duration::from_secs(30);
/// The agent.
pub(crate) struct Agent {
    context: TaskContext,
    /// Bytes a second of files, unless a setting says otherwise.
    configured_cap: u64,
    indices: Arc<Mutex<BTreeMap<IndexName, IndexHandle>>>,
    /// Names for which a start is being checked: two requests for one name must not both pass.
    starting: Mutex<std::collections::BTreeSet<IndexName>>,
    tasks: TaskTracker,
}

impl Agent {
    pub(crate) async fn start(
        cluster: Cluster,
        store: Store,
        tls: ClientTls,
        configured: Leaders,
        config: &FollowerConfig,
        shutdown: CancellationToken,
    ) -> Result<Agent, ControlError> {
        let reading = store.clone();
        let read = move || Ok((reading.definitions()?, reading.leaders()?, reading.switches()?));
        let (definitions, registered, switches) = crate::blocking(read).await?;
        let registered = registered
            .into_iter()
            .map(|leader| (leader.alias, leader.agents))
            .collect();
        let sightings = Arc::new(Sightings::new(cluster.clone()));
        let transfers = Transfers::new(cap(&switches, config.snapshot_bytes_per_s));
        let context = TaskContext {
            bulks: Arc::new(Bulks::new(cluster.clone(), store.follower_id())),
            scribe: Arc::default(),
            cluster,
            store,
            leaders: Arc::new(LeaderBook::new(tls, configured, registered)),
            sightings,
            switches: Arc::new(Mutex::new(switches)),
            budget: Budget::new(config.memory_bytes),
            lanes_per_shard: config.lanes_per_shard.max(1),
            refresh_millis: config.refresh_millis,
            snapshot_path: config.snapshot_path.clone(),
            file_server: config.file_server.clone(),
            snapshot_from_bytes: config.snapshot_from_bytes,
            throttle: Throttle::new(config.restore_mb_per_s),
            transfers,
            shutdown,
        };
        let agent = Agent {
            context,
            configured_cap: config.snapshot_bytes_per_s,
            indices: Arc::default(),
            starting: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        let sightings = Arc::clone(&agent.context.sightings);
        agent.tasks.spawn(sightings.run(agent.context.shutdown.clone()));
        let scribe = Arc::clone(&agent.context.scribe);
        agent.tasks.spawn(scribe.run(agent.context.shutdown.clone()));
        if agent.context.snapshot_path.is_some() || agent.context.file_server.is_some() {
            let TaskContext {
                throttle,
                cluster,
                shutdown,
                ..
            } = agent.context.clone();
            agent.tasks.spawn(throttle.run(cluster, shutdown));
        }
        for definition in definitions {
            agent.spawn(definition, None);
        }
        Ok(agent)
    }

    fn spawn(&self, definition: Definition, started: Option<oneshot::Sender<Result<(), ControlError>>>) {
        let name = definition.follower_index.clone();
        let (task, handle) = IndexTask::new(self.context.clone(), definition, started);
        lock(&self.indices).insert(name, handle);
        let indices = Arc::clone(&self.indices);
        self.tasks.spawn(async move {
            let name = task.run().await;
            lock(&indices).remove(&name);
        });
    }

    pub(crate) async fn follow(&self, request: StartRequest) -> Result<(), ControlError> {
        let (index, leader, leader_index) = (
            request.follower_index.clone(),
            request.leader_alias.clone(),
            request.leader_index.clone(),
        );
        let span = slipstream_trace::span!("start", %index, %leader_index);
        self.start_following(request).instrument(span).await?;
        tracing::info!(event = event::INDEX_STARTED, %index, leader, %leader_index, "started");
        Ok(())
    }

    async fn start_following(&self, request: StartRequest) -> Result<(), ControlError> {
        if lock(&self.context.switches)
            .get(BLOCK_START)
            .is_some_and(|on| on == "true")
        {
            return Err(ControlError::StartBlocked);
        }
        let name = request.follower_index.clone();
        if lock(&self.indices).contains_key(&name) || !lock(&self.starting).insert(name.clone()) {
            return Err(ControlError::FollowerExists(name));
        }
        let _turn = Starting {
            agent: self,
            name: name.clone(),
        };
        let link = self
            .context
            .leaders
            .link(&request.leader_alias)
            .map_err(|error| match error {
                LeaderError::Unknown(alias) => ControlError::NoSuchLeader(alias),
                error => ControlError::Unavailable(crate::chain(&error)),
            })?;
        let leader = describe(&link, &request.leader_index).await?;
        check(&request.leader_index, &leader)?;
        let exists = self.context.cluster.exists(&name).await;
        if exists
            .map_err(|e| ControlError::Unavailable(format!("the target cluster: {}", crate::chain(&e))))?
        {
            return Err(ControlError::FollowerExists(name));
        }
        let definition = Definition {
            follower_index: name.clone(),
            leader_alias: request.leader_alias,
            leader_index: request.leader_index,
            leader_index_uuid: Some(leader.uuid),
            leader_cluster_uuid: Some(leader.cluster),
            follower_index_uuid: None,
            restoring: None,
            restored_created_at: None,
            begun_with: None,
            bootstrap: request.bootstrap,
            phase: Phase::Init,
            resume_phase: Phase::Bootstrapping,
            reason: Reason::new(Reason::USER),
            overrides: request.overrides,
            shards: leader.shards,
            started_at_millis: now_millis(),
            delete_follower: false,
            until_opened: false,
        };
        let (store, stored) = (self.context.store.clone(), definition.clone());
        crate::blocking(move || {
            // Left from an index that this name had before, had its stop been cut short.
            store.remove_index(&stored.follower_index)?;
            store.put_definition(&stored)
        })
        .await?;
        let (started, outcome) = oneshot::channel();
        self.spawn(definition, Some(started));
        self.answer(outcome, &name).await
    }

    pub(crate) async fn command(
        &self,
        index: &IndexName,
        make: impl FnOnce(oneshot::Sender<Result<(), ControlError>>) -> Command,
    ) -> Result<(), ControlError> {
        let handle = lock(&self.indices).get(index).cloned();
        let handle = handle.ok_or_else(|| ControlError::NotReplicating(index.clone()))?;
        let (reply, outcome) = oneshot::channel();
        let carried_out = async {
            if handle.commands.send(make(reply)).await.is_err() {
                return Err(ControlError::NotReplicating(index.clone()));
            }
            self.answer(outcome, index).await
        };
        carried_out
            .instrument(slipstream_trace::span!("command", %index))
            .await
    }

    async fn answer(
        &self,
        outcome: oneshot::Receiver<Result<(), ControlError>>,
        index: &IndexName,
    ) -> Result<(), ControlError> {
        match timeout(PATIENCE, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) if self.context.shutdown.is_cancelled() => Err(ControlError::Unavailable(format!(
                "the agent is shutting down; [{index}] goes on later"
            ))),
            // The task has ended before this command's turn came: another one had stopped the index.
            Ok(Err(_)) => Err(ControlError::NotReplicating(index.clone())),
            Err(_) => {
                let waiting = self.status(index).and_then(|status| status.waiting_for);
                let waiting = waiting.unwrap_or_else(|| "its work to end".to_owned());
                Err(ControlError::Unavailable(format!(
                    "[{index}] is still waiting for {waiting}; it goes on by itself"
                )))
            }
        }
    }

    pub(crate) fn status(&self, index: &IndexName) -> Option<IndexStatus> {
        let handle = lock(&self.indices).get(index).cloned();
        handle.map(|handle| handle.status())
    }

    /// What an index that follows was asked to follow.
    pub(crate) fn definition(&self, index: &IndexName) -> Option<Definition> {
        let handle = lock(&self.indices).get(index).cloned();
        handle.map(|handle| handle.definition())
    }

    /// Where repairs of a shard go; `None` while it does not run.
    pub(crate) fn repairs(&self, index: &IndexName, shard: ShardId) -> Option<mpsc::Sender<Repair>> {
        let handle = lock(&self.indices).get(index).cloned();
        handle.and_then(|handle| handle.repairs(shard))
    }

    pub(crate) fn list(&self) -> Vec<IndexStatus> {
        let handles: Vec<IndexHandle> = lock(&self.indices).values().cloned().collect();
        handles.iter().map(IndexHandle::status).collect()
    }

    pub(crate) async fn set_leader(
        &self,
        alias: &str,
        agents: Option<Vec<String>>,
    ) -> Result<(), ControlError> {
        if agents.is_none()
            && let Some(user) = self.list().into_iter().find(|index| index.leader_alias == alias)
        {
            return Err(ControlError::LeaderInUse {
                alias: alias.to_owned(),
                index: user.follower_index,
            });
        }
        for address in agents.iter().flatten() {
            slipstream_wire::connect::check_address(address)
                .map_err(|e| ControlError::Invalid(e.to_string()))?;
        }
        let (store, name, stored) = (self.context.store.clone(), alias.to_owned(), agents.clone());
        crate::blocking(move || match stored {
            Some(agents) => store.put_leader(&LeaderAlias { alias: name, agents }),
            None => store.remove_leader(&name),
        })
        .await?;
        self.context.leaders.set(alias, agents);
        Ok(())
    }

    pub(crate) fn leaders(&self) -> Leaders {
        self.context.leaders.all()
    }

    pub(crate) async fn set_switches(
        &self,
        switches: Vec<(String, Option<String>)>,
    ) -> Result<(), ControlError> {
        let (store, stored) = (self.context.store.clone(), switches.clone());
        crate::blocking(move || store.put_switches(&stored)).await?;
        let mut kept = lock(&self.context.switches);
        for (name, value) in switches {
            match value {
                Some(value) => kept.insert(name, value),
                None => kept.remove(&name),
            };
        }
        self.context.transfers.set_cap(cap(&kept, self.configured_cap));
        Ok(())
    }

    pub(crate) fn switches(&self) -> BTreeMap<String, String> {
        lock(&self.context.switches).clone()
    }

    /// The link to a leader.
    pub(crate) fn leader(&self, alias: &str) -> Result<Arc<LeaderLink>, LeaderError> {
        self.context.leaders.link(alias)
    }

    /// All leaders and the links to them.
    pub(crate) fn leader_book(&self) -> &LeaderBook {
        &self.context.leaders
    }

    /// When the certificate that leader agents are shown expires.
    pub(crate) fn certificate_expires_at(&self) -> SystemTime {
        self.context.leaders.tls().expires_at()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.context.store
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.context.cluster
    }

    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Gives a name back when its start is decided.
struct Starting<'a> {
    agent: &'a Agent,
    name: IndexName,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        lock(&self.agent.starting).remove(&self.name);
    }
}

/// How many bytes a second of files may come: as the setting says, else as configured.
fn cap(switches: &BTreeMap<String, String>, configured: u64) -> u64 {
    let set = switches.get(COPY_RATE).and_then(|rate| size::rate(rate));
    set.unwrap_or(configured)
}
