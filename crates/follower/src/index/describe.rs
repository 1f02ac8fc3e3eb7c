//! What the leader says of an index, checked where it arrives.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use slipstream_model::routing::ShardRouting;
use slipstream_model::settings::Settings;
use slipstream_model::{ClusterUuid, IndexName, IndexUuid};
use slipstream_wire::{cause, v1};
use thiserror::Error;
use tonic::Code;

use crate::control::ControlError;
use crate::leaders::{LeaderError, LeaderLink};

/// The leader index as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) uuid: IndexUuid,
    pub(crate) cluster: ClusterUuid,
    pub(crate) shards: u32,
    pub(crate) routing_shards: u32,
    pub(crate) open: bool,
    /// Why it can't be replicated exactly.
    pub(crate) unsupported: Option<String>,
    pub(crate) versions: v1::MetadataVersions,
    pub(crate) mapping: Box<RawValue>,
    pub(crate) settings: Settings,
    pub(crate) aliases: Map<String, Value>,
}

impl Description {
    /// When it was created, as its engine prints it.
    pub(crate) fn created_at(&self) -> Option<&str> {
        created_at(&self.settings)
    }

    /// How it spreads documents over its shards.
    pub(crate) fn routing(&self) -> ShardRouting {
        let partition_size = self.settings.get("index.routing_partition_size");
        ShardRouting {
            shards: self.shards,
            routing_shards: self.routing_shards,
            partition_size: partition_size
                .and_then(Value::as_str)
                .and_then(|size| size.parse().ok())
                .unwrap_or(1),
        }
    }
}

/// When an index with these settings was created, as its engine prints it; a restored index has the moment of the one it was made from.
pub(super) fn created_at(settings: &Settings) -> Option<&str> {
    settings.get("index.creation_date").and_then(Value::as_str)
}

/// Why there is no description.
#[derive(Debug, Error)]
pub(crate) enum DescribeError {
    /// No agent of the leader serves us.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// There is no such index.
    #[error("no such index [{0}]")]
    NoSuchIndex(IndexName),
    /// Our identity may not read it.
    #[error("{0}")]
    Refused(String),
    /// The leader agent could not tell.
    #[error("the leader agent could not describe [{index}]: {message}")]
    Failed {
        /// The index.
        index: IndexName,
        /// What it said.
        message: String,
    },
}

/// Asks a leader about one of its indices.
pub(crate) async fn describe(leader: &LeaderLink, index: &IndexName) -> Result<Description, DescribeError> {
    let mut catalog = leader.connect().await?.catalog();
    let request = v1::DescribeRequest {
        index: index.to_string(),
    };
    let answer = catalog
        .describe(request)
        .await
        .map_err(|status| match status.code() {
            Code::NotFound => DescribeError::NoSuchIndex(index.clone()),
            Code::PermissionDenied => DescribeError::Refused(status.message().to_owned()),
            _ => DescribeError::Failed {
                index: index.clone(),
                message: status.message().to_owned(),
            },
        })?;
    let answer = answer.into_inner();
    let garbled = |what: &str| DescribeError::Failed {
        index: index.clone(),
        message: format!("its {what} are not what an agent of this release sends"),
    };
    Ok(Description {
        uuid: IndexUuid::new(answer.index_uuid),
        cluster: ClusterUuid::new(answer.cluster_uuid),
        shards: answer.shards,
        routing_shards: answer.routing_shards,
        open: answer.state == "open",
        unsupported: Some(answer.unsupported).filter(|why| !why.is_empty()),
        versions: answer.versions.unwrap_or_default(),
        mapping: serde_json::from_slice(&answer.mapping_json).map_err(|_| garbled("mappings"))?,
        settings: serde_json::from_slice(&answer.settings_json).map_err(|_| garbled("settings"))?,
        aliases: serde_json::from_slice(&answer.aliases_json).map_err(|_| garbled("aliases"))?,
    })
}

/// Whether an index of this cluster is gone, beyond doubt: an agent beside that very cluster, which may tell us, has it from
/// the cluster itself. A leader that cannot be asked, an alias that leads elsewhere by now and an agent that is too old to say
/// so are no proof, and neither is a name that another index has.
pub(super) async fn is_deleted(leader: &LeaderLink, cluster: &ClusterUuid, index: &IndexName) -> bool {
    let Ok(connected) = leader.connect().await else {
        return false;
    };
    if connected.hello.cluster_uuid != cluster.as_str() {
        return false;
    }
    let request = v1::DescribeRequest {
        index: index.to_string(),
    };
    let Err(status) = connected.catalog().describe(request).await else {
        return false;
    };
    status.code() == Code::NotFound
        && status
            .metadata()
            .get(cause::TRAILER)
            .is_some_and(|word| word == cause::INDEX_GONE)
}

/// The incumbent's mark on an index that follows another.
const FOLLOWS: &str = "index.plugins.replication.follower.leader_index";

/// Whether a leader index can be followed at all.
pub(crate) fn check(index: &IndexName, leader: &Description) -> Result<(), ControlError> {
    if !leader.open {
        return Err(ControlError::Invalid(format!(
            "leader index [{index}] is closed; open it first"
        )));
    }
    if leader.settings.contains_key(FOLLOWS) {
        return Err(ControlError::Invalid(format!(
            "Cannot Replicate a Replicated Index {index}"
        )));
    }
    if let Some(why) = &leader.unsupported {
        return Err(ControlError::Invalid(format!(
            "leader index [{index}] cannot be replicated exactly: {why}"
        )));
    }
    Ok(())
}

impl From<DescribeError> for ControlError {
    fn from(error: DescribeError) -> Self {
        match error {
            DescribeError::Leader(LeaderError::Unknown(alias)) => ControlError::NoSuchLeader(alias),
            DescribeError::NoSuchIndex(index) => ControlError::NoSuchLeaderIndex(index),
            DescribeError::Refused(why) => ControlError::Forbidden(why),
            error => ControlError::Unavailable(crate::chain(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(settings: &str) -> Description {
        Description {
            uuid: IndexUuid::new("u"),
            cluster: ClusterUuid::new("c"),
            shards: 1,
            routing_shards: 1024,
            open: true,
            unsupported: None,
            versions: v1::MetadataVersions::default(),
            mapping: RawValue::from_string("{}".to_owned()).unwrap(),
            settings: serde_json::from_str(settings).unwrap(),
            aliases: Map::new(),
        }
    }

    #[test]
    fn an_index_that_the_incumbent_replicates_is_not_followed() {
        let index = IndexName::from("f1");
        assert!(check(&index, &described("{}")).is_ok());
        let marked = described(r#"{"index.plugins.replication.follower.leader_index":"conn1:leader-01"}"#);
        let refused = check(&index, &marked).unwrap_err();
        assert_eq!(refused.to_string(), "Cannot Replicate a Replicated Index f1");
    }
}
