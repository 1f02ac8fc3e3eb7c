//! The names of what the agents log and operators alert on, each written down once.
//!
//! A log line that stands for one of these carries its name in the field `event`; the sentence beside it is for people
//! and may change, the name may not. `docs/events.md` says what each means and what to do, and a test holds the two
//! together. Both agents take their names from here, which is why they are in this crate.

/// An agent listens and works.
pub const AGENT_STARTED: &str = "agent_started";
/// An agent was told to end.
pub const AGENT_STOPPING: &str = "agent_stopping";
/// An agent has ended in order.
pub const AGENT_STOPPED: &str = "agent_stopped";

/// The agent's certificate expires soon, or has.
pub const CERTIFICATE_EXPIRING: &str = "certificate_expiring";
/// Certificates were read again.
pub const CERTIFICATE_RELOADED: &str = "certificate_reloaded";
/// Rules and other settings that change in place were read again.
pub const CONFIGURATION_RELOADED: &str = "configuration_reloaded";
/// Files were to be read again and something is wrong with them; everything stays as it was.
pub const RELOAD_FAILED: &str = "reload_failed";

/// A start was accepted: the follower index exists.
pub const INDEX_STARTED: &str = "index_started";
/// A start was refused or failed; nothing of it stays.
pub const INDEX_START_FAILED: &str = "index_start_failed";
/// An index is in another state.
pub const INDEX_STATE_CHANGED: &str = "index_state_changed";
/// An operator paused an index.
pub const INDEX_PAUSED: &str = "index_paused";
/// An index paused without being told: somebody did something on the leader.
pub const INDEX_PAUSED_BY_ITSELF: &str = "index_paused_by_itself";
/// An index failed.
pub const INDEX_FAILED: &str = "index_failed";
/// An index does not follow any more.
pub const INDEX_STOPPED: &str = "index_stopped";

/// A leader agent does not answer, or refuses.
pub const LEADER_AGENT_UNREACHABLE: &str = "leader_agent_unreachable";
/// It answers again.
pub const LEADER_AGENT_BACK: &str = "leader_agent_back";
/// Agents under one alias are of different clusters.
pub const LEADER_AGENT_FOREIGN: &str = "leader_agent_foreign";
/// The cluster beside an agent takes no connection; beside a follower agent that is the target.
pub const CLUSTER_UNREACHABLE: &str = "cluster_unreachable";
/// It answers again.
pub const CLUSTER_BACK: &str = "cluster_back";

/// A shard's stream broke, or could not be opened; it is tried again.
pub const SESSION_CUT: &str = "session_cut";
/// The stream is open again.
pub const SESSION_RECONNECTED: &str = "session_reconnected";
/// Another reader serves a shard.
pub const READER_CHANGED: &str = "reader_changed";
/// A leader agent refused a peer or a stream.
pub const PEER_REFUSED: &str = "peer_refused";

/// The target turns writes away; they are tried again.
pub const BULK_BACKING_OFF: &str = "bulk_backing_off";
/// The target will never take a document; its index fails.
pub const BULK_REJECTED: &str = "bulk_rejected";
/// The target does not take all of the metadata as the leader has it.
pub const METADATA_DIFFERS: &str = "metadata_differs";

/// An index could not begin with the leader's files; it is tried again, then it begins with documents.
pub const FILES_FAILED: &str = "files_failed";
/// Metadata cannot be compared or brought up to date now; it is tried again.
pub const METADATA_WAITING: &str = "metadata_waiting";

/// The leader holds documents that reading missed, or the target some that the agent did not write; the shard is read again.
pub const DIVERGENCE_FOUND: &str = "divergence_found";
/// A comparison found both sides equal.
pub const VERIFY_EQUAL: &str = "verify_equal";
/// A comparison found documents that differ.
pub const VERIFY_DIFFERENT: &str = "verify_different";
/// A comparison put right what differed.
pub const VERIFY_REPAIRED: &str = "verify_repaired";
/// A comparison came to no result.
pub const VERIFY_UNTOLD: &str = "verify_untold";

/// A rule started an index.
pub const AUTOFOLLOW_STARTED: &str = "autofollow_started";
/// A rule could not start an index; it tries again.
pub const AUTOFOLLOW_FAILED: &str = "autofollow_failed";
/// A rule cannot ask its leader for indices.
pub const AUTOFOLLOW_BLIND: &str = "autofollow_blind";

/// Checkpoints and definitions cannot be kept.
pub const STORE_FAILED: &str = "store_failed";

/// Traces cannot be delivered to their collector; they are dropped meanwhile.
pub const TRACE_EXPORT_FAILING: &str = "trace_export_failing";
/// They are delivered again.
pub const TRACE_EXPORT_BACK: &str = "trace_export_back";
