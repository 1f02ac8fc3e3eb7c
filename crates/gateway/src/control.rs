//! What the gateway asks of the agent behind it. A trait, so that the REST surface can be tested without an agent.

use std::collections::BTreeMap;

use async_trait::async_trait;
use slipstream_follower::{
    ControlError, Follower, IndexStatus, LagHistory, Leaders, ManyRequest, ManyStatus, RuleRequest,
    RuleStatus, StartRequest, Surroundings, Trend, VerifyStatus,
};
use slipstream_model::IndexName;
use slipstream_model::readiness::Component;
use slipstream_model::settings::Settings;

/// The operations of a follower agent; see [`Follower`] for what each promises.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Starts following.
    async fn start(&self, request: StartRequest) -> Result<(), ControlError>;
    /// Ends following.
    async fn stop(&self, index: &IndexName) -> Result<(), ControlError>;
    /// Holds an index.
    async fn pause(&self, index: &IndexName, reason: Option<String>) -> Result<(), ControlError>;
    /// Goes on with a paused or failed index.
    async fn resume(&self, index: &IndexName) -> Result<(), ControlError>;
    /// Replaces an index's overrides.
    async fn update(&self, index: &IndexName, overrides: Settings) -> Result<(), ControlError>;
    /// Begins one operation on many indices; the task's number.
    async fn many(&self, request: ManyRequest) -> Result<u64, ControlError>;
    /// How such a task stands.
    fn many_status(&self, id: u64) -> Option<ManyStatus>;
    /// Ends one early.
    fn cancel_many(&self, id: u64) -> Result<(), ControlError>;
    /// The agent's identity, which its tasks are named by.
    fn id(&self) -> String;
    /// Makes an auto-follow rule.
    async fn add_rule(&self, request: RuleRequest) -> Result<(), ControlError>;
    /// Ends one.
    async fn remove_rule(&self, leader_alias: &str, name: &str) -> Result<(), ControlError>;
    /// All of them.
    fn rules(&self) -> Vec<RuleStatus>;
    /// Keeps settings of the incumbent's, by name; `None` puts the default back.
    async fn set_switches(&self, switches: Vec<(String, Option<String>)>) -> Result<(), ControlError>;
    /// All that are kept.
    fn switches(&self) -> BTreeMap<String, String>;
    /// Begins a comparison; with `repair`, what differs is put right.
    fn verify(&self, index: &IndexName, repair: bool) -> Result<(), ControlError>;
    /// The last one.
    fn verified(&self, index: &IndexName) -> Option<VerifyStatus>;
    /// Where one index stands; `None` if it does not follow.
    fn status(&self, index: &IndexName) -> Option<IndexStatus>;
    /// All following indices, by name.
    fn list(&self) -> Vec<IndexStatus>;
    /// Registers a leader under an alias.
    async fn register_leader(&self, alias: &str, agents: Vec<String>) -> Result<(), ControlError>;
    /// Forgets a registered leader.
    async fn remove_leader(&self, alias: &str) -> Result<(), ControlError>;
    /// All leaders.
    fn leaders(&self) -> Leaders;
    /// What is around the agent, as found last.
    fn surroundings(&self) -> Surroundings;
    /// How lag went: that of one index, or of all together.
    fn lag(&self, index: Option<&IndexName>) -> LagHistory;
    /// How an index has been doing.
    fn trend(&self, index: &IndexName) -> Trend;
    /// What the agent works with, and whether that works.
    async fn components(&self) -> Vec<Component>;
}

#[async_trait]
impl Control for Follower {
    async fn start(&self, request: StartRequest) -> Result<(), ControlError> {
        Follower::start(self, request).await
    }

    async fn stop(&self, index: &IndexName) -> Result<(), ControlError> {
        Follower::stop(self, index).await
    }

    async fn pause(&self, index: &IndexName, reason: Option<String>) -> Result<(), ControlError> {
        Follower::pause(self, index, reason).await
    }

    async fn resume(&self, index: &IndexName) -> Result<(), ControlError> {
        Follower::resume(self, index).await
    }

    async fn update(&self, index: &IndexName, overrides: Settings) -> Result<(), ControlError> {
        Follower::update(self, index, overrides).await
    }

    async fn many(&self, request: ManyRequest) -> Result<u64, ControlError> {
        Follower::many(self, request).await
    }

    fn many_status(&self, id: u64) -> Option<ManyStatus> {
        Follower::many_status(self, id)
    }

    fn cancel_many(&self, id: u64) -> Result<(), ControlError> {
        Follower::cancel_many(self, id)
    }

    fn id(&self) -> String {
        Follower::id(self).to_owned()
    }

    async fn add_rule(&self, request: RuleRequest) -> Result<(), ControlError> {
        Follower::add_rule(self, request).await
    }

    async fn remove_rule(&self, leader_alias: &str, name: &str) -> Result<(), ControlError> {
        Follower::remove_rule(self, leader_alias, name).await
    }

    fn rules(&self) -> Vec<RuleStatus> {
        Follower::rules(self)
    }

    async fn set_switches(&self, switches: Vec<(String, Option<String>)>) -> Result<(), ControlError> {
        Follower::set_switches(self, switches).await
    }

    fn switches(&self) -> BTreeMap<String, String> {
        Follower::switches(self)
    }

    fn verify(&self, index: &IndexName, repair: bool) -> Result<(), ControlError> {
        Follower::verify(self, index, repair)
    }

    fn verified(&self, index: &IndexName) -> Option<VerifyStatus> {
        Follower::verified(self, index)
    }

    fn status(&self, index: &IndexName) -> Option<IndexStatus> {
        Follower::status(self, index)
    }

    fn list(&self) -> Vec<IndexStatus> {
        Follower::list(self)
    }

    async fn register_leader(&self, alias: &str, agents: Vec<String>) -> Result<(), ControlError> {
        Follower::register_leader(self, alias, agents).await
    }

    async fn remove_leader(&self, alias: &str) -> Result<(), ControlError> {
        Follower::remove_leader(self, alias).await
    }

    fn leaders(&self) -> Leaders {
        Follower::leaders(self)
    }

    fn surroundings(&self) -> Surroundings {
        Follower::surroundings(self)
    }

    fn lag(&self, index: Option<&IndexName>) -> LagHistory {
        Follower::lag(self, index)
    }

    fn trend(&self, index: &IndexName) -> Trend {
        Follower::trend(self, index)
    }

    async fn components(&self) -> Vec<Component> {
        Follower::components(self).await
    }
}
