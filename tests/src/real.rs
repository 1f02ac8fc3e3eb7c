//! Pairs of real clusters, and what has to be equal on both.

use std::time::Duration;

use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::compare;
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};

/// A leader cluster and a target.
pub struct Pair {
    /// Where the writes go.
    pub leader: Server,
    /// Where they arrive.
    pub target: Server,
}

impl Pair {
    /// Starts both, side by side; `None` where this machine cannot run one of them, which has then been said.
    pub async fn start(leader: Release, target: Release) -> Option<Pair> {
        let (leader, target) = tokio::join!(
            Server::start(leader, ServerConfig::named("leader")),
            Server::start(target, ServerConfig::named("target")),
        );
        Some(Pair {
            leader: or_skip(leader)?,
            target: or_skip(target)?,
        })
    }

    /// Waits until both indices are equal, by the tests' own comparison.
    pub async fn wait_until_equal(&self, leader_index: &str, follower_index: &str, limit: Duration) {
        wait_until_equal(
            &self.leader.client(),
            leader_index,
            &self.target.client(),
            follower_index,
            limit,
        )
        .await;
    }
}

/// Waits until two indices are equal: documents byte for byte, mapping, settings, aliases.
pub async fn wait_until_equal(
    leader: &Es,
    leader_index: &str,
    target: &Es,
    follower_index: &str,
    limit: Duration,
) {
    eventually(
        &format!("[{follower_index}] equals [{leader_index}]"),
        limit,
        async || {
            let differences = compare::indices(leader, leader_index, target, follower_index).await;
            if differences.is_empty() {
                Ok(())
            } else {
                Err(differences.join("\n"))
            }
        },
    )
    .await;
}
