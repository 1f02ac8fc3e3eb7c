//! Metadata ahead of operations (I7): a batch is written only after the target has the mapping, settings and aliases
//! that it was indexed under on the leader.
//!
//! The leader tells with each batch the versions of its metadata. All shards of an index share one [`MetadataSync`]; the
//! first that needs something newer fetches and applies it while the others wait.
//!
//! A mapping that the target refuses ends the index: writing on would let the target guess types. Settings and aliases
//! that it refuses are reported and tried again, for no document depends on them.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};
use slipstream_cluster::{Cluster, ClusterError, ErrorKind, IndexState};
use slipstream_model::routing::ShardRouting;
use slipstream_model::settings::{Settings, difference, while_following};
use slipstream_model::{IndexName, IndexUuid, event};
use slipstream_wire::{cause, v1};
use tokio::time::{Instant, sleep};

use super::describe::{DescribeError, Description, describe};
use super::settings;
use super::sightings::Sightings;
use crate::backoff::Backoff;
use crate::leaders::LeaderBook;
use crate::lock;
use crate::shard::ShardFailure;
use crate::status::ShardCell;

/// The metadata of one following index.
pub(crate) struct MetadataSync {
    pub(crate) cluster: Cluster,
    pub(crate) leaders: Arc<LeaderBook>,
    pub(crate) leader_alias: String,
    pub(crate) leader_index: IndexName,
    pub(crate) leader_index_uuid: IndexUuid,
    pub(crate) follower_index: IndexName,
    pub(crate) follower_index_uuid: IndexUuid,
    pub(crate) overrides: Settings,
    sightings: Arc<Sightings>,
    applied: tokio::sync::Mutex<Applied>,
    warnings: Mutex<Vec<String>>,
    /// How documents are spread over shards; known once metadata was compared, and the same for the index's life.
    routing: OnceLock<ShardRouting>,
}

#[derive(Default)]
struct Applied {
    /// What the target has; `None` until it was compared once in this life of the agent.
    versions: Option<v1::MetadataVersions>,
    /// Settings or aliases were refused: when to try again, and how often that was so.
    again: Option<(Instant, Backoff)>,
}

/// Settings or aliases that were refused are tried again after this at first, and at most after this.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What stopped an application.
enum Stop {
    Passing(String),
    Final(ShardFailure),
}

impl MetadataSync {
    #[expect(
        clippy::too_many_arguments,
        reason = "one of each identity, made in one place"
    )]
    pub(crate) fn new(
        cluster: Cluster,
        leaders: Arc<LeaderBook>,
        leader_alias: String,
        leader_index: IndexName,
        leader_index_uuid: IndexUuid,
        follower_index: IndexName,
        follower_index_uuid: IndexUuid,
        overrides: Settings,
        sightings: Arc<Sightings>,
    ) -> Self {
        MetadataSync {
            cluster,
            leaders,
            leader_alias,
            leader_index,
            leader_index_uuid,
            follower_index,
            follower_index_uuid,
            overrides,
            sightings,
            applied: tokio::sync::Mutex::default(),
            warnings: Mutex::default(),
            routing: OnceLock::new(),
        }
    }

    /// What an operator should know about the follower index's metadata.
    pub(crate) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// How documents are spread over shards; known to whoever has [ensured](Self::ensure) anything.
    pub(crate) fn routing(&self) -> Option<ShardRouting> {
        self.routing.get().copied()
    }

    fn warn(&self, warning: String) {
        let mut warnings = lock(&self.warnings);
        if !warnings.contains(&warning) {
            tracing::warn!(event = event::METADATA_DIFFERS, index = %self.follower_index, warning, "metadata differs");
            warnings.push(warning);
        }
    }

    /// Makes sure that the follower index is still the one that was made, before something is written to it.
    pub(crate) async fn still_there(&self, status: &ShardCell) -> Result<(), ShardFailure> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let there = self
                .sightings
                .is_there(&self.follower_index, &self.follower_index_uuid);
            match there.await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(self.follower_is_gone()),
                Err(error) => match self.target(&error) {
                    Stop::Final(failure) => return Err(failure),
                    Stop::Passing(reason) => {
                        status.wait_for(event::METADATA_WAITING, &reason);
                        sleep(backoff.next()).await;
                    }
                },
            }
        }
    }

    /// Returns when the target has metadata at least as new as `versions`.
    ///
    /// Safe to drop at any await: what was applied is applied again, which changes nothing.
    pub(crate) async fn ensure(
        &self,
        versions: v1::MetadataVersions,
        status: &ShardCell,
    ) -> Result<(), ShardFailure> {
        let mut applied = self.applied.lock().await;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let retry = applied
                .again
                .as_ref()
                .is_some_and(|(at, _)| Instant::now() >= *at);
            if !retry && applied.versions.is_some_and(|have| covers(have, versions)) {
                return Ok(());
            }
            match self.apply(&mut applied).await {
                Ok(()) => {}
                Err(Stop::Final(failure)) => return Err(failure),
                Err(Stop::Passing(reason)) => {
                    status.wait_for(event::METADATA_WAITING, &reason);
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Makes sure that the follower index can be searched, where that is needed before anything else.
    pub(crate) async fn opened(&self) -> Result<(), ClusterError> {
        // While settings are put, it may be closed for a moment.
        let _applied = self.applied.lock().await;
        match self.cluster.index_state(&self.follower_index).await? {
            Some(state) if state.uuid == self.follower_index_uuid => self.open_again(&state).await,
            _ => Ok(()),
        }
    }

    /// Opens the follower index if it is closed: a setting that takes a closed index was being put when an earlier life of the agent
    /// ended.
    async fn open_again(&self, state: &IndexState) -> Result<(), ClusterError> {
        if state.open {
            return Ok(());
        }
        tracing::warn!(index = %self.follower_index, "the follower index is closed, opening it");
        self.cluster.open_index(&self.follower_index).await
    }

    async fn apply(&self, applied: &mut Applied) -> Result<(), Stop> {
        let leader = self
            .leaders
            .link(&self.leader_alias)
            .map_err(|e| Stop::Passing(crate::chain(&e)))?;
        let leader = describe(&leader, &self.leader_index)
            .await
            .map_err(|error| match error {
                DescribeError::NoSuchIndex(_) => {
                    Stop::Final(self.leader_is(cause::INDEX_GONE, "was deleted"))
                }
                DescribeError::Refused(why) => Stop::Final(ShardFailure::Refused(why)),
                error => Stop::Passing(crate::chain(&error)),
            })?;
        if leader.uuid != self.leader_index_uuid {
            let words = "was deleted and created again: stop, delete the follower index and start again";
            return Err(Stop::Final(self.leader_is(cause::INDEX_REPLACED, words)));
        }
        let target = self
            .cluster
            .describe(&self.follower_index)
            .await
            .map_err(|e| self.target(&e))?;
        let target = target
            .filter(|target| target.state.uuid == self.follower_index_uuid)
            .ok_or_else(|| Stop::Final(self.follower_is_gone()))?;

        self.open_again(&target.state)
            .await
            .map_err(|e| self.target(&e))?;
        lock(&self.warnings).clear();
        let mut settings = None;
        if !same_json(leader.mapping.get(), target.mapping.get()) {
            settings = self.apply_mapping(&leader, &target.settings).await?;
        }
        let settings = match settings {
            Some(taken) => taken,
            None => self.apply_settings(&leader, &target.settings).await?,
        };
        let aliases = self.apply_aliases(&leader, &target.aliases).await?;
        let _ = self.routing.set(leader.routing());
        applied.versions = Some(leader.versions);
        let before = applied.again.take();
        if !settings || !aliases {
            let mut backoff = before.map_or_else(|| Backoff::new(AGAIN.0, AGAIN.1), |(_, backoff)| backoff);
            applied.again = Some((Instant::now() + backoff.next(), backoff));
        }
        tracing::info!(
            index = %self.follower_index,
            mapping = leader.versions.mapping,
            settings = leader.versions.settings,
            aliases = leader.versions.aliases,
            "metadata is up to date"
        );
        Ok(())
    }

    /// Puts the mapping. What it needs may be new as well, a higher limit or an analyzer, so a refusal is tried once more
    /// after the settings, and then the answer is whether the target took those. They do not go first every time: a
    /// limit may have been lowered on the leader after the fields were made.
    async fn apply_mapping(&self, leader: &Description, target: &Settings) -> Result<Option<bool>, Stop> {
        let mut settings = None;
        let mut put = self
            .cluster
            .put_mapping(&self.follower_index, &leader.mapping)
            .await;
        if put.as_ref().is_err_and(|e| e.kind == ErrorKind::BadRequest) {
            settings = Some(self.apply_settings(leader, target).await?);
            put = self
                .cluster
                .put_mapping(&self.follower_index, &leader.mapping)
                .await;
        }
        match put {
            Ok(()) => Ok(settings),
            Err(e) if e.kind == ErrorKind::BadRequest => Err(Stop::Final(ShardFailure::Metadata(format!(
                "the target refuses the mapping of [{}]; mend [{}] there and resume, or stop, delete it and start again: {}",
                self.leader_index,
                self.follower_index,
                crate::chain(&e)
            )))),
            Err(e) => Err(self.target(&e)),
        }
    }

    /// Whether the target took them.
    async fn apply_settings(&self, leader: &Description, target: &Settings) -> Result<bool, Stop> {
        let wanted = while_following(&leader.settings, &self.overrides);
        let change = difference(target, &wanted);
        match settings::put(&self.cluster, &self.follower_index, change).await {
            Ok(unknown) => {
                for name in unknown {
                    self.warn(format!("the target does not have the setting [{name}]"));
                }
                Ok(true)
            }
            Err(error) if error.kind == ErrorKind::BadRequest => {
                self.warn(format!(
                    "the target refuses settings of the leader: {}",
                    crate::chain(&error)
                ));
                Ok(false)
            }
            Err(error) => Err(self.target(&error)),
        }
    }

    /// Whether the target took them.
    async fn apply_aliases(&self, leader: &Description, target: &Map<String, Value>) -> Result<bool, Stop> {
        let add: Map<String, Value> = leader
            .aliases
            .iter()
            .filter(|(name, alias)| target.get(*name) != Some(alias))
            .map(|(name, alias)| (name.clone(), alias.clone()))
            .collect();
        // A changed alias is put anew: adding over it would keep what the new definition does not mention.
        let remove: Vec<String> = target
            .keys()
            .filter(|name| !leader.aliases.contains_key(*name) || add.contains_key(*name))
            .cloned()
            .collect();
        if self.put_aliases(&add, &remove).await?.is_ok() {
            return Ok(true);
        }
        // All or none, say the engines: so one by one, for one alias that clashes with another index (two write indices,
        // say, which is how a roll-over passes by) must not keep the others away.
        let mut names: Vec<&String> = add.keys().chain(&remove).collect();
        names.sort_unstable();
        names.dedup();
        let mut taken = true;
        for name in names {
            let add = add.get(name).map(|alias| (name.clone(), alias.clone()));
            let gone = remove.contains(name).then(|| name.clone());
            let put = self
                .put_aliases(&add.into_iter().collect(), &Vec::from_iter(gone))
                .await?;
            if let Err(refusal) = put {
                self.warn(format!(
                    "the target refuses the alias [{name}] of the leader: {}",
                    crate::chain(&refusal)
                ));
                taken = false;
            }
        }
        Ok(taken)
    }

    /// The inner error is a refusal.
    async fn put_aliases(
        &self,
        add: &Map<String, Value>,
        remove: &[String],
    ) -> Result<Result<(), ClusterError>, Stop> {
        match self
            .cluster
            .update_aliases(&self.follower_index, add, remove)
            .await
        {
            Err(error) if error.is_transient() => Err(self.target(&error)),
            outcome => Ok(outcome),
        }
    }

    fn follower_is_gone(&self) -> ShardFailure {
        ShardFailure::Metadata(format!(
            "the follower index [{}] was deleted or replaced on the target; stop it, then start again",
            self.follower_index
        ))
    }

    fn leader_is(&self, cause: &str, words: &str) -> ShardFailure {
        ShardFailure::Leader {
            cause: cause.to_owned(),
            message: format!("leader index [{}] {words}", self.leader_index),
        }
    }

    fn target(&self, error: &ClusterError) -> Stop {
        let words = format!("the target: {}", crate::chain(error));
        if error.is_transient() || matches!(error.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden) {
            Stop::Passing(words)
        } else {
            Stop::Final(ShardFailure::Metadata(format!(
                "metadata of [{}]: {words}",
                self.follower_index
            )))
        }
    }
}

fn covers(have: v1::MetadataVersions, need: v1::MetadataVersions) -> bool {
    have.mapping >= need.mapping && have.settings >= need.settings && have.aliases >= need.aliases
}

fn same_json(left: &str, right: &str) -> bool {
    match (
        serde_json::from_str::<Value>(left),
        serde_json::from_str::<Value>(right),
    ) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
