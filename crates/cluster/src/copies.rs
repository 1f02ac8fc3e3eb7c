//! Which node holds which copy of a shard, and where on its disk: what an agent needs to find the files of the copy
//! beside it, and what a follower needs to choose among agents.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use slipstream_model::{Checkpoint, GlobalCheckpoint, HistoryUuid, IndexName, IndexUuid, ShardId};

use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::shards::{CopyAnswer, StatsAnswer};

/// The node that answers this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// Its id: kept over restarts.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its data folders: `path.data`, or what the engine takes without one; empty where the engine does not tell.
    pub data_paths: Vec<String>,
}

/// The copies of an index's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexCopies {
    /// The index's identity.
    pub uuid: IndexUuid,
    /// Copies by shard; a shard without any assigned copy is absent.
    pub shards: BTreeMap<ShardId, Vec<ShardCopy>>,
}

/// One started copy of a shard; one that is being relocated counts until the new one has taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardCopy {
    /// The id of the node that holds it.
    pub node: String,
    /// Whether it is the primary.
    pub primary: bool,
    /// The node's data folder that holds it, which has `indices/UUID/SHARD` in it; empty where the engine does not tell.
    pub data_path: String,
    /// Identity of its translog; empty where the engine does not tell.
    pub translog_uuid: String,
    /// Identity of its history.
    pub history_uuid: HistoryUuid,
    /// What is acknowledged, as far as this copy knows.
    pub global_checkpoint: GlobalCheckpoint,
    /// The highest sequence number on this copy.
    pub max_seq_no: Checkpoint,
}

impl CopyAnswer {
    /// A copy that serves; what is still recovering has no history of its own yet.
    fn into_copy(self) -> Option<ShardCopy> {
        if !self.serves() {
            return None;
        }
        let (seq_no, user_data) = (self.seq_no?, self.commit?.user_data);
        Some(ShardCopy {
            node: self.routing.node?,
            primary: self.routing.primary,
            data_path: self.shard_path.map(|path| path.data_path).unwrap_or_default(),
            translog_uuid: user_data.translog_uuid,
            history_uuid: HistoryUuid::new(user_data.history_uuid),
            global_checkpoint: GlobalCheckpoint(Checkpoint::new(seq_no.global_checkpoint)),
            max_seq_no: Checkpoint::new(seq_no.max_seq_no),
        })
    }
}

impl Cluster {
    /// The started copies of an index's shards; `None` if it is missing, closed or has no copy anywhere.
    pub async fn shard_copies(&self, index: &IndexName) -> Result<Option<IndexCopies>> {
        const FIELDS: &str = "indices.*.uuid,indices.*.shards.*.routing.state,indices.*.shards.*.routing.primary,\
            indices.*.shards.*.routing.node,indices.*.shards.*.seq_no,\
            indices.*.shards.*.commit.user_data.history_uuid,\
            indices.*.shards.*.commit.user_data.translog_uuid,indices.*.shards.*.shard_path.data_path";
        let call = Call::get(
            format!("/{}/_stats/refresh", self.segment(index)?),
            format!("level=shards&ignore_unavailable=true&filter_path={FIELDS}"),
        );
        let mut answer: StatsAnswer = self.json(&call).await?;
        // By its very name: an alias would bring in another index.
        Ok(answer.indices.remove(index.as_str()).map(|index| IndexCopies {
            uuid: IndexUuid::new(index.uuid),
            shards: index
                .shards
                .into_iter()
                .map(|(shard, copies)| {
                    let copies = copies.into_iter().filter_map(CopyAnswer::into_copy);
                    (ShardId(shard), copies.collect())
                })
                .collect(),
        }))
    }

    /// What time it is for the node that answers.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it does not tell.
    pub async fn node_clock(&self) -> Result<SystemTime> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            nodes: BTreeMap<String, NodeAnswer>,
        }
        #[derive(Deserialize)]
        struct NodeAnswer {
            timestamp: u64,
        }
        let call = Call::get("/_nodes/_local/stats/jvm", "filter_path=nodes.*.timestamp");
        let answer: Answer = self.json(&call).await?;
        let node = answer.nodes.into_values().next().ok_or_else(|| {
            self.error(ErrorKind::Protocol, &call)
                .with_reason("the answer tells no time")
        })?;
        Ok(UNIX_EPOCH + Duration::from_millis(node.timestamp))
    }

    /// The node that answers this client's calls: the one beside the agent, if the configuration follows the advice.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the answer names no node.
    pub async fn local_node(&self) -> Result<LocalNode> {
        #[derive(Deserialize)]
        struct Answer {
            nodes: BTreeMap<String, NodeAnswer>,
        }
        #[derive(Deserialize)]
        struct NodeAnswer {
            #[serde(default)]
            name: String,
            #[serde(default)]
            settings: SettingsAnswer,
        }
        #[derive(Deserialize, Default)]
        struct SettingsAnswer {
            #[serde(default)]
            path: PathsAnswer,
        }
        #[derive(Deserialize, Default)]
        struct PathsAnswer {
            #[serde(default)]
            data: OneOrMany,
            home: Option<String>,
        }
        let call = Call::get(
            "/_nodes/_local/settings",
            "filter_path=nodes.*.name,nodes.*.settings.path.data,nodes.*.settings.path.home",
        );
        let answer: Answer = self.json(&call).await?;
        let (id, node) = answer.nodes.into_iter().next().ok_or_else(|| {
            self.error(ErrorKind::Protocol, &call)
                .with_reason("the answer names no node")
        })?;
        let mut data_paths = node.settings.path.data.0;
        // What is not set is not shown; the default lies below the folder that the engine was unpacked to.
        if let (true, Some(home)) = (data_paths.is_empty(), node.settings.path.home) {
            data_paths.push(format!("{}/data", home.trim_end_matches('/')));
        }
        Ok(LocalNode {
            id,
            name: node.name,
            data_paths,
        })
    }
}

/// A setting that engines print as a text or as a list of them.
#[derive(Default)]
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(OneOrMany(match Either::deserialize(deserializer)? {
            Either::One(one) => one.split(',').map(|path| path.trim().to_owned()).collect(),
            Either::Many(many) => many,
        }))
    }
}
