//! Why a leader agent ended a stream for good, as words that a follower agent can act on without reading prose.
//!
//! They travel in the trailer [`TRAILER`] of a `FAILED_PRECONDITION` status; its message is for people.

/// Name of the trailer.
pub const TRAILER: &str = "slipstream-cause";
/// The leader index was deleted: the elected master of a recovered cluster knows no index of that name. Also in the trailer of
/// a description's `NOT_FOUND`, where agents that are too old for it say nothing.
pub const INDEX_GONE: &str = "index-gone";
/// The leader index is closed.
pub const INDEX_CLOSED: &str = "index-closed";
/// Another index has the leader index's name now.
pub const INDEX_REPLACED: &str = "index-replaced";
/// The leader index has fewer shards than asked for.
pub const NO_SUCH_SHARD: &str = "no-such-shard";
/// The shard's history was rewritten.
pub const HISTORY_CHANGED: &str = "history-changed";
/// The leader lost operations that the follower has, within the same history.
pub const REGRESSED: &str = "regressed";
/// The leader cluster refuses the leader agent, or is not what the agent can read: its operator has to act.
pub const LEADER_CLUSTER: &str = "leader-cluster";
