//! The task of one following index: walks its state machine and owns its shards' sessions.
//!
//! Each transition is stored before it acts, so that a crash at any point goes on with it. Commands are taken in every
//! state; a state that runs shards cancels and awaits them before the next one begins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use slipstream_cluster::Cluster;
use slipstream_model::{IndexName, Phase, Reason, ShardId, ShardKey, event};
use slipstream_store::{Definition, Store, StoreError};
use slipstream_trace::Origin;
use slipstream_wire::cause;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::describe::{DescribeError, Description, describe};
use super::handle::{Command, IndexHandle, Live, Reply, View};
use super::metadata::MetadataSync;
use super::opened::opened;
use super::restore::{FileServer, Throttle, Transfers};
use super::sightings::Sightings;
use crate::apply::{Bulks, LaneContext};
use crate::budget::Budget;
use crate::control::{ControlError, DELETE_INDEX};
use crate::leaders::LeaderBook;
use crate::lock;
use crate::metrics;
use crate::shard::{self, Repair, Scribe, ShardContext, ShardFailure};
use crate::status::ShardCell;

/// What all index tasks share.
#[derive(Clone)]
pub(crate) struct TaskContext {
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) leaders: Arc<LeaderBook>,
    pub(crate) bulks: Arc<Bulks>,
    pub(crate) scribe: Arc<Scribe>,
    pub(crate) sightings: Arc<Sightings>,
    /// Settings that are kept, by name.
    pub(crate) switches: Arc<Mutex<BTreeMap<String, String>>>,
    pub(crate) budget: Budget,
    pub(crate) lanes_per_shard: usize,
    pub(crate) refresh_millis: u32,
    pub(crate) snapshot_path: Option<PathBuf>,
    pub(crate) file_server: Option<FileServer>,
    pub(crate) snapshot_from_bytes: u64,
    pub(crate) throttle: Throttle,
    /// What indices that begin with files share.
    pub(crate) transfers: Transfers,
    pub(crate) shutdown: CancellationToken,
}

/// The task.
pub(crate) struct IndexTask {
    pub(super) context: TaskContext,
    pub(super) definition: Definition,
    pub(super) view: Arc<View>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Waits for the first preparation of a new index: if that fails for good, nothing of it stays behind.
    pub(super) started: Option<Reply>,
    /// Open from a start until the leader's contents have been copied, or it is given up.
    pub(super) bootstrap: Span,
    /// The operator said "go on" although a shard's history had changed.
    accept_history: bool,
    /// Why it begins with documents, once that is known.
    pub(super) documents_because: Option<String>,
}

/// What a state ended with.
pub(super) enum Next {
    /// Look at the phase again.
    Phase,
    /// The task is over.
    End,
}

/// Whose word a transition is.
#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    Agent,
    Operator,
}

impl IndexTask {
    /// A task for a stored definition. `started` is answered when a new index runs, or cannot.
    pub(crate) fn new(
        context: TaskContext,
        definition: Definition,
        started: Option<Reply>,
    ) -> (IndexTask, IndexHandle) {
        let (sender, commands) = mpsc::channel(4);
        let bootstrap = if definition.phase == Phase::Init {
            // A span of its own: the start that it goes on from ends before it does.
            let span = slipstream_trace::span!(parent: None, "bootstrap", index = %definition.follower_index);
            Origin::current().lead_to(&span);
            span
        } else {
            Span::none()
        };
        let view = Arc::new(View {
            definition: Mutex::new(definition.clone()),
            live: Mutex::default(),
        });
        let handle = IndexHandle {
            commands: sender,
            view: Arc::clone(&view),
        };
        metrics::state(&definition.follower_index, Some(definition.phase));
        (
            IndexTask {
                context,
                definition,
                view,
                commands,
                started,
                accept_history: false,
                documents_because: None,
                bootstrap,
            },
            handle,
        )
    }

    /// Runs until the index is no longer followed or the agent shuts down. Returns the index's name.
    pub(crate) async fn run(mut self) -> IndexName {
        let name = self.definition.follower_index.clone();
        loop {
            let next = match self.definition.phase {
                Phase::Bootstrapping if self.definition.restoring.is_some() => self.restore().await,
                _ if self.definition.restoring.is_some() => self.clear_up().await,
                Phase::Init => self.init().await,
                Phase::Bootstrapping | Phase::Syncing => self.follow().await,
                Phase::Paused | Phase::Failed => self.hold().await,
                Phase::Stopping => self.end().await,
            };
            match next {
                Ok(Next::Phase) => {}
                Ok(Next::End) => break,
                Err(error) => {
                    // Without the store nothing may go on: what happened could not be remembered.
                    tracing::error!(event = event::STORE_FAILED, index = %name, error = crate::chain(&error), "the store failed, the index is held");
                    self.definition.phase = Phase::Failed;
                    self.definition.reason = Reason::new(crate::chain(&error));
                    *lock(&self.view.definition) = self.definition.clone();
                    if matches!(self.hold().await, Err(_) | Ok(Next::End)) {
                        break;
                    }
                }
            }
        }
        name
    }

    /// Stores a transition, then shows it.
    pub(super) async fn enter(&mut self, phase: Phase, reason: Reason, by: By) -> Result<(), StoreError> {
        if self.definition.phase.is_running() && !phase.is_running() {
            self.definition.resume_phase = self.definition.phase;
        }
        if !matches!(phase, Phase::Init | Phase::Bootstrapping) {
            self.bootstrap = Span::none();
        }
        self.definition.phase = phase;
        self.definition.reason = reason;
        self.save().await?;
        self.tell(by);
        Ok(())
    }

    fn tell(&self, by: By) {
        let Definition {
            follower_index: index,
            phase,
            reason,
            ..
        } = &self.definition;
        match (phase, by) {
            (Phase::Failed, _) => {
                tracing::error!(event = event::INDEX_FAILED, %index, %phase, %reason, "the index has failed; resume it once the cause is mended");
            }
            (Phase::Paused, By::Agent) => {
                tracing::warn!(event = event::INDEX_PAUSED_BY_ITSELF, %index, %phase, %reason, "the index is held until an operator has judged");
            }
            (Phase::Paused, By::Operator) => {
                tracing::info!(event = event::INDEX_PAUSED, %index, %phase, %reason, "paused");
            }
            _ => tracing::info!(event = event::INDEX_STATE_CHANGED, %index, %phase, %reason, "state"),
        }
    }

    pub(super) async fn save(&mut self) -> Result<(), StoreError> {
        let (store, definition) = (self.context.store.clone(), self.definition.clone());
        crate::blocking(move || store.put_definition(&definition)).await?;
        *lock(&self.view.definition) = self.definition.clone();
        metrics::state(&self.definition.follower_index, Some(self.definition.phase));
        Ok(())
    }

    pub(super) fn waiting_for(&self, what: Option<String>) {
        lock(&self.view.live).waiting_for = what;
    }

    pub(super) async fn describe_leader(&self) -> Result<Description, DescribeError> {
        let link = self.context.leaders.link(&self.definition.leader_alias)?;
        describe(&link, &self.definition.leader_index).await
    }

    /// `BOOTSTRAPPING` and `SYNCING`: sessions run.
    async fn follow(&mut self) -> Result<Next, StoreError> {
        let (Some(leader_uuid), Some(follower_uuid)) = (
            self.definition.leader_index_uuid.clone(),
            self.definition.follower_index_uuid.clone(),
        ) else {
            self.enter(
                Phase::Failed,
                Reason::new("the stored definition names no indices; stop and start again"),
                By::Agent,
            )
            .await?;
            return Ok(Next::Phase);
        };
        let metadata = Arc::new(MetadataSync::new(
            self.context.cluster.clone(),
            Arc::clone(&self.context.leaders),
            self.definition.leader_alias.clone(),
            self.definition.leader_index.clone(),
            leader_uuid,
            self.definition.follower_index.clone(),
            follower_uuid,
            self.definition.overrides.clone(),
            Arc::clone(&self.context.sightings),
        ));
        let cells: Vec<Arc<ShardCell>> = (0..self.definition.shards)
            .map(|n| Arc::new(ShardCell::new(self.key(n))))
            .collect();
        let (repairs, mut taken): (Vec<_>, Vec<_>) = cells.iter().map(|_| mpsc::channel(1)).unzip();
        *lock(&self.view.live) = Live {
            repairs,
            shards: cells.clone(),
            metadata: Some(Arc::clone(&metadata)),
            waiting_for: None,
            files: None,
        };

        let cancel = self.context.shutdown.child_token();
        let bootstrapped = Arc::new(Notify::new());
        // An earlier life may have ended after the last shard had stored its completion and before the phase was.
        bootstrapped.notify_one();
        let mut sessions = JoinSet::new();
        let mut contexts = Vec::new();
        for (number, (cell, repairs)) in cells.iter().zip(taken.drain(..)).enumerate() {
            let context = self.shard(number as u32, cell, &metadata, &bootstrapped, repairs);
            contexts.push(Arc::clone(&context));
            sessions.spawn(run_shard(context, cancel.clone()));
        }

        let mut reconciled = Vec::new();
        let next = loop {
            tokio::select! {
                ended = sessions.join_next() => match ended {
                    Some(Ok((shard, Err(failure)))) => {
                        if self.may_reconcile(&failure) && !reconciled.contains(&shard) {
                            let context = &contexts[shard.0 as usize];
                            let store = context.store.clone();
                            crate::blocking(move || shard::reconcile(&store, None)).await?;
                            reconciled.push(shard);
                            sessions.spawn(run_shard(Arc::clone(context), cancel.clone()));
                            continue;
                        }
                        break Ended::Failure(failure);
                    }
                    Some(Ok((_, Ok(())))) => {}
                    Some(Err(join)) => break Ended::Broken(join.to_string()),
                    None => break Ended::Shutdown,
                },
                () = bootstrapped.notified() => {
                    if self.definition.phase == Phase::Bootstrapping && self.all_bootstrapped().await? {
                        self.enter(Phase::Syncing, self.definition.reason.clone(), By::Agent).await?;
                    }
                }
                command = self.commands.recv() => match command {
                    Some(command) => break Ended::Command(command),
                    None => break Ended::Shutdown,
                },
            }
        };
        cancel.cancel();
        while sessions.join_next().await.is_some() {}
        match next {
            Ended::Shutdown => Ok(Next::End),
            Ended::Command(command) => {
                self.command(command).await?;
                Ok(Next::Phase)
            }
            Ended::Failure(failure) if failure.is_gone() && self.deletes_with_leader().await => {
                self.definition.delete_follower = true;
                let why = format!("{}; [{DELETE_INDEX}] is on", crate::chain(&failure));
                self.enter(Phase::Stopping, Reason::new(why), By::Agent).await?;
                Ok(Next::Phase)
            }
            Ended::Failure(failure) => {
                let phase = if failure.pauses() {
                    Phase::Paused
                } else {
                    Phase::Failed
                };
                self.definition.until_opened = is_closed(&failure);
                self.enter(phase, Reason::new(crate::chain(&failure)), By::Agent)
                    .await?;
                Ok(Next::Phase)
            }
            Ended::Broken(what) => {
                self.enter(
                    Phase::Failed,
                    Reason::new(format!("a fault in this agent: {what}")),
                    By::Agent,
                )
                .await?;
                Ok(Next::Phase)
            }
        }
    }

    fn may_reconcile(&self, failure: &ShardFailure) -> bool {
        let ShardFailure::Leader { cause, .. } = failure else {
            return false;
        };
        self.accept_history && (cause == cause::HISTORY_CHANGED || cause == cause::REGRESSED)
    }

    async fn all_bootstrapped(&self) -> Result<bool, StoreError> {
        let (store, index, shards) = (
            self.context.store.clone(),
            self.definition.follower_index.clone(),
            self.definition.shards,
        );
        crate::blocking(move || {
            for number in 0..shards {
                if !store.shard(&index, ShardId(number)).progress()?.bootstrapped {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    fn key(&self, number: u32) -> ShardKey {
        ShardKey {
            index: self.definition.follower_index.clone(),
            shard: ShardId(number),
        }
    }

    fn shard(
        &self,
        number: u32,
        cell: &Arc<ShardCell>,
        metadata: &Arc<MetadataSync>,
        bootstrapped: &Arc<Notify>,
        repairs: mpsc::Receiver<Repair>,
    ) -> Arc<ShardContext> {
        let key = self.key(number);
        let index = self.definition.follower_index.clone();
        Arc::new(ShardContext {
            leader: ShardKey {
                index: self.definition.leader_index.clone(),
                shard: key.shard,
            },
            leader_alias: self.definition.leader_alias.clone(),
            leader_index_uuid: metadata.leader_index_uuid.clone(),
            leaders: Arc::clone(&self.context.leaders),
            store: self.context.store.shard(&index, key.shard),
            scribe: Arc::clone(&self.context.scribe),
            lanes: self.context.lanes_per_shard,
            opaque_prefix: format!("slipstream-{}-{index}-{number}", self.context.store.follower_id()),
            lane: LaneContext {
                bulks: Arc::clone(&self.context.bulks),
                index,
                shard: key.clone(),
                status: Arc::clone(cell),
            },
            metadata: Arc::clone(metadata),
            budget: self.context.budget.clone(),
            refresh_millis: self.context.refresh_millis,
            status: Arc::clone(cell),
            bootstrapped: Arc::clone(bootstrapped),
            repairs: tokio::sync::Mutex::new(repairs),
            origin: Origin::of(&self.bootstrap),
            key,
        })
    }

    /// `PAUSED` and `FAILED`: waits for the operator, or for the leader index to be opened if its being closed is all that is wrong.
    async fn hold(&mut self) -> Result<Next, StoreError> {
        let opened = opened(
            Arc::clone(&self.context.leaders),
            self.definition.leader_alias.clone(),
            self.definition.leader_index.clone(),
            self.definition.leader_index_uuid.clone(),
        );
        let waits = self.definition.phase == Phase::Paused && self.definition.until_opened;
        tokio::select! {
            () = self.context.shutdown.cancelled() => Ok(Next::End),
            () = opened, if waits => {
                let reason = format!("the leader index [{}] is open again", self.definition.leader_index);
                self.enter(self.resumed(), Reason::new(reason), By::Agent).await?;
                Ok(Next::Phase)
            }
            command = self.commands.recv() => match command {
                Some(command) => {
                    self.command(command).await?;
                    Ok(Next::Phase)
                }
                None => Ok(Next::End),
            },
        }
    }

    /// What a held index goes on with.
    fn resumed(&self) -> Phase {
        match self.definition.follower_index_uuid {
            Some(_) if self.definition.resume_phase.is_running() => self.definition.resume_phase,
            Some(_) => Phase::Bootstrapping,
            None => Phase::Init,
        }
    }

    pub(super) async fn command(&mut self, command: Command) -> Result<(), StoreError> {
        let name = self.definition.follower_index.clone();
        let phase = self.definition.phase;
        let (reply, result) = match command {
            Command::Pause(_, reply) if phase == Phase::Paused && !self.definition.until_opened => {
                (reply, Err(ControlError::AlreadyPaused(name)))
            }
            Command::Pause(_, reply) if phase == Phase::Failed => (
                reply,
                Err(ControlError::Invalid(
                    "Cannot pause when in FAILED state".to_owned(),
                )),
            ),
            Command::Pause(reason, reply) => {
                self.definition.until_opened = false;
                self.enter(Phase::Paused, reason, By::Operator).await?;
                (reply, Ok(()))
            }
            Command::Resume(reply) if !matches!(phase, Phase::Paused | Phase::Failed) => {
                (reply, Err(ControlError::AlreadyRunning(name)))
            }
            Command::Resume(reply) => {
                self.accept_history = true;
                self.enter(self.resumed(), Reason::new(Reason::USER), By::Operator)
                    .await?;
                (reply, Ok(()))
            }
            Command::Update(overrides, reply) => {
                // Sessions that run are opened anew, and compare the target's settings before anything else.
                self.definition.overrides = overrides;
                self.save().await?;
                (reply, Ok(()))
            }
            Command::Stop(reply) => {
                self.enter(Phase::Stopping, Reason::new(Reason::USER), By::Operator)
                    .await?;
                self.started = Some(reply);
                return Ok(());
            }
        };
        // Whoever asked may have gone away; what was asked is done all the same.
        let _ = reply.send(result);
        Ok(())
    }
}

/// Whether the leader index is closed, and nothing else is wrong.
fn is_closed(failure: &ShardFailure) -> bool {
    matches!(failure, ShardFailure::Leader { cause, .. } if cause == cause::INDEX_CLOSED)
}

/// Why sessions were ended.
enum Ended {
    Shutdown,
    Command(Command),
    Failure(ShardFailure),
    Broken(String),
}

async fn run_shard(
    context: Arc<ShardContext>,
    cancel: CancellationToken,
) -> (ShardId, Result<(), ShardFailure>) {
    let shard = context.key.shard;
    (shard, shard::run(context, cancel).await)
}
