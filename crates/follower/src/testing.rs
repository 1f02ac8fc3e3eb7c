//! What several modules' tests stand on.

use slipstream_cluster::{Cluster, ClusterConfig};
use slipstream_sandbox::{Flavor, Sandbox, SandboxConfig};

/// A target in memory, and the way to it.
pub(crate) async fn target() -> (Sandbox, Cluster) {
    let sandbox = Sandbox::start(SandboxConfig {
        engine: Flavor::OpenSearch,
        cluster_name: "target".to_owned(),
        data: None,
        listen: ([127, 0, 0, 1], 0).into(),
    });
    let sandbox = sandbox.await.unwrap();
    let cluster = Cluster::new(&ClusterConfig::new(sandbox.url())).unwrap();
    (sandbox, cluster)
}
