//! Rules that follow a leader's indices without being asked for one by one: those that exist, and new ones within a
//! second of their creation.
//!
//! A rule has a task of its own ([`rule`]), so a leader that does not answer holds up no other's rules. Starts are bounded
//! over all rules, first come first served, and a rule has only a few under way at once: so hundreds of indices of one
//! rule do not keep the next rule's single one waiting.
//!
//! A rule remembers which leader indices it has started, by identity: what an operator stops stays stopped, and an index
//! that was deleted and made again is another one. What could not be started is listed with the reason and tried again.

mod listing;
mod rule;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use slipstream_model::moment::now_millis;
use slipstream_model::{IndexName, Pattern};
use slipstream_store::{AutoFollowRule, StoreError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::rule::start_unless_following;
use self::rule::{RuleCell, RuleTask};
use crate::agent::Agent;
use crate::control::{ControlError, RuleRequest, RuleStatus};
use crate::leaders::LeaderLink;
use crate::lock;

/// Stands for the leader index in a rule's follower names.
const LEADER_INDEX: &str = "{{leader_index}}";
/// Starts under way at once, over all rules.
const MOST_STARTS: usize = 8;

/// All rules of an agent.
pub(crate) struct AutoFollow {
    agent: Arc<Agent>,
    rules: Mutex<BTreeMap<Key, Handle>>,
    /// One change of the set of rules at a time: the check for a name and its use belong together.
    changing: tokio::sync::Mutex<()>,
    starts: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A rule's alias and name.
type Key = (String, String);

struct Handle {
    cell: Arc<RuleCell>,
    cancel: CancellationToken,
}

impl AutoFollow {
    /// Goes on with every rule that the store knows.
    pub(crate) async fn start(agent: Arc<Agent>, shutdown: CancellationToken) -> Result<Self, StoreError> {
        let store = agent.store().clone();
        let rules = crate::blocking(move || store.rules()).await?;
        let autofollow = AutoFollow {
            agent,
            rules: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            starts: Arc::new(Semaphore::new(MOST_STARTS)),
            tasks: TaskTracker::new(),
            shutdown,
        };
        for rule in rules {
            autofollow.spawn(rule);
        }
        Ok(autofollow)
    }

    fn spawn(&self, rule: AutoFollowRule) {
        let cancel = self.shutdown.child_token();
        let key = (rule.leader_alias.clone(), rule.name.clone());
        let cell = Arc::new(RuleCell::new(rule));
        let (agent, starts) = (Arc::clone(&self.agent), Arc::clone(&self.starts));
        let task = RuleTask::new(agent, Arc::clone(&cell), starts, cancel.clone());
        lock(&self.rules).insert(key, Handle { cell, cancel });
        self.tasks.spawn(task.run());
    }

    /// Makes a rule. Returns once it is kept; its first starts come right after.
    pub(crate) async fn add(&self, request: RuleRequest) -> Result<(), ControlError> {
        let follower_index_pattern = request
            .follower_index_pattern
            .unwrap_or_else(|| LEADER_INDEX.to_owned());
        if !follower_index_pattern.contains(LEADER_INDEX) {
            return Err(ControlError::Invalid(format!(
                "follower_index_pattern [{follower_index_pattern}] must contain {LEADER_INDEX}, or all indices would \
                 have one name"
            )));
        }
        if !self.agent.leaders().contains_key(&request.leader_alias) {
            return Err(ControlError::NoSuchLeader(request.leader_alias));
        }
        let _turn = self.changing.lock().await;
        let key = (request.leader_alias.clone(), request.name.clone());
        if lock(&self.rules).contains_key(&key) {
            return Err(ControlError::RuleExists {
                alias: key.0,
                name: key.1,
            });
        }
        let rule = AutoFollowRule {
            leader_alias: request.leader_alias,
            name: request.name,
            pattern: request.pattern,
            exclude: request.exclude,
            follower_index_pattern,
            overrides: request.overrides,
            taken: std::collections::BTreeSet::new(),
            created_at_millis: now_millis(),
        };
        let (store, stored) = (self.agent.store().clone(), rule.clone());
        crate::blocking(move || store.put_rule(&stored)).await?;
        tracing::info!(
            rule = rule.name,
            leader = rule.leader_alias,
            pattern = rule.pattern.as_str(),
            "an auto-follow rule begins"
        );
        self.spawn(rule);
        Ok(())
    }

    /// Ends a rule. What it has started goes on.
    pub(crate) async fn remove(&self, alias: &str, name: &str) -> Result<(), ControlError> {
        let _turn = self.changing.lock().await;
        let key = (alias.to_owned(), name.to_owned());
        let handle = lock(&self.rules).remove(&key);
        let handle = handle.ok_or_else(|| ControlError::NoSuchRule {
            alias: key.0.clone(),
            name: key.1.clone(),
        })?;
        handle.cancel.cancel();
        handle.cell.forget(self.agent.store()).await?;
        tracing::info!(rule = name, leader = alias, "an auto-follow rule ends");
        Ok(())
    }

    /// All rules, by alias and name.
    pub(crate) fn list(&self) -> Vec<RuleStatus> {
        let cells: Vec<Arc<RuleCell>> = lock(&self.rules)
            .values()
            .map(|handle| Arc::clone(&handle.cell))
            .collect();
        cells.iter().map(|cell| cell.status()).collect()
    }

    /// A rule that needs this leader.
    pub(crate) fn user_of(&self, alias: &str) -> Option<String> {
        let rules = lock(&self.rules);
        let user = rules.keys().find(|(leader, _)| leader == alias);
        user.map(|(_, name)| name.clone())
    }

    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The names of a leader's open indices that fit a pattern and may be read. The error is in words.
pub(crate) async fn list_indices(leader: &LeaderLink, pattern: &str) -> Result<Vec<IndexName>, String> {
    let listed = listing::list(leader, pattern, 0).await?;
    let open = listed
        .into_iter()
        .flat_map(|(_, indices)| indices)
        .filter(|index| index.open);
    Ok(open.map(|index| index.name).collect())
}

/// What a rule calls the follower of a leader index.
fn follower_name(rule: &AutoFollowRule, leader_index: &IndexName) -> IndexName {
    IndexName::new(
        rule.follower_index_pattern
            .replace(LEADER_INDEX, leader_index.as_str()),
    )
}

/// Whether a rule takes a leader index. Names with a dot in front are the cluster's own or hidden, and never meant.
fn takes(rule: &AutoFollowRule, leader_index: &IndexName) -> bool {
    let name = leader_index.as_str();
    let fits = |pattern: &Pattern| pattern.matches(name);
    !name.starts_with('.') && fits(&rule.pattern) && !rule.exclude.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, exclude: &[&str], names: &str) -> AutoFollowRule {
        AutoFollowRule {
            leader_alias: "l".to_owned(),
            name: "r".to_owned(),
            pattern: Pattern::new(pattern),
            exclude: exclude.iter().copied().map(Pattern::new).collect(),
            follower_index_pattern: names.to_owned(),
            overrides: std::collections::BTreeMap::new(),
            taken: std::collections::BTreeSet::new(),
            created_at_millis: 0,
        }
    }

    #[test]
    fn a_rule_takes_what_fits_and_is_not_excluded() {
        let rule = rule("logs-*", &["logs-debug-*", "*-tmp"], LEADER_INDEX);
        for (name, taken) in [
            ("logs-1", true),
            ("logs-debug-1", false),
            ("logs-1-tmp", false),
            ("metrics-1", false),
        ] {
            assert_eq!(takes(&rule, &IndexName::from(name)), taken, "{name}");
        }
    }

    #[test]
    fn hidden_indices_are_never_meant() {
        let rule = rule("*", &[], LEADER_INDEX);
        assert!(takes(&rule, &IndexName::from("a")));
        assert!(!takes(&rule, &IndexName::from(".security")));
    }

    #[test]
    fn followers_are_named_after_the_template() {
        let name = |template: &str| follower_name(&rule("*", &[], template), &IndexName::from("logs-1"));
        assert_eq!(name(LEADER_INDEX).as_str(), "logs-1");
        assert_eq!(name("eu-{{leader_index}}-copy").as_str(), "eu-logs-1-copy");
    }
}
