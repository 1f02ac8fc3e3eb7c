//! One rule at work: looks which indices there are, starts those it has not started yet, keeps book.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use slipstream_model::moment::now_millis;
use slipstream_model::{IndexName, IndexUuid, event};
use slipstream_store::{AutoFollowRule, Store, StoreError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::listing::{Listed, list};
use super::{follower_name, takes};
use crate::agent::Agent;
use crate::backoff::Backoff;
use crate::control::{ControlError, FailedStart, RuleStatus, StartRequest};
use crate::{lock, metrics};

/// A leader is looked at this often: a new index is noticed well within a second.
const LOOK: Duration = Duration::from_millis(500);
/// Starts of one rule under way at once: half of all there may be.
const STARTS: usize = 4;
/// What could not be started is tried again after this at first, and at most after this.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// The same for a leader that could not be asked.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of a rule, by its task and by whoever asks.
pub(super) struct RuleCell {
    rule: Mutex<AutoFollowRule>,
    progress: Mutex<Progress>,
    /// Writing of the rule; `true` once it is forgotten, and must not come back.
    stored: tokio::sync::Mutex<bool>,
}

#[derive(Default)]
struct Progress {
    started: u64,
    failed_starts: u64,
    failed_calls: u64,
    leader_error: Option<String>,
    /// What could not be started, with the reason.
    failed: BTreeMap<IndexName, String>,
    looked_at_millis: u64,
}

impl RuleCell {
    pub(super) fn new(rule: AutoFollowRule) -> Self {
        RuleCell {
            rule: Mutex::new(rule),
            progress: Mutex::default(),
            stored: tokio::sync::Mutex::new(false),
        }
    }

    pub(super) fn status(&self) -> RuleStatus {
        let rule = lock(&self.rule).clone();
        let progress = lock(&self.progress);
        RuleStatus {
            name: rule.name,
            leader_alias: rule.leader_alias,
            pattern: rule.pattern.as_str().to_owned(),
            exclude: rule.exclude.iter().map(|p| p.as_str().to_owned()).collect(),
            follower_index_pattern: rule.follower_index_pattern,
            started: progress.started,
            failed_starts: progress.failed_starts,
            failed_leader_calls: progress.failed_calls,
            leader_error: progress.leader_error.clone(),
            failed_indices: progress
                .failed
                .iter()
                .map(|(index, reason)| FailedStart {
                    leader_index: index.clone(),
                    reason: reason.clone(),
                })
                .collect(),
            looked_at_millis: progress.looked_at_millis,
        }
    }

    /// Forgets the rule for good.
    pub(super) async fn forget(&self, store: &Store) -> Result<(), StoreError> {
        let mut forgotten = self.stored.lock().await;
        *forgotten = true;
        let (store, rule) = (store.clone(), lock(&self.rule).clone());
        metrics::autofollow_failed(&rule.leader_alias, &rule.name, 0);
        crate::blocking(move || store.remove_rule(&rule.leader_alias, &rule.name)).await
    }

    async fn save(&self, store: &Store) -> Result<(), StoreError> {
        let forgotten = self.stored.lock().await;
        if *forgotten {
            return Ok(());
        }
        let (store, rule) = (store.clone(), lock(&self.rule).clone());
        crate::blocking(move || store.put_rule(&rule)).await
    }
}

/// The task of a rule.
pub(super) struct RuleTask {
    agent: Arc<Agent>,
    cell: Arc<RuleCell>,
    starts: Arc<Semaphore>,
    cancel: CancellationToken,
    /// The version of the leader's state that `wanted` was made from.
    version: u64,
    /// Leader indices that the rule takes and has not started.
    wanted: HashMap<IndexName, Wanted>,
    /// The rule has taken something that is not stored yet.
    unsaved: bool,
    ask_again: Backoff,
}

struct Wanted {
    uuid: IndexUuid,
    /// When to start it; `None` while it is being started.
    due: Option<Instant>,
    again: Backoff,
}

/// A start that ended.
struct Outcome {
    leader_index: IndexName,
    uuid: IndexUuid,
    result: Result<(), ControlError>,
}

impl RuleTask {
    pub(super) fn new(
        agent: Arc<Agent>,
        cell: Arc<RuleCell>,
        starts: Arc<Semaphore>,
        cancel: CancellationToken,
    ) -> Self {
        RuleTask {
            agent,
            cell,
            starts,
            cancel,
            version: 0,
            wanted: HashMap::new(),
            unsaved: false,
            ask_again: Backoff::new(ASK_AGAIN.0, ASK_AGAIN.1),
        }
    }

    /// Works until the rule or the agent ends. Starts under way are awaited: one that was cut off between its definition
    /// and its task would begin only with the agent's next life.
    pub(super) async fn run(mut self) {
        let mut running: JoinSet<Outcome> = JoinSet::new();
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                Some(ended) = running.join_next() => {
                    if let Ok(outcome) = ended {
                        self.ended(outcome);
                    }
                }
                () = sleep_until(look_at) => look_at = Instant::now() + self.look().await,
            }
            self.start_due(&mut running);
            if running.is_empty() {
                self.save().await;
            }
        }
        while let Some(ended) = running.join_next().await {
            if let Ok(outcome) = ended {
                self.ended(outcome);
            }
        }
        self.save().await;
    }

    /// Looks at the leader once. Returns when to look again.
    async fn look(&mut self) -> Duration {
        let (alias, name, pattern) = {
            let rule = lock(&self.cell.rule);
            (
                rule.leader_alias.clone(),
                rule.name.clone(),
                rule.pattern.as_str().to_owned(),
            )
        };
        let listed = match self.agent.leader(&alias) {
            Ok(leader) => tokio::select! {
                listed = list(&leader, &pattern, self.version) => listed,
                () = self.cancel.cancelled() => return LOOK,
            },
            Err(error) => Err(crate::chain(&error)),
        };
        let mut progress = lock(&self.cell.progress);
        progress.looked_at_millis = now_millis();
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                progress.failed_calls += 1;
                if progress.leader_error.as_ref() != Some(&error) {
                    tracing::warn!(
                        event = event::AUTOFOLLOW_BLIND,
                        rule = name,
                        leader = alias,
                        error,
                        "looking for new indices failed"
                    );
                }
                progress.leader_error = Some(error);
                return self.ask_again.next();
            }
        };
        progress.leader_error = None;
        drop(progress);
        self.ask_again.reset();
        if let Some((version, listed)) = listed {
            self.version = version;
            self.learn(&listed);
        }
        LOOK
    }

    /// Takes in which indices there are.
    fn learn(&mut self, listed: &[Listed]) {
        let mut rule = lock(&self.cell.rule);
        let before = rule.taken.len();
        rule.taken
            .retain(|uuid| listed.iter().any(|index| index.uuid == *uuid));
        self.unsaved |= rule.taken.len() != before;
        let fits =
            |index: &&Listed| index.open && takes(&rule, &index.name) && !rule.taken.contains(&index.uuid);
        let now: HashMap<&IndexName, &IndexUuid> =
            listed.iter().filter(fits).map(|i| (&i.name, &i.uuid)).collect();
        // A start under way is waited for, whatever has become of its index.
        self.wanted
            .retain(|name, wanted| wanted.due.is_none() || now.get(name) == Some(&&wanted.uuid));
        for (name, uuid) in &now {
            self.wanted.entry((*name).clone()).or_insert_with(|| Wanted {
                uuid: (*uuid).clone(),
                due: Some(Instant::now()),
                again: Backoff::new(AGAIN.0, AGAIN.1),
            });
        }
        let mut progress = lock(&self.cell.progress);
        progress.failed.retain(|name, _| self.wanted.contains_key(name));
        metrics::autofollow_failed(&rule.leader_alias, &rule.name, progress.failed.len());
    }

    /// Starts what is due, as many at once as may be, those that wait longest first.
    fn start_due(&mut self, running: &mut JoinSet<Outcome>) {
        let now = Instant::now();
        let mut due: Vec<(Instant, IndexName)> = self
            .wanted
            .iter()
            .filter_map(|(name, wanted)| Some((wanted.due.filter(|due| *due <= now)?, name.clone())))
            .collect();
        due.sort();
        for (_, name) in due.into_iter().take(STARTS.saturating_sub(running.len())) {
            let Some(wanted) = self.wanted.get_mut(&name) else {
                continue;
            };
            wanted.due = None;
            let uuid = wanted.uuid.clone();
            let request = {
                let rule = lock(&self.cell.rule);
                StartRequest {
                    follower_index: follower_name(&rule, &name),
                    leader_alias: rule.leader_alias.clone(),
                    leader_index: name.clone(),
                    overrides: rule.overrides.clone(),
                    bootstrap: None,
                }
            };
            let (agent, starts) = (Arc::clone(&self.agent), Arc::clone(&self.starts));
            running.spawn(async move {
                // The semaphore is never closed.
                let _place = starts.acquire_owned().await;
                let result = start_unless_following(&agent, request).await;
                Outcome {
                    leader_index: name,
                    uuid,
                    result,
                }
            });
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        let mut rule = lock(&self.cell.rule);
        let mut progress = lock(&self.cell.progress);
        let name = outcome.leader_index;
        metrics::autofollow_started(&rule.leader_alias, &rule.name, outcome.result.is_ok());
        match outcome.result {
            Ok(()) => {
                tracing::info!(event = event::AUTOFOLLOW_STARTED, rule = rule.name, leader_index = %name, "followed by rule");
                progress.started += 1;
                progress.failed.remove(&name);
                rule.taken.insert(outcome.uuid);
                self.unsaved = true;
                self.wanted.remove(&name);
            }
            Err(error) => {
                let reason = crate::chain(&error);
                if progress.failed.get(&name) != Some(&reason) {
                    tracing::warn!(event = event::AUTOFOLLOW_FAILED, rule = rule.name, leader_index = %name, reason, "could not be followed by rule");
                }
                progress.failed_starts += 1;
                progress.failed.insert(name.clone(), reason);
                if let Some(wanted) = self.wanted.get_mut(&name) {
                    wanted.due = Some(Instant::now() + wanted.again.next());
                }
                // An index that is gone by now is found out by the next look, which must not be told "as before".
                self.version = 0;
            }
        }
        metrics::autofollow_failed(&rule.leader_alias, &rule.name, progress.failed.len());
    }

    /// Stores what was taken. If that fails, it is tried with the next look; were it lost in a crash, the indices would be
    /// found following.
    async fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        match self.cell.save(self.agent.store()).await {
            Ok(()) => self.unsaved = false,
            Err(error) => tracing::error!(
                event = event::STORE_FAILED,
                error = crate::chain(&error),
                "an auto-follow rule could not be stored"
            ),
        }
    }
}

/// Starts an index, unless it follows as it should already.
pub(crate) async fn start_unless_following(agent: &Agent, request: StartRequest) -> Result<(), ControlError> {
    let follows = |request: &StartRequest| {
        agent.status(&request.follower_index).is_some_and(|status| {
            status.leader_alias == request.leader_alias && status.leader_index == request.leader_index
        })
    };
    if follows(&request) {
        return Ok(());
    }
    match agent.follow(request.clone()).await {
        // It was asked for by hand meanwhile, or goes on by itself after a start that took long.
        Err(_) if follows(&request) => Ok(()),
        outcome => outcome,
    }
}
