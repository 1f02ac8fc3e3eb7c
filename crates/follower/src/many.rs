//! One operation on many indices at once: chosen by a pattern when it is asked for, carried out by a task that can be
//! looked at and cancelled.
//!
//! One task at a time, as with the incumbent, and a few indices of it at once, so that it does not crowd out what an
//! operator asks for meanwhile. What is already as asked counts as done, so the same request again does the rest after
//! whatever cut the first one short. The last tasks can be looked at until the agent ends; the indices themselves are
//! each as durable as if they had been asked for one by one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use slipstream_model::moment::now_millis;
use slipstream_model::settings::Settings;
use slipstream_model::{IndexName, Pattern, Phase, Reason};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::autofollow::{list_indices, start_unless_following};
use crate::control::{ControlError, FailedIndex, ManyOperation, ManyRequest, ManyStatus, StartRequest};
use crate::index::Command;
use crate::lock;

/// Indices that a task works on at once.
const AT_ONCE: usize = 4;
/// Tasks that can still be looked at, the one that runs included.
const REMEMBERED: usize = 16;

/// All tasks of an agent.
pub(crate) struct Many {
    agent: Arc<Agent>,
    known: Mutex<VecDeque<Arc<Work>>>,
    /// One request at a time: the check that no task runs and the beginning of another belong together.
    beginning: tokio::sync::Mutex<u64>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct Work {
    status: Mutex<ManyStatus>,
    cancel: CancellationToken,
}

impl Many {
    pub(crate) fn new(agent: Arc<Agent>, shutdown: CancellationToken) -> Self {
        Many {
            agent,
            known: Mutex::default(),
            beginning: tokio::sync::Mutex::new(0),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    /// Chooses the indices and begins. Returns the task's number.
    pub(crate) async fn begin(&self, request: ManyRequest) -> Result<u64, ControlError> {
        let mut last = self.beginning.lock().await;
        let running = lock(&self.known)
            .iter()
            .map(|work| lock(&work.status).clone())
            .find(|status| !status.ended);
        if let Some(running) = running {
            return Err(ControlError::TaskRunning(running.id));
        }
        let indices = self.chosen(&request).await?;
        if indices.is_empty() {
            return Err(ControlError::NothingMatches(request.pattern.as_str().to_owned()));
        }
        *last += 1;
        let work = Arc::new(Work {
            status: Mutex::new(ManyStatus {
                id: *last,
                operation: request.operation.word(),
                pattern: request.pattern.as_str().to_owned(),
                started_at_millis: now_millis(),
                succeeded: 0,
                pending: indices.len(),
                cancelled: 0,
                failed_indices: Vec::new(),
                ended: false,
            }),
            cancel: self.shutdown.child_token(),
        });
        let mut known = lock(&self.known);
        known.push_back(Arc::clone(&work));
        if known.len() > REMEMBERED {
            known.pop_front();
        }
        drop(known);
        tracing::info!(
            operation = request.operation.word(),
            pattern = request.pattern.as_str(),
            indices = indices.len(),
            "a task over many indices begins"
        );
        self.tasks.spawn(carry_out(
            Arc::clone(&self.agent),
            work,
            request.operation,
            indices,
        ));
        Ok(*last)
    }

    /// The indices that the operation is for: the leader's for a start, those that follow for all others.
    async fn chosen(&self, request: &ManyRequest) -> Result<Vec<IndexName>, ControlError> {
        let names: Vec<IndexName> = if let ManyOperation::Start { leader_alias } = &request.operation {
            let leader = self
                .agent
                .leader(leader_alias)
                .map_err(|_| ControlError::NoSuchLeader(leader_alias.clone()))?;
            let listed = list_indices(&leader, request.pattern.as_str()).await;
            let listed = listed.map_err(ControlError::Unavailable)?;
            listed
                .into_iter()
                .filter(|name| !name.as_str().starts_with('.'))
                .collect()
        } else {
            let following = self.agent.list().into_iter();
            following.map(|index| index.follower_index).collect()
        };
        let fits = |name: &IndexName| {
            let matches = |pattern: &Pattern| pattern.matches(name.as_str());
            matches(&request.pattern) && !request.exclude.iter().any(matches)
        };
        Ok(names.into_iter().filter(fits).collect())
    }

    /// A task by its number.
    pub(crate) fn status(&self, id: u64) -> Option<ManyStatus> {
        self.find(id).map(|work| lock(&work.status).clone())
    }

    /// Leaves out what a task has not begun yet. What it has begun is carried through.
    pub(crate) fn cancel(&self, id: u64) -> Result<(), ControlError> {
        let work = self.find(id).filter(|work| !lock(&work.status).ended);
        work.ok_or(ControlError::NoSuchTask(id))?.cancel.cancel();
        Ok(())
    }

    fn find(&self, id: u64) -> Option<Arc<Work>> {
        lock(&self.known)
            .iter()
            .find(|work| lock(&work.status).id == id)
            .cloned()
    }

    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn carry_out(agent: Arc<Agent>, work: Arc<Work>, operation: ManyOperation, indices: Vec<IndexName>) {
    let operation = Arc::new(operation);
    let mut waiting = indices.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE && !work.cancel.is_cancelled() {
            let Some(index) = waiting.next() else { break };
            let (agent, operation) = (Arc::clone(&agent), Arc::clone(&operation));
            running.spawn(async move {
                let result = apply(&agent, &operation, &index).await;
                (index, result)
            });
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        let mut status = lock(&work.status);
        status.pending -= 1;
        match ended {
            Ok((_, Ok(()))) => status.succeeded += 1,
            Ok((index, Err(error))) => status.failed_indices.push(FailedIndex {
                index,
                reason: crate::chain(&error),
            }),
            // A panic is in the log; the count must come out all the same.
            Err(_) => status.cancelled += 1,
        }
    }
    let mut status = lock(&work.status);
    status.cancelled += status.pending;
    status.pending = 0;
    status.ended = true;
    tracing::info!(
        task = status.id,
        operation = status.operation,
        succeeded = status.succeeded,
        failed = status.failed_indices.len(),
        cancelled = status.cancelled,
        "a task over many indices has ended"
    );
}

async fn apply(agent: &Agent, operation: &ManyOperation, index: &IndexName) -> Result<(), ControlError> {
    let is = |phase: Phase| agent.status(index).is_some_and(|status| status.phase == phase);
    match operation {
        ManyOperation::Start { leader_alias } => {
            let request = StartRequest {
                follower_index: index.clone(),
                leader_alias: leader_alias.clone(),
                leader_index: index.clone(),
                overrides: Settings::new(),
                bootstrap: None,
            };
            start_unless_following(agent, request).await
        }
        ManyOperation::Stop => match agent.command(index, Command::Stop).await {
            Err(ControlError::NotReplicating(_)) => Ok(()),
            outcome => outcome,
        },
        ManyOperation::Pause if is(Phase::Paused) => Ok(()),
        ManyOperation::Pause => {
            let pause = |reply| Command::Pause(Reason::new(""), reply);
            agent.command(index, pause).await
        }
        ManyOperation::Resume
            if !is(Phase::Paused) && !is(Phase::Failed) && agent.status(index).is_some() =>
        {
            Ok(())
        }
        ManyOperation::Resume => agent.command(index, Command::Resume).await,
    }
}
