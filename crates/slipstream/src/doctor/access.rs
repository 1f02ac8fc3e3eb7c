//! Who may do what: at the gateway, and the agent itself at its cluster.

use slipstream_cluster::{Cluster, ClusterError, Engine, ErrorKind, Privileges};

use super::{Checks, tls};
use crate::config::{Auth, Gateway};
use crate::failure::chain;

/// The gateway's certificate, users and audit file.
pub(super) fn gateway(gateway: &Gateway, checks: &mut Checks) {
    if let Some(https) = &gateway.tls {
        tls::certificate("[gateway] certificate", https.0.expires_at(), checks);
    }
    let what = "[gateway] auth";
    let rules = gateway.rules.allow.len();
    match gateway.auth {
        Auth::None => {}
        Auth::Users | Auth::Certificates if rules == 0 => checks.fail(
            what,
            "there is no [[allow]] rule: nobody may do anything",
            "say in [[allow]] who may view, operate or administer",
        ),
        Auth::Users => {
            let users = gateway.rules.users.count();
            checks.ok(what, format!("{users} users, {rules} rules"));
        }
        Auth::Certificates => checks.ok(what, format!("certificates only, {rules} rules")),
        Auth::Target => checks.ok(what, format!("the target says who callers are, {rules} rules")),
    }
    if let Some(path) = &gateway.audit_file {
        let what = "[gateway] audit_file";
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let tried = if path.exists() {
            std::fs::OpenOptions::new().append(true).open(path).map(drop)
        } else {
            tempfile::tempfile_in(folder.unwrap_or(".".as_ref())).map(drop)
        };
        match tried {
            Ok(()) => checks.ok(what, format!("{} can be written", path.display())),
            Err(error) => checks.fail(
                what,
                format!("{} cannot be written: {error}", path.display()),
                "let the agent's user write there, or give another file",
            ),
        }
    }
}

/// Who a follower agent is to its target, and what it lacks there.
pub(super) async fn target(cluster: &Cluster, auth: Auth, checks: &mut Checks) {
    let privileges = Privileges {
        cluster: &["monitor"],
        index: "*",
        on_index: &["manage", "read", "write"],
    };
    match who(cluster, privileges, checks).await {
        Err(error) if auth == Auth::Target => checks.fail(
            "[gateway] auth",
            format!("the target cannot say who callers are: {}", chain(&error)),
            "set auth = \"users\", or switch the target's security on",
        ),
        _ => {}
    }
}

/// The same of a leader agent and its cluster.
pub(super) async fn leader(cluster: &Cluster, checks: &mut Checks) {
    let privileges = Privileges {
        cluster: &["monitor"],
        index: "*",
        on_index: &["monitor", "read", "view_index_metadata", "maintenance"],
    };
    // A cluster without security lets everybody do everything.
    _ = who(cluster, privileges, checks).await;
}

async fn who(cluster: &Cluster, needed: Privileges<'_>, checks: &mut Checks) -> Result<(), ClusterError> {
    let what = "user";
    let engine = cluster.identity().await?.engine;
    let caller = match cluster.authenticate(engine, None).await {
        Ok(caller) => caller,
        Err(error) if error.kind == ErrorKind::Unsupported => return Err(error),
        Err(error) => {
            checks.warn(
                what,
                format!("the cluster does not say who we are: {}", chain(&error)),
                "",
            );
            return Err(error);
        }
    };
    let known = format!("{} with the roles {}", caller.name, caller.roles.join(", "));
    // OpenSearch has no question for privileges.
    let lacks = match engine {
        Engine::Elasticsearch => cluster.lacks(None, needed).await?,
        Engine::OpenSearch => Vec::new(),
    };
    if lacks.is_empty() {
        checks.ok(what, known);
    } else {
        checks.warn(
            what,
            format!("{known}; not on all indices: {}", lacks.join(", ")),
            "fine if the user has these on the indices that are replicated; else grant them",
        );
    }
    Ok(())
}
