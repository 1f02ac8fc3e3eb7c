//! Clusters of several nodes, for tests of replicas and failing primaries.

use std::time::Duration;

use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{Release, Server, ServerConfig, SkipOrError};
use crate::client::{Es, eventually};

/// A cluster whose first node is its only possible master and holds data as well; the others hold data only.
///
/// Every node but the first may therefore die and the cluster goes on: put the primary on the second
/// ([`Cluster::move_primary`]), kill that one, and the first promotes its replica.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, the master first.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts `count` nodes, named `node-0` and so on.
    pub async fn start(release: Release, count: usize, config: ServerConfig) -> Result<Self, SkipOrError> {
        Self::start_with(release, count, config, |_, config| config).await
    }

    /// The same where nodes differ: `each` is given the number of a node and its configuration.
    pub async fn start_with(
        release: Release,
        count: usize,
        config: ServerConfig,
        each: impl Fn(usize, ServerConfig) -> ServerConfig,
    ) -> Result<Self, SkipOrError> {
        let first = ServerConfig {
            node_name: "node-0".to_owned(),
            ..config.clone()
        };
        let first = Server::start(release, each(0, first)).await?;
        let others = (1..count).map(|number| {
            let config = config.clone().joining(&first, &format!("node-{number}"));
            Server::start(release, each(number, config))
        });
        let others = try_join_all(others).await?;
        let mut nodes = vec![first];
        nodes.extend(others);
        let cluster = Self { nodes };
        cluster.wait_for_nodes(count).await;
        Ok(cluster)
    }

    /// A client of the first node.
    pub fn client(&self) -> Es {
        self.nodes[0].client()
    }

    /// Waits until the first node sees `count` nodes.
    pub async fn wait_for_nodes(&self, count: usize) {
        let client = self.client();
        eventually("every node has joined", Duration::from_mins(1), async || {
            let (_, health) = client.get("/_cluster/health").await;
            if health["number_of_nodes"] == json!(count) {
                Ok(())
            } else {
                Err(health.to_string())
            }
        })
        .await;
    }

    /// Waits until every copy of `index` is in sync.
    pub async fn wait_for_green(&self, index: &str) {
        let client = self.client();
        eventually("every copy is in sync", Duration::from_mins(1), async || {
            let (_, health) = client.get(&format!("/_cluster/health/{index}")).await;
            if health["status"] == "green" {
                Ok(())
            } else {
                Err(health.to_string())
            }
        })
        .await;
    }

    /// The number of the node that holds the primary of a shard, `None` while there is none.
    pub async fn primary_of(&self, index: &str, shard: u32) -> Option<usize> {
        let (_, copies) = self
            .client()
            .get(&format!("/_cat/shards/{index}?format=json"))
            .await;
        let shard = shard.to_string();
        let copy = copies.as_array()?.iter().find(|copy| {
            copy["prirep"] == "p" && copy["shard"] == shard.as_str() && copy["state"] == "STARTED"
        })?;
        self.nodes
            .iter()
            .position(|node| copy["node"] == node.node_name())
    }

    /// Makes node number `to`, which must hold a copy in sync, the holder of the primary, and waits until the copies
    /// are in sync again.
    pub async fn move_primary(&self, index: &str, shard: u32, to: usize) {
        let client = self.client();
        eventually("the primary has moved", Duration::from_mins(2), async || {
            self.wait_for_green(index).await;
            match self.primary_of(index, shard).await {
                Some(from) if from == to => return Ok(()),
                Some(_) => {}
                None => return Err("there is none".to_owned()),
            }
            let (status, answer) = client
                .post("/_cluster/reroute", &self.promotion(index, shard, to).await)
                .await;
            assert_eq!(status, 200, "moving the primary of [{index}][{shard}]: {answer}");
            Err("the cluster was asked".to_owned())
        })
        .await;
        self.wait_for_green(index).await;
    }

    /// The commands that leave node `to` the only copy to promote. Cancelling the primary's allocation alone promotes
    /// whichever replica the cluster likes, and it can like the same two in turn for ever. Cancelled copies are rebuilt.
    async fn promotion(&self, index: &str, shard: u32, to: usize) -> Value {
        let (_, copies) = self
            .client()
            .get(&format!("/_cat/shards/{index}?format=json"))
            .await;
        let shard_text = shard.to_string();
        let to = self.nodes[to].node_name();
        let mut others: Vec<&Value> = copies
            .as_array()
            .into_iter()
            .flatten()
            .filter(|copy| copy["shard"] == shard_text.as_str() && copy["node"] != to)
            .collect();
        // The primary last: its cancellation promotes at once.
        others.sort_by_key(|copy| copy["prirep"] == "p");
        let commands: Vec<Value> = others
            .into_iter()
            .map(|copy| {
                json!({ "cancel": {
                    "index": index, "shard": shard, "node": copy["node"], "allow_primary": true,
                }})
            })
            .collect();
        json!({ "commands": commands })
    }
}
