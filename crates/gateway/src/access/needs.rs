//! What each of the gateway's own calls needs: the name of the action, in the incumbent's words where it has some, and the
//! role. A test holds that every route stands here; one that did not would need the highest role.

use axum::extract::MatchedPath;
use axum::http::Method;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::role::Role;

/// What one request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// What is done, as refusals and the audit log call it.
    pub(crate) action: &'static str,
    /// `None`: anybody may.
    pub(crate) role: Option<Role>,
    /// The following index that it is about.
    pub(crate) index: Option<String>,
    /// Whether it may change something.
    pub(crate) changes: bool,
}

/// A call that is not in the table.
const UNKNOWN: &str = "cluster:admin/slipstream/unknown";

/// Method, path, action, role; `_replication/` stands for both prefixes.
pub(crate) const NEEDS: &[(&str, &str, &str, Option<Role>)] = &[
    ("get", "/healthz", "cluster:monitor/slipstream/health", None),
    ("get", "/readyz", "cluster:monitor/slipstream/health", None),
    ("get", "/", "cluster:monitor/slipstream/page", VIEW),
    (
        "get",
        "/_slipstream/page/{file}",
        "cluster:monitor/slipstream/page",
        VIEW,
    ),
    (
        "get",
        "/_slipstream/v1/indices/{index}/lag",
        "indices:monitor/slipstream/lag",
        VIEW,
    ),
    (
        "get",
        "/_slipstream/v1/overview",
        "cluster:monitor/slipstream/overview",
        VIEW,
    ),
    ("get", "/metrics", "cluster:monitor/slipstream/metrics", VIEW),
    (
        "get",
        "/_slipstream/v1/openapi.json",
        "cluster:monitor/slipstream/openapi",
        VIEW,
    ),
    (
        "get",
        "/_slipstream/v1/indices",
        "cluster:monitor/slipstream/indices",
        VIEW,
    ),
    (
        "get",
        "/_slipstream/v1/indices/{index}",
        "indices:monitor/slipstream/index",
        VIEW,
    ),
    (
        "get",
        "/_slipstream/v1/indices/{index}/verify",
        "indices:monitor/slipstream/verify",
        VIEW,
    ),
    (
        "post",
        "/_slipstream/v1/indices/{index}/verify",
        "indices:admin/slipstream/verify",
        OPERATE,
    ),
    (
        "get",
        "/_slipstream/v1/autofollow",
        "cluster:monitor/slipstream/autofollow",
        VIEW,
    ),
    ("get", "/_cluster/settings", "cluster:monitor/settings", VIEW),
    (
        "put",
        "/_cluster/settings",
        "cluster:admin/settings/update",
        ADMINISTER,
    ),
    ("get", "/_remote/info", "cluster:monitor/remote/info", VIEW),
    (
        "put",
        "_replication/{index}/_start",
        "indices:admin/plugins/replication/index/start",
        OPERATE,
    ),
    (
        "post",
        "_replication/{index}/_stop",
        "indices:admin/plugins/replication/index/stop",
        OPERATE,
    ),
    (
        "post",
        "_replication/{index}/_pause",
        "indices:admin/plugins/replication/index/pause",
        OPERATE,
    ),
    (
        "post",
        "_replication/{index}/_resume",
        "indices:admin/plugins/replication/index/resume",
        OPERATE,
    ),
    (
        "put",
        "_replication/{index}/_update",
        "indices:admin/plugins/replication/index/update",
        OPERATE,
    ),
    (
        "get",
        "_replication/{index}/_status",
        "indices:admin/plugins/replication/index/status_check",
        VIEW,
    ),
    (
        "post",
        "_replication/_autofollow",
        "cluster:admin/plugins/replication/autofollow/update",
        OPERATE,
    ),
    (
        "delete",
        "_replication/_autofollow",
        "cluster:admin/plugins/replication/autofollow/update",
        OPERATE,
    ),
    (
        "post",
        "_replication/_bulk_start",
        "indices:admin/plugins/replication/index/bulk_start",
        OPERATE,
    ),
    (
        "post",
        "_replication/_bulk_stop",
        "indices:admin/plugins/replication/index/bulk_stop",
        OPERATE,
    ),
    (
        "post",
        "_replication/_bulk_pause",
        "indices:admin/plugins/replication/index/bulk_pause",
        OPERATE,
    ),
    (
        "post",
        "_replication/_bulk_resume",
        "indices:admin/plugins/replication/index/bulk_resume",
        OPERATE,
    ),
    (
        "get",
        "_replication/_bulk_status",
        "indices:admin/plugins/replication/index/bulk_status",
        VIEW,
    ),
    (
        "get",
        "_replication/_task_status/{task}",
        "cluster:monitor/plugins/replication/task",
        VIEW,
    ),
    (
        "post",
        "_replication/_task_cancel/{task}",
        "cluster:admin/plugins/replication/task/cancel",
        OPERATE,
    ),
    (
        "get",
        "_replication/leader_stats",
        "indices:admin/plugins/replication/index/stats",
        VIEW,
    ),
    (
        "get",
        "_replication/follower_stats",
        "indices:admin/plugins/replication/follower/stats",
        VIEW,
    ),
    (
        "get",
        "_replication/autofollow_stats",
        "indices:admin/plugins/replication/autofollow/stats",
        VIEW,
    ),
];

const VIEW: Option<Role> = Some(Role::View);
const OPERATE: Option<Role> = Some(Role::Operate);
const ADMINISTER: Option<Role> = Some(Role::Administer);

/// What a request needs; `None` if it is not for the gateway itself, but for the target.
pub(crate) fn of(request: &Parts) -> Option<Need> {
    let matched = request.extensions.get::<MatchedPath>()?.as_str();
    let reads = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    // Every other method means all indices of the target.
    if matched == "/" && !reads {
        return None;
    }
    let (action, role) = look_up(&request.method, matched);
    Some(Need {
        action,
        role,
        index: index(matched, request.uri.path()),
        changes: !reads,
    })
}

/// The path as the table has it.
pub(crate) fn shortened(path: &str) -> &str {
    ["/_plugins/", "/_opendistro/"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .unwrap_or(path)
}

fn look_up(method: &Method, matched: &str) -> (&'static str, Option<Role>) {
    let path = shortened(matched);
    let method = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let mut of_path = NEEDS.iter().filter(|(_, known, ..)| *known == path).peekable();
    // A method that the path does not take is answered with 405, which is nothing worth hiding from who may look.
    let otherwise = if of_path.peek().is_some() {
        VIEW
    } else {
        ADMINISTER
    };
    of_path
        .find(|(known, ..)| method.eq_ignore_ascii_case(known))
        .map_or((UNKNOWN, otherwise), |(_, _, action, role)| (*action, *role))
}

/// The segment of the path that `{index}` stands for.
fn index(matched: &str, path: &str) -> Option<String> {
    let mut segments = matched.split('/').zip(path.split('/'));
    let (_, segment) = segments.find(|(name, _)| *name == "{index}")?;
    Some(percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes;

    #[test]
    fn every_route_has_an_entry_and_every_entry_a_route() {
        let routes = routes::all();
        let served: BTreeSet<(&str, &str)> = routes
            .iter()
            .flat_map(|route| {
                route
                    .methods
                    .iter()
                    .map(|method| (*method, shortened(&route.path)))
            })
            .collect();
        let known: BTreeSet<(&str, &str)> = NEEDS.iter().map(|(method, path, ..)| (*method, *path)).collect();
        assert_eq!(known, served);
        assert_eq!(known.len(), NEEDS.len(), "an entry is there twice");
    }

    #[test]
    fn only_looking_is_ever_open() {
        for (method, path, action, role) in NEEDS {
            assert!(
                role.is_some() || matches!(*path, "/healthz" | "/readyz"),
                "{path}"
            );
            assert!(*role > VIEW || *method == "get", "{method} {path} {action}");
        }
    }

    #[test]
    fn the_index_is_read_from_the_path() {
        let path = "/_plugins/_replication/%66-1/_start";
        assert_eq!(
            index("/_plugins/_replication/{index}/_start", path).as_deref(),
            Some("f-1")
        );
        assert_eq!(index("/_remote/info", "/_remote/info"), None);
    }

    #[test]
    fn what_is_not_known_is_for_administrators() {
        assert_eq!(look_up(&Method::GET, "/_slipstream/v1/new").1, ADMINISTER);
        assert_eq!(look_up(&Method::DELETE, "/_remote/info").1, VIEW);
        assert_eq!(look_up(&Method::HEAD, "/healthz").1, None);
    }
}
