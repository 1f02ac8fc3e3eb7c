//! The cluster beside an agent: whether it answers, is one that is supported, lets the agent ask, and has the same time.

use std::time::{Duration, SystemTime};

use slipstream_cluster::{Cluster, ClusterError, ErrorKind};
use slipstream_model::IndexName;
use tokio::time::Instant;

use super::Checks;
use crate::failure::chain;

/// How far clocks may be apart: certificates are good from a moment to a moment.
const APART: Duration = Duration::from_secs(30);

/// Whether the cluster can be worked with. `false` where it does not answer, and nothing else needs to be tried.
pub(super) async fn answers(cluster: &Cluster, checks: &mut Checks) -> bool {
    let what = "cluster";
    let begun = Instant::now();
    match cluster.identity().await {
        Ok(identity) => checks.ok(
            what,
            format!(
                "{} {} [{}] at {} answers in {} ms",
                identity.engine,
                identity.version,
                identity.name,
                cluster.url(),
                begun.elapsed().as_millis()
            ),
        ),
        Err(error) => {
            let remedy = match error.kind {
                ErrorKind::Unauthorized => {
                    "give username and password_file, api_key_file, or a client certificate"
                }
                ErrorKind::Unsupported => "",
                _ => "check [cluster] url and ca_file, and that the node runs",
            };
            checks.fail(what, chain(&error), remedy);
            return false;
        }
    }
    clock(cluster, checks).await;
    true
}

async fn clock(cluster: &Cluster, checks: &mut Checks) {
    let what = "clock";
    let before = SystemTime::now();
    let node = match cluster.node_clock().await {
        Ok(node) => node,
        Err(error) => {
            checks.warn(
                what,
                format!("the node does not tell its time: {}", chain(&error)),
                "",
            );
            return;
        }
    };
    let after = SystemTime::now();
    let apart = if node < before {
        before.duration_since(node)
    } else {
        node.duration_since(after)
    };
    // Between the two moments it is the same.
    match apart.unwrap_or_default() {
        apart if apart > APART => checks.warn(
            what,
            format!("{} s apart from the node's", apart.as_secs()),
            "set both by NTP: certificates are good from a moment to a moment",
        ),
        _ => checks.ok(what, "as the node's"),
    }
}

/// Whether the agent may see what it needs to see. The indices that there are, if so.
pub(super) async fn may_look(cluster: &Cluster, checks: &mut Checks) -> Vec<IndexName> {
    let what = "privileges";
    let tried = async {
        cluster.state_version().await?;
        let names = cluster.index_names("*").await?;
        let open = names.into_iter().filter(|(_, _, open)| *open);
        let open: Vec<IndexName> = open.map(|(name, _, _)| name).collect();
        if let Some(first) = open.iter().find(|name| !name.as_str().starts_with('.')) {
            cluster.seq_stats(std::slice::from_ref(first)).await?;
            cluster.describe(first).await?;
        }
        Ok::<_, ClusterError>(open)
    };
    match tried.await {
        Ok(open) => {
            checks.ok(
                what,
                format!("state, statistics and {} open indices can be seen", open.len()),
            );
            open
        }
        Err(error) => {
            checks.fail(
                what,
                chain(&error),
                "give the agent's user `monitor` on the cluster and `monitor` and `view_index_metadata` on the indices",
            );
            Vec::new()
        }
    }
}
