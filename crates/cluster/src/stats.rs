//! Sequence numbers of shards, and refreshes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use slipstream_model::{Checkpoint, GlobalCheckpoint, HistoryUuid, IndexName, IndexUuid, ShardId};

use crate::answer::Refusal;
use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::shards::{CopyAnswer, StatsAnswer};

/// Engines take 4 KiB of request line; names are asked for in portions below that.
const NAMES_IN_A_REQUEST: usize = 2_500;

/// Where the shards of an index are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSeqStats {
    /// The index's identity.
    pub uuid: IndexUuid,
    /// The shards whose primary is started, or relocating and still in charge.
    pub shards: BTreeMap<ShardId, ShardSeqStats>,
}

/// Where the primary of a shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSeqStats {
    /// The id of the node that holds it.
    pub node: String,
    /// What is acknowledged.
    pub global_checkpoint: GlobalCheckpoint,
    /// The highest sequence number given out.
    pub max_seq_no: Checkpoint,
    /// What is processed without a gap on this copy.
    pub local_checkpoint: Checkpoint,
    /// The identity of its history.
    pub history_uuid: HistoryUuid,
    /// How many refreshes it has had; external ones where the release counts them apart.
    pub refreshes: u64,
}

impl CopyAnswer {
    /// The numbers of a copy that is a primary in charge.
    fn into_stats(self) -> Option<ShardSeqStats> {
        if !self.routing.primary || !self.serves() {
            return None;
        }
        let seq_no = self.seq_no?;
        Some(ShardSeqStats {
            node: self.routing.node?,
            global_checkpoint: GlobalCheckpoint(Checkpoint::new(seq_no.global_checkpoint)),
            max_seq_no: Checkpoint::new(seq_no.max_seq_no),
            local_checkpoint: Checkpoint::new(seq_no.local_checkpoint),
            history_uuid: HistoryUuid::new(self.commit?.user_data.history_uuid),
            refreshes: self.refresh.external_total.unwrap_or(self.refresh.total),
        })
    }
}

impl Cluster {
    /// Sequence numbers of the primaries of the named indices, in one request for as many names as fit into one.
    ///
    /// Missing and closed indices are absent, and so are shards without a primary in charge; an index none of whose
    /// copies is assigned is absent as if it were missing: [`Cluster::index_state`] tells. Among several indices, one
    /// whose metadata is blocked is absent too.
    ///
    /// # Errors
    /// [`ErrorKind::Blocked`] if only one index was asked for and its metadata is blocked.
    pub async fn seq_stats(&self, indices: &[IndexName]) -> Result<BTreeMap<IndexName, IndexSeqStats>> {
        let mut stats = BTreeMap::new();
        for portion in self.portions(indices)? {
            match self.stats_of(&portion).await {
                // One index with a block fails the request for all of them.
                Err(error) if error.kind == ErrorKind::Blocked && portion.contains(',') => {
                    for name in portion.split(',') {
                        match self.stats_of(name).await {
                            Err(error) if error.kind == ErrorKind::Blocked => {
                                tracing::debug!(index = name, %error, "no statistics of a blocked index");
                            }
                            found => stats.extend(found?),
                        }
                    }
                }
                found => stats.extend(found?),
            }
        }
        // An alias would bring in indices that nobody asked for.
        stats.retain(|name, _| indices.contains(name));
        Ok(stats)
    }

    /// Statistics of the indices in a path segment.
    async fn stats_of(&self, names: &str) -> Result<BTreeMap<IndexName, IndexSeqStats>> {
        const FIELDS: &str = "indices.*.uuid,indices.*.shards.*.routing.state,indices.*.shards.*.routing.primary,\
            indices.*.shards.*.routing.node,indices.*.shards.*.seq_no,\
            indices.*.shards.*.commit.user_data.history_uuid,indices.*.shards.*.refresh.total,\
            indices.*.shards.*.refresh.external_total";
        let call = Call::get(
            format!("/{names}/_stats/refresh"),
            format!("level=shards&ignore_unavailable=true&filter_path={FIELDS}"),
        );
        let answer: StatsAnswer = self.json(&call).await?;
        let indices = answer.indices.into_iter().map(|(name, index)| {
            let shards = index.shards.into_iter().filter_map(|(shard, copies)| {
                Some((
                    ShardId(shard),
                    copies.into_iter().find_map(CopyAnswer::into_stats)?,
                ))
            });
            let stats = IndexSeqStats {
                uuid: IndexUuid::new(index.uuid),
                shards: shards.collect(),
            };
            (IndexName::new(name), stats)
        });
        Ok(indices.collect())
    }

    /// Comma-separated names, as many in each text as fit into a request.
    pub(crate) fn portions(&self, indices: &[IndexName]) -> Result<Vec<String>> {
        let mut portions: Vec<String> = Vec::new();
        for index in indices {
            let name = self.segment(index)?;
            match portions.last_mut() {
                Some(last) if last.len() + 1 + name.len() <= NAMES_IN_A_REQUEST => {
                    last.push(',');
                    last.push_str(&name);
                }
                _ => portions.push(name),
            }
        }
        Ok(portions)
    }

    /// Makes everything indexed so far searchable.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if it failed on any shard copy.
    pub async fn refresh(&self, index: &IndexName) -> Result<()> {
        self.on_all_copies(index, "refresh").await
    }

    /// Syncs everything indexed so far and starts a new translog generation.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if it failed on any shard copy.
    pub async fn flush(&self, index: &IndexName) -> Result<()> {
        self.on_all_copies(index, "flush").await
    }

    async fn on_all_copies(&self, index: &IndexName, action: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "_shards")]
            shards: Shards,
        }
        #[derive(Deserialize)]
        struct Shards {
            failed: u64,
            #[serde(default)]
            failures: Vec<Value>,
        }
        let call = Call::post(format!("/{}/_{action}", self.segment(index)?), "").heavy();
        let Answer { shards } = self.json(&call).await?;
        if shards.failed == 0 {
            return Ok(());
        }
        let first = shards
            .failures
            .first()
            .and_then(|f| f.get("reason"))
            .map(Refusal::of_value)
            .unwrap_or_default();
        let reason = format!(
            "the {action} failed on {} shard copies: {}",
            shards.failed, first.reason
        );
        Err(self
            .error(ErrorKind::Incomplete, &call)
            .with_reason(reason)
            .with_engine_type(first.kind))
    }
}
