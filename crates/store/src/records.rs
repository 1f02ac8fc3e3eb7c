//! The few records that are kept as JSON: readable with RocksDB's own tools, and open to fields of later releases.
//!
//! A field that a later release adds must have a `serde` default, so that stores of this one stay readable; a field
//! that is not known is dropped. A change that needs more than that is a new schema (`schema.rs`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use slipstream_model::settings::Settings;
use slipstream_model::{
    Bootstrap, Checkpoint, ClusterUuid, DurableCheckpoint, HistoryUuid, IndexName, IndexUuid, Pattern, Phase,
    PrimaryTerm, Reason,
};

use crate::run::Run;

/// A leader cluster under the name that replication requests use for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderAlias {
    /// The name, unique within the follower agent.
    pub alias: String,
    /// Addresses of its leader agents, any of which will do.
    pub agents: Vec<String>,
}

/// A rule by which indices of a leader are followed without being asked for one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoFollowRule {
    /// The leader cluster, by its alias.
    pub leader_alias: String,
    /// The rule's name, unique within the alias.
    pub name: String,
    /// The leader indices that it takes.
    pub pattern: Pattern,
    /// Of those, the ones that it leaves.
    #[serde(default)]
    pub exclude: Vec<Pattern>,
    /// Name of a follower index; `{{leader_index}}` in it stands for the leader's.
    pub follower_index_pattern: String,
    /// Settings that follower indices have otherwise than the leader.
    #[serde(default)]
    pub overrides: Settings,
    /// Leader indices that were started by this rule and still exist there: what an operator has stopped since is not
    /// started again.
    #[serde(default)]
    pub taken: BTreeSet<IndexUuid>,
    /// When the rule was made, in milliseconds since the Unix epoch.
    pub created_at_millis: u64,
}

/// One following index: what was asked for, whom it is bound to, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The index on the target; the key of the definition.
    pub follower_index: IndexName,
    /// The leader cluster, by its alias.
    pub leader_alias: String,
    /// The index on the leader.
    pub leader_index: IndexName,
    /// The leader index's identity, once known (I5).
    #[serde(default)]
    pub leader_index_uuid: Option<IndexUuid>,
    /// The leader cluster's identity, once known (I5).
    #[serde(default)]
    pub leader_cluster_uuid: Option<ClusterUuid>,
    /// The follower index's identity, once it is created.
    #[serde(default)]
    pub follower_index_uuid: Option<IndexUuid>,
    /// While it begins with the leader's files, and until what that left is cleared up: the folder that they go through.
    #[serde(default)]
    pub restoring: Option<PathBuf>,
    /// When the leader index was created, as its engine prints it, for as long: an index that is made from its files was, too.
    #[serde(default)]
    pub restored_created_at: Option<String>,
    /// What it began with, files or documents, and why, in words.
    #[serde(default)]
    pub begun_with: Option<String>,
    /// What the operator wants it to begin with; `None` leaves that to the agent.
    #[serde(default)]
    pub bootstrap: Option<Bootstrap>,
    /// Where the replication stands.
    pub phase: Phase,
    /// The phase that `PAUSED` goes back to.
    pub resume_phase: Phase,
    /// Why it is in that phase.
    pub reason: Reason,
    /// Settings that the operator wants otherwise than the leader has them.
    #[serde(default)]
    pub overrides: Settings,
    /// How many shards the leader index has; 0 before that is known.
    pub shards: u32,
    /// When replication was started, in milliseconds since the Unix epoch.
    pub started_at_millis: u64,
    /// `STOPPING` ends with the deletion of the follower index: its leader was deleted, and the operator wants that.
    #[serde(default)]
    pub delete_follower: bool,
    /// `PAUSED` ends by itself: the agent holds the index because the leader's is closed.
    #[serde(default)]
    pub until_opened: bool,
}

/// How far one shard has come. The default is a shard of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardProgress {
    /// Everything up to it is applied and durable on the target (I2).
    #[serde(default = "nothing_durable")]
    pub checkpoint: DurableCheckpoint,
    /// The history that the checkpoint counts in (I5).
    #[serde(default)]
    pub history: Option<HistoryUuid>,
    /// A window scan that is under way.
    #[serde(default)]
    pub scan: Option<Scan>,
    /// Whether the leader's contents at the start were copied completely.
    #[serde(default)]
    pub bootstrapped: bool,
    /// Whether everything is being read again although documents are known: their sequence numbers may belong to a
    /// history that is no more, so they say nothing about which of two operations is newer.
    #[serde(default)]
    pub reconciling: bool,
    /// What the map lacks, if the shard began with the leader's files.
    #[serde(default)]
    pub unmapped: Option<Unmapped>,
    /// What the map may lack of what was written last.
    #[serde(default, alias = "unsynced")]
    pub trail: Option<Trail>,
}

/// The map follows the target a moment behind: documents are remembered while they are written.
///
/// With this record everything was stored that had been sent by then. So what the map may lack was sent later, and has on the target
/// sequence numbers above all that the target had answered before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// Whose writes the map follows. Where it is another run than the present one, that one may have ended before it had remembered all.
    /// `None`: it had.
    #[serde(default, alias = "life")]
    pub run: Option<Run>,
    /// The target's own sequence number, not the leader's, that those documents lie above.
    pub above: Checkpoint,
}

/// Documents that the target holds and the map does not: restored with the leader's files and not written since, so that on the
/// target they still have the leader's sequence numbers. They are put into the map when it has to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmapped {
    /// The map holds what lies at or below.
    pub after: Checkpoint,
    /// It also holds what was restored above.
    pub through: Checkpoint,
}

/// How far a window scan has read, valid as long as the shard's primary stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// All that is alive up to it was read, applied and is durable; deletes up to it may still be outstanding.
    pub scanned: Checkpoint,
    /// The primary's term when the scan began.
    pub term: PrimaryTerm,
}

impl Default for ShardProgress {
    fn default() -> Self {
        ShardProgress {
            checkpoint: DurableCheckpoint::NONE,
            history: None,
            scan: None,
            bootstrapped: false,
            reconciling: false,
            unmapped: None,
            trail: None,
        }
    }
}

impl Default for Trail {
    /// Nothing has been written yet, or the target has not told any number.
    fn default() -> Self {
        Trail {
            run: None,
            above: Checkpoint::NONE,
        }
    }
}

fn nothing_durable() -> DurableCheckpoint {
    DurableCheckpoint::NONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_earlier_and_later_releases_are_read() {
        let bare: ShardProgress = serde_json::from_str("{}").unwrap();
        assert_eq!(bare, ShardProgress::default());
        let later: ShardProgress =
            serde_json::from_str(r#"{"checkpoint":7,"bootstrapped":true,"colour":"blue"}"#).unwrap();
        assert_eq!(later.checkpoint.get(), Checkpoint::new(7));
        assert!(later.bootstrapped);
        let older: ShardProgress =
            serde_json::from_str(r#"{"unsynced":{"life":"a-boot-id","above":9}}"#).unwrap();
        let trail = Trail {
            run: Some(Run::new("a-boot-id")),
            above: Checkpoint::new(9),
        };
        assert_eq!(older.trail, Some(trail));
    }

    #[test]
    fn a_definition_without_its_optional_fields_is_read() {
        let json = r#"{"follower_index":"f","leader_alias":"a","leader_index":"l","phase":"SYNCING",
            "resume_phase":"SYNCING","reason":"User initiated","shards":1,"started_at_millis":5,"later":{}}"#;
        let definition: Definition = serde_json::from_str(json).unwrap();
        assert_eq!(definition.phase, Phase::Syncing);
        assert_eq!(definition.leader_index_uuid, None);
        assert!(definition.overrides.is_empty());
    }
}
