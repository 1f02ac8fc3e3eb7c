//! A leader cluster of several nodes with an agent beside each, a target of one node, and a follower agent that knows
//! all of the agents.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::proxy::Proxy;
use slipstream_testkit::servers::{Cluster, Release, Server, ServerConfig, or_skip};
use slipstream_testkit::workload::Workload;
use slipstream_tests::agents::{Agents, LONG, LeaderAgent, Options, free_port};
use slipstream_tests::real::wait_until_equal;

use crate::places::{Holders, holders};

/// Everything that a test needs.
pub(crate) struct World {
    pub(crate) leader: Cluster,
    pub(crate) target: Server,
    /// The follower's side; its leader agent is not used.
    pub(crate) agents: Agents,
    /// The agent beside each node, in the order of the nodes.
    pub(crate) beside: Vec<LeaderAgent>,
    /// What the other nodes have to say to [`DOOMED`] goes through here.
    pub(crate) wire: Proxy,
}

/// The node that is killed or cut off. The first one is the only possible master.
pub(crate) const DOOMED: usize = 1;

impl World {
    pub(crate) async fn start(release: Release, nodes: usize) -> Option<World> {
        let config = ServerConfig {
            heap_mb: 384,
            ..ServerConfig::named("leader")
        };
        // So that next to nothing is on its way to a node whose clock is stopped.
        let config = config
            .with("network.tcp.send_buffer_size", "64kb")
            .with("network.tcp.receive_buffer_size", "64kb");
        let port = free_port();
        let wire = Proxy::start(([127, 0, 0, 1], port).into())
            .await
            .expect("a proxy");
        let through_the_wire = |number, config: ServerConfig| match number {
            DOOMED => config
                .with("transport.port", &port.to_string())
                .with("transport.publish_port", &wire.address().port().to_string()),
            _ => config,
        };
        let (leader, target) = tokio::join!(
            Cluster::start_with(release, nodes, config, through_the_wire),
            Server::ready(release, ServerConfig::named("target")),
        );
        let (leader, target) = (or_skip(leader)?, or_skip(target)?);
        let mut agents = Agents::prepare(&leader.nodes[0].url(), &target.url(), &Options::default()).await;
        let mut beside = Vec::new();
        for node in &leader.nodes {
            let mut agent = agents.one_more_leader(node.node_name(), &node.url()).await;
            agent.process.start();
            beside.push(agent);
        }
        agents.follower.start();
        agents.wait_for_gateway().await;
        let world = World {
            leader,
            target,
            agents,
            beside,
            wire,
        };
        world.agents.register_agents(&world.addresses()).await;
        Some(world)
    }

    /// Where the follower agent finds the leader agents.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let address = |agent: &LeaderAgent| agent.link.address().to_string();
        self.beside.iter().map(address).collect()
    }

    /// The first node: the master, which no phase kills.
    pub(crate) fn source(&self) -> Es {
        self.leader.client()
    }

    /// The name of a node.
    pub(crate) fn node(&self, number: usize) -> &str {
        self.leader.nodes[number].node_name()
    }

    /// The number of the last node.
    pub(crate) fn last(&self) -> usize {
        self.leader.nodes.len() - 1
    }

    /// Creates an index with small documents in mind.
    pub(crate) async fn create(&self, index: &str, settings: Value) {
        let body = json!({ "settings": { "index": settings } });
        let (status, answer) = self.source().put(&format!("/{index}"), &body).await;
        assert_eq!(status, 200, "{answer}");
        self.leader.wait_for_green(index).await;
    }

    /// Changes settings of a leader index.
    pub(crate) async fn set(&self, index: &str, settings: Value) {
        let body = json!({ "index": settings });
        let (status, answer) = self.source().put(&format!("/{index}/_settings"), &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Follows an index under its usual name and waits until everything is there.
    pub(crate) async fn follow(&self, index: &str) {
        self.follow_as(&copy(index), index).await;
    }

    /// Follows an index under a name.
    pub(crate) async fn follow_as(&self, name: &str, index: &str) {
        self.agents.follow(name, index).await;
        self.agents.wait_for_status(name, "SYNCING", LONG).await;
    }

    /// Waits until both sides are equal.
    pub(crate) async fn equal(&self, index: &str) {
        self.equal_as(&copy(index), index).await;
    }

    /// The same for an index that is followed under another name.
    pub(crate) async fn equal_as(&self, name: &str, index: &str) {
        wait_until_equal(&self.source(), index, &self.target.client(), name, LONG).await;
        let status = self.agents.status(name).await;
        assert_eq!(status["status"], "SYNCING", "{status}");
    }

    /// Waits until the status says of every shard what it should, by where the copies are.
    pub(crate) async fn served(
        &self,
        index: &str,
        how: &str,
        limit: Duration,
        is_so: impl Fn(&Holders, &str) -> bool,
    ) {
        self.served_as(&copy(index), index, how, limit, is_so).await;
    }

    /// The same for an index that is followed under another name.
    pub(crate) async fn served_as(
        &self,
        name: &str,
        index: &str,
        how: &str,
        limit: Duration,
        is_so: impl Fn(&Holders, &str) -> bool,
    ) {
        let what = format!("every shard of [{name}] is read {how}");
        eventually(&what, limit, async || {
            self.unlike(name, index, &is_so).await.map_or(Ok(()), Err)
        })
        .await;
    }

    /// What the status says, unless it says of every shard what it should.
    pub(crate) async fn unlike(
        &self,
        name: &str,
        index: &str,
        is_so: impl Fn(&Holders, &str) -> bool,
    ) -> Option<String> {
        let holders = holders(&self.source(), index).await;
        let details = self.agents.details(name).await;
        let shards = details["shards"].as_array().cloned().unwrap_or_default();
        let as_wanted = |shard: &Value| {
            let number = shard["shard"].as_u64().unwrap_or(u64::MAX);
            let reader = shard["reader"].as_str().unwrap_or_default();
            holders.get(&number).is_some_and(|holders| is_so(holders, reader))
        };
        let so = shards.len() == holders.len() && shards.iter().all(as_wanted);
        (!so).then(|| format!("{holders:?}, {details}"))
    }

    /// Waits until every shard is tailed beside its primary.
    pub(crate) async fn tailed_beside_primaries(&self, index: &str, limit: Duration) {
        self.served(index, "beside its primary", limit, Holders::is_primary)
            .await;
    }

    /// Waits until every shard is tailed beside one of its copies.
    pub(crate) async fn tailed_beside_copies(&self, index: &str, limit: Duration) {
        let either =
            |holders: &Holders, reader: &str| holders.is_primary(reader) || holders.is_replica(reader);
        self.served(index, "beside a copy", limit, either).await;
    }

    /// Waits until every shard has a primary on another node than the doomed.
    pub(crate) async fn promoted(&self, index: &str) {
        let doomed = self.node(DOOMED);
        eventually(&format!("others are promoted for [{index}]"), LONG, async || {
            let placed = holders(&self.source(), index).await;
            let has_another = |shard: &Holders| shard.primary.as_deref().is_some_and(|node| node != doomed);
            if placed.values().all(has_another) {
                Ok(())
            } else {
                Err(format!("{placed:?}"))
            }
        })
        .await;
    }

    /// Writes everything that a workload has for this long.
    pub(crate) async fn write(&self, workload: &Workload, duration: Duration) {
        let writers = workload.start(self.source().url());
        tokio::time::sleep(duration).await;
        let summary = writers.stop().await;
        assert!(summary.done > 0, "{summary:?}");
    }
}

/// The follower index's name.
pub(crate) fn copy(index: &str) -> String {
    format!("{index}-copy")
}

/// The lines of a bulk that indexes documents with these numbers as ids, each with this many random digits in it.
pub(crate) fn lines(ids: std::ops::Range<u32>, digits: usize) -> String {
    let mut lines = String::new();
    for id in ids {
        let pad: String = (0..digits)
            .map(|_| char::from(rand::random_range(b'0'..=b'9')))
            .collect();
        let _ = writeln!(
            lines,
            "{{\"index\":{{\"_id\":\"{id}\"}}}}\n{{\"n\":{id},\"pad\":\"{pad}\"}}"
        );
    }
    lines
}

/// Indexes them, which must succeed.
pub(crate) async fn bulk(server: &Es, index: &str, ids: std::ops::Range<u32>, digits: usize) {
    let (status, answer) = server.bulk(&format!("/{index}/_bulk"), lines(ids, digits)).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
}
