//! What a leader agent needs.

use slipstream_cluster::Cluster;
use slipstream_leader::{Leader, LeaderConfig, TailConfig};
use tokio_util::sync::CancellationToken;

use super::{Checks, access, cluster, snapshots, tls};
use crate::config::LeaderFile;
use crate::failure::chain;

/// Tries it.
pub(super) async fn examine(file: LeaderFile, checks: &mut Checks) {
    tls::certificate("certificate", file.tls.identity.expires_at(), checks);
    tls::port(&file.listen, "[listen] address", checks).await;
    if let Some(address) = &file.observe.address {
        tls::port(address, "[observe] address", checks).await;
    }
    let client = match Cluster::new(&file.cluster) {
        Ok(client) => client,
        Err(error) => {
            checks.fail("cluster", chain(&error), "mend [cluster]");
            return;
        }
    };
    let answers = cluster::answers(&client, checks).await;
    let indices = if answers {
        access::leader(&client, checks).await;
        snapshots::leader(file.snapshot_path.as_deref(), &client, checks).await;
        cluster::may_look(&client, checks).await
    } else {
        Vec::new()
    };
    if file.allow.is_empty() {
        checks.fail(
            "[[allow]]",
            "there is no rule: no follower may read anything",
            "name the follower's identity and the indices that it may read",
        );
    }
    for rule in &file.allow {
        let fits =
            |name: &&slipstream_model::IndexName| rule.indices.iter().any(|i| i.matches(name.as_str()));
        let count = indices.iter().filter(fits).count();
        let found = format!("{} may read {count} of the open indices", rule.identity);
        checks.ok("[[allow]]", found);
    }
    if !answers {
        return;
    }
    let required = file.translog.required;
    let config = LeaderConfig {
        translog: TailConfig {
            enabled: file.translog.enabled,
            data_path: file.translog.data_path,
        },
        ..LeaderConfig::default()
    };
    let what = "fast path";
    match Leader::new(client, config, CancellationToken::new())
        .check_translog()
        .await
    {
        Ok(()) => checks.ok(
            what,
            "the node's translog files can be read: changes leave within milliseconds",
        ),
        Err(why) if required => checks.fail(
            what,
            format!("translog = \"on\", but {why}"),
            "let the agent read the node's data folder, or set translog = \"auto\"",
        ),
        Err(why) => checks.warn(
            what,
            format!("{why}: changes leave with the index's refresh"),
            "for milliseconds, run the agent on the node's host and let it read the node's data folder",
        ),
    }
}
