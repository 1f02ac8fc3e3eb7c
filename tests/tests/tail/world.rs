//! Two real clusters, or one that follows itself, the agents between them, and what the tests ask of both sides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
use slipstream_testkit::workload::{StormIndex, Summary, Workload};
use slipstream_tests::agents::{Agents, LONG, Options};
use slipstream_tests::real::{Pair, wait_until_equal};

/// Everything that a test needs.
pub(crate) struct World {
    pub(crate) leader: Server,
    /// `None` where the leader follows itself: as good, and one server less.
    target: Option<Server>,
    pub(crate) agents: Agents,
}

impl World {
    /// Two clusters and both agents.
    pub(crate) async fn start(leader: Release, target: Release) -> Option<World> {
        let pair = Pair::start(leader, target).await?;
        Some(World::of(pair.leader, Some(pair.target), Options::default()).await)
    }

    /// One cluster that is leader and target.
    pub(crate) async fn alone(release: Release) -> Option<World> {
        let server = or_skip(Server::ready(release, ServerConfig::named("both")).await)?;
        Some(World::of(server, None, Options::default()).await)
    }

    /// The same; it takes some seconds after each start before the cluster knows its indices.
    pub(crate) async fn alone_and_slow_to_recover(release: Release) -> Option<World> {
        let config = ServerConfig::named("both")
            .with("gateway.expected_data_nodes", "2")
            .with("gateway.recover_after_time", "5s");
        let server = or_skip(Server::start(release, config).await)?;
        Some(World::of(server, None, Options::default()).await)
    }

    /// Agents beside clusters that run.
    pub(crate) async fn of(leader: Server, target: Option<Server>, options: Options) -> World {
        let target_url = target.as_ref().unwrap_or(&leader).url();
        let agents = Agents::start(&leader.url(), &target_url, options).await;
        World {
            leader,
            target,
            agents,
        }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.target.is_none()
    }

    pub(crate) fn source(&self) -> Es {
        self.leader.client()
    }

    pub(crate) fn target(&self) -> Es {
        self.target.as_ref().unwrap_or(&self.leader).client()
    }

    /// Follows an index by the name `NAME-copy`.
    pub(crate) async fn follow(&self, index: &str) {
        self.agents.follow(&copy(index), index).await;
        self.agents.wait_for_status(&copy(index), "SYNCING", LONG).await;
    }

    /// Creates an index as the leader's workload wants it, follows it, and waits until the tail serves.
    pub(crate) async fn followed(&self, workload: &Workload, settings: Value) {
        workload.create_indices(&self.source()).await;
        for index in workload.indices() {
            if settings != json!({}) {
                set(&self.source(), &index.name, settings.clone()).await;
            }
            self.follow(&index.name).await;
            self.tailed(&index.name).await;
        }
    }

    /// Waits until the translog reader serves every shard.
    pub(crate) async fn tailed(&self, index: &str) {
        self.agents
            .wait_for_reader(&copy(index), "translog", "this agent reads the files of", LONG)
            .await;
    }

    /// Waits until the window reader serves every shard, for this reason.
    pub(crate) async fn windowed(&self, index: &str, why: &str) {
        self.agents
            .wait_for_reader(&copy(index), "window", why, LONG)
            .await;
    }

    /// Waits until both sides are equal. It refreshes both.
    pub(crate) async fn equal(&self, index: &str) {
        let (leader, target) = (self.source(), self.target());
        wait_until_equal(&leader, index, &target, &copy(index), LONG).await;
    }

    /// What the follower says of each shard's durable checkpoint.
    pub(crate) async fn followed_to(&self, index: &str) -> BTreeMap<u64, i64> {
        let details = self.agents.details(&copy(index)).await;
        let shards = details["shards"].as_array().cloned().unwrap_or_default();
        let of = |shard: &Value| Some((shard["shard"].as_u64()?, shard["follower_checkpoint"].as_i64()?));
        shards.iter().filter_map(of).collect()
    }

    /// Waits until everything that the leader has acknowledged is durable on the follower. It asks nothing that makes the
    /// leader's changes visible or its checkpoints move.
    pub(crate) async fn caught_up(&self, index: &str, limit: Duration) {
        let leader = self.source();
        eventually(&format!("[{index}] has caught up"), limit, async || {
            let (newest, followed) = (
                numbers(&leader, index, "max_seq_no").await,
                self.followed_to(index).await,
            );
            if !newest.is_empty() && newest == followed {
                Ok(())
            } else {
                let details = self.agents.details(&copy(index)).await;
                Err(format!(
                    "{newest:?} on the leader, {followed:?} on the follower: {details}"
                ))
            }
        })
        .await;
    }

    /// Writes everything that a workload has for this long.
    pub(crate) async fn write(&self, workload: &Workload, duration: Duration) -> Summary {
        let writers = workload.start(&self.leader.url());
        tokio::time::sleep(duration).await;
        let summary = writers.stop().await;
        assert!(summary.done > 0, "{summary:?}");
        summary
    }

    /// Waits until the leader agent has said why it does not tail any more.
    pub(crate) async fn left(&self, why: &str) {
        self.agents
            .leader
            .logged(&["the translog is not tailed", why])
            .await;
    }
}

/// The follower index's name.
pub(crate) fn copy(index: &str) -> String {
    format!("{index}-copy")
}

/// A plan for one index, in any world.
pub(crate) fn plan(seed: u64, name: &str, shards: u32) -> Workload {
    let index = StormIndex {
        name: name.to_owned(),
        shards,
        versions_restart: true,
    };
    Workload::new(seed).with_indices(vec![index]).within_one_cluster()
}

/// Sets index settings.
pub(crate) async fn set(server: &Es, index: &str, settings: Value) {
    let (status, answer) = server
        .put(&format!("/{index}/_settings"), &json!({ "index": settings }))
        .await;
    assert_eq!(status, 200, "{answer}");
}

/// A call without a body that must succeed.
pub(crate) async fn call(server: &Es, path: &str) {
    let (status, answer) = server.post_bytes(path, "").await;
    assert_eq!(status, 200, "{path}: {answer}");
}

/// Indexes small documents with these numbers as ids by one bulk.
pub(crate) async fn bulk(server: &Es, index: &str, ids: std::ops::Range<u32>) {
    let mut lines = String::new();
    for id in ids {
        let _ = writeln!(lines, "{{\"index\":{{\"_id\":\"{id}\"}}}}\n{{\"counter\":{id}}}");
    }
    let (status, answer) = server.bulk(&format!("/{index}/_bulk"), lines).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
}

/// A number of each shard's primary: `max_seq_no` or `global_checkpoint`.
pub(crate) async fn numbers(server: &Es, index: &str, which: &str) -> BTreeMap<u64, i64> {
    let (_, stats) = server.get(&format!("/{index}/_stats/refresh?level=shards")).await;
    let shards = stats["indices"][index]["shards"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let of = |(shard, copies): (&String, &Value)| {
        let primary = copies
            .as_array()?
            .iter()
            .find(|copy| copy["routing"]["primary"] == true)?;
        Some((shard.parse().ok()?, primary["seq_no"][which].as_i64()?))
    };
    shards.iter().filter_map(of).collect()
}

/// How often an index was refreshed for searches, and searched.
pub(crate) async fn looks(server: &Es, index: &str) -> (Value, Value) {
    let (_, stats) = server.get(&format!("/{index}/_stats/refresh,search")).await;
    let total = &stats["indices"][index]["total"];
    (
        total["refresh"]["external_total"].clone(),
        total["search"]["query_total"].clone(),
    )
}
