//! How a cluster is, in its own words.

use serde::Deserialize;

use crate::client::{Call, Cluster};
use crate::error::Result;

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ClusterHealth {
    /// `green`, `yellow` (replicas are missing) or `red` (primaries are).
    pub status: String,
    /// Nodes in the cluster.
    #[serde(rename = "number_of_nodes")]
    pub nodes: u32,
    /// Copies of shards that are on no node.
    pub unassigned_shards: u32,
}

impl Cluster {
    /// How the cluster is now; unlike [`Cluster::identity`] never remembered. The privilege is `monitor` on the cluster.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn health(&self) -> Result<ClusterHealth> {
        let parts = "filter_path=status,number_of_nodes,unassigned_shards";
        self.json(&Call::get("/_cluster/health", parts)).await
    }
}
