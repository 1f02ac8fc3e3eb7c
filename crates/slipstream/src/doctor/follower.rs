//! What a follower agent needs.

use std::path::Path;

use slipstream_cluster::Cluster;
use slipstream_wire::connect;
use slipstream_wire::protocol::MAX_MESSAGE_BYTES;
use slipstream_wire::tls::ClientTls;
use slipstream_wire::v1;
use slipstream_wire::v1::catalog_client::CatalogClient;
use tokio::time::{Duration, timeout};

use super::{Checks, access, cluster, snapshots, tls};
use crate::config::{Auth, FollowerFile};
use crate::failure::chain;

/// How long a leader agent may take to list its indices.
const LIST: Duration = Duration::from_secs(15);

/// Tries it.
pub(super) async fn examine(file: FollowerFile, checks: &mut Checks) {
    tls::certificate("certificate", file.tls.identity.expires_at(), checks);
    tls::port(&file.gateway.address, "[gateway] address", checks).await;
    access::gateway(&file.gateway, checks);
    if file.gateway.trust_network && file.gateway.auth == Auth::None {
        checks.warn(
            "[gateway] trust_network",
            format!(
                "whoever reaches {} controls the replication",
                file.gateway.address
            ),
            "make sure that only operators, or what authenticates them, reach it",
        );
    }
    store(&file.store.0, checks);
    snapshots::port(file.snapshots.as_ref(), checks).await;
    match Cluster::new(&file.cluster) {
        Ok(client) => {
            if cluster::answers(&client, checks).await {
                cluster::may_look(&client, checks).await;
                access::target(&client, file.gateway.auth, checks).await;
                snapshots::follower(&file, &client, checks).await;
                if let Err(error) = client.running_bulks().await {
                    checks.fail(
                        "privileges",
                        format!("tasks cannot be seen: {}", chain(&error)),
                        "give the agent's user `monitor` on the cluster",
                    );
                }
            }
        }
        Err(error) => checks.fail("cluster", chain(&error), "mend [cluster]"),
    }
    if file.leaders.is_empty() {
        checks.ok("[[leader]]", "none in the file: they are registered over REST");
        return;
    }
    let tls = match ClientTls::new(&file.tls.identity) {
        Ok(tls) => tls,
        Err(error) => {
            checks.fail("[tls]", chain(&error), "mend the certificate files");
            return;
        }
    };
    for (alias, agents) in &file.leaders {
        for agent in agents {
            leader(alias, agent, tls.clone(), checks).await;
        }
    }
}

/// Whether the store could be opened or made, without doing so.
fn store(path: &Path, checks: &mut Checks) {
    let what = "[store] path";
    let folder = if path.exists() {
        Some(path)
    } else {
        path.ancestors()
            .skip(1)
            .find(|parent| parent.exists() || parent.as_os_str().is_empty())
    };
    let folder = folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // A file that vanishes at once: permissions alone do not tell (read-only mounts, quotas).
    match tempfile::tempfile_in(folder) {
        Ok(_) if path.exists() => checks.ok(what, format!("{} can be written", path.display())),
        Ok(_) => checks.ok(what, format!("{} can be made", path.display())),
        Err(error) => checks.fail(
            what,
            format!("{} cannot be written: {error}", folder.display()),
            "let the agent's user write there, or give another folder",
        ),
    }
}

async fn leader(alias: &str, address: &str, tls: ClientTls, checks: &mut Checks) {
    let what = format!("leader {alias}");
    let remedy =
        "check that the leader agent runs, its address, and that one CA has signed both certificates";
    let channel = match connect::channel(address, tls) {
        Ok(channel) => channel,
        Err(error) => return checks.fail(&what, chain(&error), remedy),
    };
    let hello = match connect::hello(channel.clone(), address, env!("CARGO_PKG_VERSION"), &[]).await {
        Ok(hello) => hello,
        Err(error) => return checks.fail(&what, chain(&error), remedy),
    };
    let reader = if hello.tails {
        "reads translog files"
    } else {
        "reads over REST"
    };
    checks.ok(
        &what,
        format!(
            "{address} is beside node [{}] of {} {} [{}], {reader}, and knows us as {}",
            hello.node_name, hello.engine, hello.engine_version, hello.cluster_name, hello.identity
        ),
    );
    let request = v1::ListRequest {
        pattern: "*".to_owned(),
        known_version: 0,
    };
    let mut catalog = CatalogClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    match timeout(LIST, catalog.list(request)).await {
        Ok(Ok(answer)) => match answer.into_inner().indices.len() {
            0 => checks.warn(
                &what,
                "no index there may be read",
                "name our identity and the indices in an [[allow]] rule of the leader agent",
            ),
            count => checks.ok(&what, format!("{count} indices there may be read")),
        },
        Ok(Err(status)) => checks.fail(
            &what,
            format!("its indices cannot be listed: {}", status.message()),
            "",
        ),
        Err(_) => checks.fail(
            &what,
            "its indices were not listed in time",
            "look into the leader agent's log",
        ),
    }
}
