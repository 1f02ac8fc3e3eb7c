//! Whether large indices can begin with files: what an agent's cluster lets a repository be, and the folders for it.
//!
//! Nothing of this keeps an agent from its work, for there are documents; so nothing of it is more than a warning.

use std::path::Path;

use slipstream_cluster::Cluster;
use slipstream_follower::{FileServer, NoWay, check_folder};

use super::{Checks, tls};
use crate::config::{FollowerFile, Served};
use crate::failure::chain;

const ELSE: &str = "until then indices begin with documents, unless there is another way";

/// A follower agent's ways.
pub(super) async fn follower(file: &FollowerFile, cluster: &Cluster, checks: &mut Checks) {
    if let Some(folder) = &file.limits.snapshot_path {
        let found = format!("files can go through {}", folder.display());
        outcome(
            "[cluster] snapshot_path",
            check_folder(cluster, folder).await,
            found,
            checks,
        );
    }
    if let Some(served) = &file.snapshots {
        let url = served.url(&served.address);
        let server = FileServer::new(served.spool.clone(), &url, served.is_open());
        let found = format!("the target's nodes may fetch files from {url}");
        outcome("[snapshots] url", server.check(cluster).await, found, checks);
    }
}

/// What the server of files needs of this host.
pub(super) async fn port(served: Option<&Served>, checks: &mut Checks) {
    let Some(served) = served else { return };
    tls::port(&served.address, "[snapshots] address", checks).await;
    if let Some(https) = &served.tls {
        tls::certificate("[snapshots] certificate", https.0.expires_at(), checks);
    }
}

/// A leader agent's folder. What the cluster writes there has to be read; whether it can shows with the first snapshot.
pub(super) async fn leader(folder: Option<&Path>, cluster: &Cluster, checks: &mut Checks) {
    let Some(folder) = folder else { return };
    let what = "[cluster] snapshot_path";
    let nodes = match cluster.repository_nodes().await {
        Ok(nodes) => nodes,
        Err(error) => return checks.warn(what, chain(&error), ELSE),
    };
    if let Some(node) = nodes.iter().find(|node| !node.takes_folder(folder)) {
        let found = format!("node [{}] may not write {}", node.name, folder.display());
        return checks.warn(
            what,
            found,
            "put it into path.repo in the configuration of every node and restart them",
        );
    }
    match std::fs::read_dir(folder) {
        Ok(_) => checks.ok(what, format!("{} can be read", folder.display())),
        Err(error) => checks.warn(
            what,
            format!("{} cannot be read: {error}", folder.display()),
            "let the agent's user read what the nodes write there",
        ),
    }
}

fn outcome(what: &str, tried: Result<(), NoWay>, found: String, checks: &mut Checks) {
    match tried {
        Ok(()) => checks.ok(what, found),
        Err(error) => checks.warn(what, chain(&error), ELSE),
    }
}
