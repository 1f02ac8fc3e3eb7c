//! How a leader agent works: who may read what, and how much it takes on.

use std::path::PathBuf;
use std::time::Duration;

use slipstream_model::Pattern;
use slipstream_source::TailConfig;

/// What a leader agent is started with.
#[derive(Debug, Clone)]
pub struct LeaderConfig {
    /// Release of the agent, as the handshake tells it: "0.1.0".
    pub agent_version: String,
    /// Who may read which indices. Nothing is allowed by default.
    pub allow: Vec<AllowRule>,
    /// Shard streams at once. Each holds operations as far as its follower has
    /// granted credit, and next to nothing while it is idle; this bounds what a follower gone mad can open (I8).
    pub max_streams: usize,
    /// How long a new stream may take to say what it is for.
    pub open_deadline: Duration,
    /// Whether and where to read the translog files of the node beside the agent.
    pub translog: TailConfig,
    /// A folder under the cluster's `path.repo` that this agent can read; without one there are no snapshots.
    pub snapshot_path: Option<PathBuf>,
    /// Tells this agent from others beside the same cluster, in every life.
    pub agent_name: String,
}

impl Default for LeaderConfig {
    /// Nothing is allowed, 4,096 streams, ten seconds to open, translog files are read.
    fn default() -> Self {
        LeaderConfig {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            allow: Vec::new(),
            max_streams: 4_096,
            open_deadline: Duration::from_secs(10),
            translog: TailConfig::default(),
            snapshot_path: None,
            agent_name: String::new(),
        }
    }
}

/// Lets one identity read the indices that match one of the patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowRule {
    /// DNS or URI name in the follower's certificate (its subject alternative name), exactly.
    pub identity: String,
    /// Indices of the leader cluster.
    pub indices: Vec<Pattern>,
}
