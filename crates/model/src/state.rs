//! The state machine of one following index. The words are the same in code, store, REST, metrics and documents.
//!
//! ```text
//! INIT ─► BOOTSTRAPPING ─► SYNCING ⇄ PAUSED          (any of them) ─► FAILED
//!                                      any ─► STOPPING ─► forgotten: the index is an ordinary one again
//! ```
//! Every transition is stored before anything acts on it, so that a restart goes on with it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the replication of one index stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Accepted; the follower index is being created.
    Init,
    /// The leader's contents at the start are being copied, changes made meanwhile included.
    Bootstrapping,
    /// Caught up once; changes follow as they are acknowledged.
    Syncing,
    /// Held by an operator, or by a condition that only an operator can judge; the place is kept without limit.
    Paused,
    /// Stopped by an error that trying again cannot mend; the place is kept.
    Failed,
    /// The operator asked for the end: held-back settings are being put back.
    Stopping,
}

impl Phase {
    /// All phases, for metrics that report one value for each.
    pub const ALL: [Phase; 6] = [
        Phase::Init,
        Phase::Bootstrapping,
        Phase::Syncing,
        Phase::Paused,
        Phase::Failed,
        Phase::Stopping,
    ];

    /// The phase's name as everything outside shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Init => "INIT",
            Phase::Bootstrapping => "BOOTSTRAPPING",
            Phase::Syncing => "SYNCING",
            Phase::Paused => "PAUSED",
            Phase::Failed => "FAILED",
            Phase::Stopping => "STOPPING",
        }
    }

    /// Whether shard sessions run in this phase.
    pub const fn is_running(self) -> bool {
        matches!(self, Phase::Bootstrapping | Phase::Syncing)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an index is in its phase, in words for the operator. Never empty where the phase is `PAUSED` or `FAILED`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    /// The reason of everything that an operator asked for without giving one.
    pub const USER: &'static str = "User initiated";

    /// A reason; an empty text becomes [`Reason::USER`].
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Reason(if text.is_empty() {
            Reason::USER.to_owned()
        } else {
            text
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
