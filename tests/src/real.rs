//! Pairs of real clusters, and what has to be equal on both.

use std::time::Duration;

use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::compare;
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
use tokio::time::{sleep, timeout};

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
        let (on_leader, on_target) = (ServerConfig::named("leader"), ServerConfig::named("target"));
        Pair::configured((leader, on_leader), (target, on_target)).await
    }

    /// The same, configured by the caller.
    pub async fn configured(
        leader: (Release, ServerConfig),
        target: (Release, ServerConfig),
    ) -> Option<Pair> {
        let (leader, target) = tokio::join!(
            Server::ready(leader.0, leader.1),
            Server::ready(target.0, target.1),
        );
        Some(Pair {
            leader: or_skip(leader)?,
            target: or_skip(target)?,
        })
    }

    /// Waits until both indices are equal, by the tests' own comparison.
    pub async fn wait_until_equal(&self, leader_index: &str, follower_index: &str, limit: Duration) {
        let (leader, target) = (self.leader.client(), self.target.client());
        // Shortly before the wait is given up, both servers tell what they are busy with.
        let diagnosis = async {
            tokio::time::sleep(limit.saturating_sub(Duration::from_secs(10))).await;
            for (name, server) in [("leader", &leader), ("target", &target)] {
                for path in [
                    "/_cat/tasks?v&detailed",
                    "/_nodes/hot_threads?threads=5&ignore_idle_threads=false",
                ] {
                    if let Ok((_, text)) = server.try_send("GET", path, None).await {
                        println!("--- {name} {path}\n{}", String::from_utf8_lossy(&text));
                    }
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = wait_until_equal(&leader, leader_index, &target, follower_index, limit) => {}
            () = diagnosis => {}
        }
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

/// Flushes every index, over and over: each time the older generations of its translog go.
pub async fn flush_storm(server: Es, duration: Duration) {
    let flushing = async {
        loop {
            let flushed = server
                .try_send("POST", "/_flush?force=true&wait_if_ongoing=true", None)
                .await;
            if flushed.is_err() {
                sleep(Duration::from_millis(200)).await;
            }
        }
    };
    let _ = timeout(duration, flushing).await;
}
