//! Making the follower index: like the leader's, with what is held while following, and empty.
//!
//! The definition says `INIT` before the index is created, so an index that exists when `INIT` is entered again was made
//! by an earlier life, if it is still empty; anything else is somebody's data and is left alone. What templates of the target would add
//! is kept away by [`shield`].

use slipstream_cluster::{Cluster, ClusterError, ErrorKind};
use slipstream_model::settings::{Settings, while_following};
use slipstream_model::{IndexName, IndexUuid};
use thiserror::Error;

use super::describe::Description;
use super::settings::drop_unknown;
use super::shield;
use crate::control::ControlError;

/// Why the follower index could not be made.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    /// There is an index of that name with documents in it.
    #[error("Cant use same index again for replication. Delete the index:{0}")]
    Occupied(IndexName),
    /// A setting that the operator asked for is not known there.
    #[error("unknown setting [{}] in the settings asked for: the target does not have it", .0.join(", "))]
    UnknownOverride(Vec<String>),
    /// The target will not have such an index.
    #[error("the target cannot hold a copy of [{leader}]")]
    Refused {
        /// The leader index.
        leader: IndexName,
        /// What it said.
        #[source]
        source: ClusterError,
    },
    /// The target did not answer as it should; trying again may help.
    #[error("the target cluster could not create [{index}]")]
    Target {
        /// The follower index.
        index: IndexName,
        /// What it said.
        #[source]
        source: ClusterError,
    },
}

/// Creates the follower index, or finds the one that an earlier life made. Returns its identity.
pub(super) async fn prepare(
    cluster: &Cluster,
    index: &IndexName,
    leader_index: &IndexName,
    leader: &Description,
    overrides: &Settings,
) -> Result<IndexUuid, PrepareError> {
    let target = unanswered(index);
    if cluster.exists(index).await.map_err(target)? {
        return adopt(cluster, index).await;
    }
    let mut settings = while_following(&leader.settings, overrides);
    settings.insert(
        "index.number_of_shards".to_owned(),
        leader.shards.to_string().into(),
    );
    if leader.routing_shards != default_routing_shards(leader.shards) {
        settings.insert(
            "index.number_of_routing_shards".to_owned(),
            leader.routing_shards.to_string().into(),
        );
    }
    let wanted = Wanted {
        index,
        leader_index,
        leader,
        overrides,
    };
    let first = wanted.create(cluster, settings.clone()).await;
    let templates_show = match &first {
        Ok(_) => shield::shows(&cluster.mapping(index).await.map_err(target)?, &leader.mapping),
        Err(PrepareError::Refused { .. }) => true,
        Err(_) => false,
    };
    if templates_show {
        wanted.create_behind_the_shield(cluster, settings, first).await
    } else {
        first
    }
}

/// What is to be made.
struct Wanted<'a> {
    index: &'a IndexName,
    leader_index: &'a IndexName,
    leader: &'a Description,
    overrides: &'a Settings,
}

impl Wanted<'_> {
    /// Creates it once more, without what templates add, if that can be.
    async fn create_behind_the_shield(
        &self,
        cluster: &Cluster,
        settings: Settings,
        first: Result<IndexUuid, PrepareError>,
    ) -> Result<IndexUuid, PrepareError> {
        let index = self.index;
        let target = unanswered(index);
        if let Err(error) = shield::raise(cluster, index).await {
            let reason = crate::chain(&error);
            tracing::warn!(%index, reason, "index templates of the target may have a part in the follower index, and cannot be kept away");
            return first;
        }
        let again = async {
            if first.is_ok() {
                cluster.delete_index(index).await.map_err(target)?;
            }
            self.create(cluster, settings).await
        };
        let again = again.await;
        shield::lower(cluster, index).await.map_err(target)?;
        // Refused for another reason than a template: what was refused first was what is wanted.
        match (first, again) {
            (Err(first), Err(PrepareError::Refused { .. })) => Err(first),
            (_, again) => again,
        }
    }

    async fn create(&self, cluster: &Cluster, mut settings: Settings) -> Result<IndexUuid, PrepareError> {
        let (index, overrides) = (self.index, self.overrides);
        let target = unanswered(index);
        let mut aliases = self.leader.aliases.clone();
        loop {
            let made = cluster
                .create_index(index, &settings, &self.leader.mapping, &aliases)
                .await;
            let Err(source) = made else { break };
            if !aliases.is_empty() && is_about_an_alias(&source) {
                // A roll-over on its way, say: the index before is still the one to write to. They are put once it is there.
                aliases.clear();
            } else if let Some(unknown) = drop_unknown(&source, &mut settings) {
                // What the leader has and the target does not know is left out; what was asked for is not.
                let (asked_for, unknown): (Vec<_>, Vec<_>) =
                    unknown.into_iter().partition(|name| overrides.contains_key(name));
                if !asked_for.is_empty() {
                    return Err(PrepareError::UnknownOverride(asked_for));
                }
                tracing::warn!(%index, ?unknown, "the target does not have these settings of the leader");
            } else if source.is_transient() {
                return Err(target(source));
            } else if source.kind == ErrorKind::Conflict {
                return adopt(cluster, index).await;
            } else {
                return Err(PrepareError::Refused {
                    leader: self.leader_index.clone(),
                    source,
                });
            }
        }
        let state = cluster.index_state(index).await.map_err(target)?;
        state
            .map(|state| state.uuid)
            .ok_or_else(|| PrepareError::Occupied(index.clone()))
    }
}

/// What the target's silence about this index, or its trouble, is told as.
fn unanswered(index: &IndexName) -> impl Fn(ClusterError) -> PrepareError + Copy {
    move |source| PrepareError::Target {
        index: index.clone(),
        source,
    }
}

/// Whether the target refuses an index for one of its aliases: another index writes through it, or has its name.
fn is_about_an_alias(refusal: &ClusterError) -> bool {
    matches!(
        refusal.engine_type(),
        Some("illegal_state_exception" | "invalid_alias_name_exception")
    )
}

/// Takes an index that exists as ours if it never held anything.
async fn adopt(cluster: &Cluster, index: &IndexName) -> Result<IndexUuid, PrepareError> {
    let target = unanswered(index);
    let stats = cluster
        .seq_stats(std::slice::from_ref(index))
        .await
        .map_err(target)?;
    match stats.get(index) {
        Some(stats)
            if !stats.shards.is_empty() && stats.shards.values().all(|s| s.max_seq_no.last().is_none()) =>
        {
            Ok(stats.uuid.clone())
        }
        _ => Err(PrepareError::Occupied(index.clone())),
    }
}

/// The slots that the engines choose by themselves: the largest multiple of `shards` by a power of two up to 1024, and
/// at least twice the shards.
fn default_routing_shards(shards: u32) -> u32 {
    let bits = u32::BITS - shards.saturating_sub(1).leading_zeros();
    shards << 10_u32.saturating_sub(bits).max(1)
}

impl From<PrepareError> for ControlError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Occupied(index) => ControlError::FollowerExists(index),
            PrepareError::Refused { .. } | PrepareError::UnknownOverride(_) => {
                ControlError::Invalid(crate::chain(&error))
            }
            PrepareError::Target { .. } => ControlError::Unavailable(crate::chain(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::default_routing_shards;

    #[test]
    fn slots_are_chosen_as_the_engines_choose() {
        for (shards, slots) in [(1, 1024), (2, 1024), (3, 768), (5, 640), (8, 1024), (1024, 2048)] {
            assert_eq!(default_routing_shards(shards), slots, "{shards} shards");
        }
    }
}
