//! What an operator can ask of the follower agent, whichever way: REST, command line or a test.
//!
//! Every refusal is a [`ControlError`] that says whose mistake it is, in the incumbent's words where it has some, so that
//! existing scripts recognise them.

use std::collections::BTreeMap;

use serde::Serialize;
use slipstream_model::settings::Settings;
use slipstream_model::{Bootstrap, IndexName, Pattern, Phase, Reason};
use thiserror::Error;

/// A request to follow an index.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Name of the index to be made on the target.
    pub follower_index: IndexName,
    /// A registered leader.
    pub leader_alias: String,
    /// Name of a concrete index there.
    pub leader_index: IndexName,
    /// Index settings that differ from the leader's on purpose; flat, with `index.` prefix.
    pub overrides: Settings,
    /// What it begins with; `None` leaves that to the agent.
    pub bootstrap: Option<Bootstrap>,
}

/// What a comparison of an index with its leader's has found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyStatus {
    /// The index on the target.
    pub follower_index: IndexName,
    /// How it stands.
    pub outcome: VerifyOutcome,
    /// Why it could not be told, if so.
    pub reason: Option<String>,
    /// Shards that are done, and all of them.
    pub shards_done: u32,
    /// All shards.
    pub shards: u32,
    /// Documents of the leader's that were compared, by shards that are done.
    pub documents: u64,
    /// Documents that differ: all of them, or as many as are shown.
    pub differences: Vec<Difference>,
    /// Whether there are more.
    pub more_differences: bool,
    /// What was put right, where that was asked for; `differences` are what is left.
    pub repaired: Option<RepairStatus>,
    /// Milliseconds since 1970 at which it was begun.
    pub started_at_millis: u64,
    /// How long it has taken so far, in milliseconds.
    pub took_millis: u64,
}

/// What a repair has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RepairStatus {
    /// Documents of the leader's that were written again.
    pub written: u64,
    /// Documents that the leader does not have and that were deleted.
    pub deleted: u64,
}

/// How a comparison stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyOutcome {
    /// It is still being made.
    Running,
    /// No document differs.
    Equal,
    /// Some do, and went on doing so after the follower had caught up.
    Different,
    /// It could not be told.
    Unknown,
}

/// A document that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The shard.
    pub shard: u32,
    /// The document.
    pub id: String,
    /// How.
    pub kind: DifferenceKind,
    /// Its version on the leader.
    pub leader_version: Option<i64>,
    /// Its version here.
    pub follower_version: Option<i64>,
}

/// How a document differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// It is on the leader only.
    Missing,
    /// It is here only.
    Extra,
    /// Its version, routing or source differs.
    Different,
}

/// A request for a rule that follows a leader's indices by their names.
#[derive(Debug, Clone)]
pub struct RuleRequest {
    /// A registered leader.
    pub leader_alias: String,
    /// The rule's name, unique within the leader.
    pub name: String,
    /// The indices that it takes.
    pub pattern: Pattern,
    /// Of those, the ones that it leaves.
    pub exclude: Vec<Pattern>,
    /// Name of a follower index, with `{{leader_index}}` for the leader's; `None` for that name itself.
    pub follower_index_pattern: Option<String>,
    /// Index settings of the followers that differ from the leader's on purpose; flat, with `index.` prefix.
    pub overrides: Settings,
}

/// What a rule has done since the agent started.
#[derive(Debug, Clone, Serialize)]
pub struct RuleStatus {
    /// The rule's name.
    pub name: String,
    /// The leader that it looks at.
    pub leader_alias: String,
    /// The indices that it takes.
    pub pattern: String,
    /// Of those, the ones that it leaves.
    pub exclude: Vec<String>,
    /// How followers are called.
    pub follower_index_pattern: String,
    /// Indices that it started.
    pub started: u64,
    /// Starts that failed, repeated ones included.
    pub failed_starts: u64,
    /// Times that the leader could not be asked for its indices.
    pub failed_leader_calls: u64,
    /// Why it cannot be asked now.
    pub leader_error: Option<String>,
    /// What could not be started and will be tried again.
    pub failed_indices: Vec<FailedStart>,
    /// When it last looked, in milliseconds since 1970; 0 before the first time.
    pub looked_at_millis: u64,
}

/// An index that a rule could not start.
#[derive(Debug, Clone, Serialize)]
pub struct FailedStart {
    /// The index of the leader.
    pub leader_index: IndexName,
    /// Why.
    pub reason: String,
}

/// Where one following index stands. Everything in it is true at the time of the answer.
#[derive(Debug, Clone, Serialize)]
pub struct IndexStatus {
    /// The index on the target.
    pub follower_index: IndexName,
    /// The leader it follows.
    pub leader_alias: String,
    /// The index there.
    pub leader_index: IndexName,
    /// State of the state machine.
    pub phase: Phase,
    /// Why it is in that state.
    pub reason: Reason,
    /// What keeps it from moving right now although it would move (target throttles, leader unreachable, …).
    pub waiting_for: Option<String>,
    /// Milliseconds since 1970 at which replication was started.
    pub started_at_millis: u64,
    /// How far it has come, while it begins with the leader's files rather than its documents.
    pub files: Option<FilesStatus>,
    /// What it began with, files or documents, and why, in words; `None` before that is decided.
    pub begun_with: Option<String>,
    /// One entry a shard that has been opened.
    pub shards: Vec<ShardStatus>,
    /// Things an operator should know although replication goes on (a setting that the target does not know, …).
    pub warnings: Vec<String>,
}

/// How far an index has come that begins with the leader's files.
#[derive(Debug, Clone, Serialize)]
pub struct FilesStatus {
    /// `snapshot` (the leader takes one, and what there is of it comes), `transfer` (all of it is there, and the rest comes), `restore`
    /// (on the target) or `map` (the agent learns what they hold).
    pub stage: &'static str,
    /// Bytes of all files; 0 before that is known.
    pub bytes_total: u64,
    /// Bytes that are here, also what an attempt or a life of this agent before this one has fetched.
    pub bytes_received: u64,
    /// Bytes that have come from the leader agent in this life, those of earlier attempts included.
    pub bytes_fetched: u64,
    /// Bytes that the target has restored.
    pub bytes_restored: u64,
    /// How many files there are; 0 before that is known.
    pub files_total: u64,
    /// How many are here.
    pub files_received: u64,
    /// Bytes a second of late: that came, or that the target restored; `None` before it is known.
    pub bytes_per_second: Option<u64>,
    /// Seconds until the transfer or the restore is done at that pace; `None` where that cannot be told.
    pub seconds_left: Option<u64>,
}

/// Where one shard stands.
#[derive(Debug, Clone, Serialize)]
pub struct ShardStatus {
    /// The shard's number.
    pub shard: u32,
    /// What the leader has acknowledged, as last heard; -1 for none.
    pub leader_checkpoint: i64,
    /// What is durable on the target; -1 for none.
    pub follower_checkpoint: i64,
    /// How far the current scan has come; equals `follower_checkpoint` between scans.
    pub scanned: i64,
    /// Where the first scan will end; `None` once it has.
    pub bootstrap_through: Option<i64>,
    /// Which reader serves the shard and why; `None` while no stream is open.
    pub reader: Option<String>,
    /// Age of the oldest acknowledged leader operation that is not yet readable on the target, in seconds.
    pub lag_seconds: f64,
    /// Operations received since the agent started.
    pub operations_read: u64,
    /// Of those, the ones that the leader agent read from a translog.
    pub operations_read_translog: u64,
    /// Operations applied since the agent started.
    pub operations_written: u64,
    /// Bytes of operations received since the agent started.
    pub bytes_read: u64,
    /// Streams from the leader that broke or were refused, and were opened again.
    pub failed_reads: u64,
    /// Bulk requests or items that the target turned away and that were tried again.
    pub retries: u64,
    /// Of those, the ones that the target had no room for.
    pub throttled: u64,
    /// Time that bulk requests took, all lanes together, in milliseconds.
    pub write_millis: u64,
}

/// One operation on many indices.
#[derive(Debug, Clone)]
pub struct ManyRequest {
    /// What to do with each.
    pub operation: ManyOperation,
    /// The indices: the leader's for a start, following ones for the others.
    pub pattern: Pattern,
    /// Of those, the ones to leave out.
    pub exclude: Vec<Pattern>,
}

/// What is done with each of many indices.
#[derive(Debug, Clone)]
pub enum ManyOperation {
    /// Follow it, under the leader's name.
    Start {
        /// A registered leader.
        leader_alias: String,
    },
    /// End following it.
    Stop,
    /// Hold it.
    Pause,
    /// Go on with it.
    Resume,
}

impl ManyOperation {
    /// The operation in one word.
    pub fn word(&self) -> &'static str {
        match self {
            ManyOperation::Start { .. } => "START",
            ManyOperation::Stop => "STOP",
            ManyOperation::Pause => "PAUSE",
            ManyOperation::Resume => "RESUME",
        }
    }
}

/// How an operation on many indices stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManyStatus {
    /// The task's number in this life of the agent.
    pub id: u64,
    /// [`ManyOperation::word`].
    pub operation: &'static str,
    /// The pattern that chose the indices.
    pub pattern: String,
    /// When it was begun, in milliseconds since 1970.
    pub started_at_millis: u64,
    /// Indices that are as asked.
    pub succeeded: usize,
    /// Indices that are waiting, or under way.
    pub pending: usize,
    /// Indices that were not begun because the task was cancelled or the agent ended.
    pub cancelled: usize,
    /// Indices with which it failed.
    pub failed_indices: Vec<FailedIndex>,
    /// Whether it is over.
    pub ended: bool,
}

/// An index with which an operation on many failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedIndex {
    /// The index.
    pub index: IndexName,
    /// Why.
    pub reason: String,
}

/// Why a request was refused.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Nothing replicates into this index.
    #[error("No replication in progress for index:{0}")]
    NotReplicating(IndexName),
    /// The alias is not registered.
    #[error("no such remote cluster: [{0}]")]
    NoSuchLeader(String),
    /// The leader has no such index, or the name is an alias there.
    #[error("no such index [{0}]")]
    NoSuchLeaderIndex(IndexName),
    /// The follower index exists already.
    #[error("Cant use same index again for replication. Delete the index:{0}")]
    FollowerExists(IndexName),
    /// Pausing what is paused.
    #[error("Index {0} is already paused")]
    AlreadyPaused(IndexName),
    /// Resuming what runs.
    #[error("Replication on Index {0} is already running")]
    AlreadyRunning(IndexName),
    /// The request cannot be carried out as it is.
    #[error("{0}")]
    Invalid(String),
    /// The leader may not be read by us.
    #[error("{0}")]
    Forbidden(String),
    /// An alias is still used by a following index.
    #[error("leader [{alias}] is still followed by [{index}]: stop that first")]
    LeaderInUse {
        /// The alias.
        alias: String,
        /// One of the indices that follow it.
        index: IndexName,
    },
    /// Starts are switched off.
    #[error("[FORBIDDEN] Replication START block is set")]
    StartBlocked,
    /// There is a rule of that name.
    #[error("autofollow rule [{name}] for leader [{alias}] exists already: delete it first to change it")]
    RuleExists {
        /// The leader's alias.
        alias: String,
        /// The rule's name.
        name: String,
    },
    /// There is none.
    #[error("Autofollow replication rule {alias}:{name} does not exist")]
    NoSuchRule {
        /// The leader's alias.
        alias: String,
        /// The rule's name.
        name: String,
    },
    /// An operation on many indices runs already.
    #[error("bulk task [{0}] is still running: wait until it has ended, or cancel it")]
    TaskRunning(u64),
    /// No such operation on many indices is known, or it cannot be cancelled any more.
    #[error("Task {0} not found or already completed")]
    NoSuchTask(u64),
    /// A pattern that should choose indices chooses none.
    #[error("no index matches [{0}]")]
    NothingMatches(String),
    /// An alias is still used by a rule.
    #[error("leader [{alias}] is still used by the autofollow rule [{name}]: delete that first")]
    LeaderInUseByRule {
        /// The alias.
        alias: String,
        /// The rule's name.
        name: String,
    },
    /// The leader or the target did not answer; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// The agent's own store failed.
    #[error("the agent's store failed: {0}")]
    Store(#[from] slipstream_store::StoreError),
}

/// The setting that forbids starts while it is `true`.
pub const BLOCK_START: &str = "plugins.replication.follower.block.start";

/// The setting that lets a follower be deleted when its leader index is, while it is `true`.
pub const DELETE_INDEX: &str = "plugins.replication.replicate.delete_index";

/// The setting that says how many bytes a second of the leader's files may come, over all indices.
pub const COPY_RATE: &str = "plugins.replication.follower.index.recovery.max_bytes_per_sec";

/// Registered leaders: alias → addresses of their agents.
pub type Leaders = BTreeMap<String, Vec<String>>;
