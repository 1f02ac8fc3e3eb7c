//! The one layer in front of every route: who, may he, and what came of it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::audit::Change;
use super::needs::{self, Need};
use super::role::Role;
use super::{Access, Authority, Peer, Principal, Unknown};
use crate::Gateway;
use crate::body;
use crate::error::{ApiError, Refused};
use crate::page::wants_html;

/// Bytes of a body that the audit log looks into; the calls themselves take no more.
const BODY_LIMIT: usize = 1 << 20;
/// Calls of the target that read although they are `POST`.
const SEARCHES: [&str; 5] = ["_search", "_msearch", "_count", "_mget", "_field_caps"];

/// Lets a request through to its route, if its caller may.
pub(crate) async fn admit(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let access = gateway.access.clone();
    let (mut parts, body) = request.into_parts();
    // Clients of the engines ask `/` who they talk to, and are answered by the target.
    let of_target = |need: &Need| {
        parts.uri.path() == "/" && gateway.proxy.is_some() && !need.changes && !wants_html(&parts.headers)
    };
    let Some(need) = needs::of(&parts).filter(|need| !of_target(need)) else {
        return match passes(&access, &parts).await {
            Ok(()) => {
                access.keep_to_itself(&mut parts);
                next.run(Request::from_parts(parts, body)).await
            }
            Err(refusal) => *refusal,
        };
    };
    let Some(role) = need.role else {
        let response = next.run(Request::from_parts(parts, body)).await;
        let everybody = matches!(access.0.authority, Authority::Nobody);
        // Why the agent is not ready names the target: a probe needs to know only that it is not.
        if everybody || response.status().is_success() {
            return response;
        }
        return (response.status(), "not ready\n").into_response();
    };
    let who = match access.who(&parts.headers, peer(&parts)).await {
        Ok(who) => who,
        Err(unknown) => return refusal(&access, &unknown, &parts),
    };
    let may = access
        .may(&who, &parts.headers, role, need.index.as_deref())
        .await;
    let denied = match may {
        Ok(true) => None,
        Ok(false) => Some(forbidden(need.action, &who)),
        Err(unknown) => return refusal(&access, &unknown, &parts),
    };
    access.keep_to_itself(&mut parts);
    let request = Request::from_parts(parts, body);
    match (need.changes, denied) {
        (false, None) => next.run(request).await,
        (false, Some(denied)) => denied,
        (true, denied) => recorded(&access, &who, &need, request, denied, next).await,
    }
}

/// Whether a request may go past the gateway to the target. Where the target checks callers it does so here too.
async fn passes(access: &Access, parts: &Parts) -> Result<(), Box<Response>> {
    if matches!(access.0.authority, Authority::Nobody | Authority::Target(_)) {
        return Ok(());
    }
    let refused = |unknown| Box::new(refusal(access, &unknown, parts));
    let who = access.who(&parts.headers, peer(parts)).await.map_err(refused)?;
    let searches = parts.method == Method::POST && searches(parts.uri.path());
    let reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let (role, action) = if reads || searches {
        (Role::View, "cluster:monitor/slipstream/proxy")
    } else {
        (Role::Administer, "cluster:admin/slipstream/proxy")
    };
    match access.may(&who, &parts.headers, role, None).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Box::new(forbidden(action, &who))),
        Err(unknown) => Err(refused(unknown)),
    }
}

/// Whether a `POST` there reads: `/_search` or `/INDEX/_search`, and nothing longer, in which the name could be a document's.
fn searches(path: &str) -> bool {
    let mut segments = path.trim_start_matches('/').rsplit('/');
    let last = segments.next().unwrap_or_default();
    SEARCHES.contains(&last) && segments.nth(1).is_none()
}

fn peer(parts: &Parts) -> Option<&Peer> {
    parts
        .extensions
        .get::<ConnectInfo<Peer>>()
        .map(|ConnectInfo(peer)| peer)
}

impl Access {
    /// Takes credentials off that are for the gateway and nobody behind it.
    fn keep_to_itself(&self, parts: &mut Parts) {
        if matches!(self.0.authority, Authority::Users) {
            parts.headers.remove(header::AUTHORIZATION);
        }
    }
}

/// Runs a change to its end, even if the caller hangs up in its middle, and records what came of it. What cannot be recorded is not begun.
async fn recorded(
    access: &Access,
    who: &Principal,
    need: &Need,
    request: Request,
    denied: Option<Response>,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let from = peer(&parts).map(|peer| peer.address);
    let mut change = Change::new(who, from, need, &parts.method, parts.uri.path());
    let audit = Arc::clone(&access.0.audit);
    if let Err(why) = audit.prepare().await {
        let reason = format!("nothing was done: the audit log cannot be written: {why}");
        return ApiError::unavailable(reason).into_response();
    }
    let running = access.0.changes.spawn(async move {
        let response = match denied {
            Some(denied) => denied,
            None => match body::bytes(body, BODY_LIMIT).await {
                Ok(bytes) => {
                    change.asked(&bytes);
                    next.run(Request::from_parts(parts, Body::from(bytes))).await
                }
                Err(error) => error.into_response(),
            },
        };
        let reason = response.extensions().get::<Refused>();
        let reason = reason.map(|Refused(reason)| reason.as_str());
        let ended = change.ended(response.status(), reason, begun.elapsed());
        audit.write(ended).await;
        response
    });
    match running.await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("the agent is ending").into_response(),
    }
}

fn forbidden(action: &str, who: &Principal) -> Response {
    let reason = format!("no permissions for [{action}] and {}", who.shown);
    ApiError::new(StatusCode::FORBIDDEN, "security_exception", reason).into_response()
}

fn refusal(access: &Access, unknown: &Unknown, parts: &Parts) -> Response {
    let path = parts.uri.path();
    let reason = match unknown {
        Unknown::Nothing => format!("missing authentication credentials for REST request [{path}]"),
        Unknown::Wrong(None) => format!("unable to authenticate for REST request [{path}]"),
        Unknown::Wrong(Some(name)) => {
            format!("unable to authenticate user [{name}] for REST request [{path}]")
        }
        Unknown::Unanswered(why) => return ApiError::unavailable(why).into_response(),
    };
    let mut response = ApiError::new(StatusCode::UNAUTHORIZED, "security_exception", reason).into_response();
    // Without users a password is no way in, and a browser should not ask for one.
    if !matches!(access.0.authority, Authority::Certificates) {
        let scheme = HeaderValue::from_static("Basic realm=\"slipstream\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::searches;

    #[test]
    fn only_what_is_nothing_but_a_search_is_one() {
        for path in ["/_search", "/a,b*/_search", "//a/_count", "/%2e%2e/_msearch"] {
            assert!(searches(path), "{path}");
        }
        for path in [
            "/a/_doc/_search",
            "/_search/../a/_doc",
            "/_search/",
            "/a/_search/..",
            "/a//_search",
            "/a/_doc",
            "/",
        ] {
            assert!(!searches(path), "{path}");
        }
    }
}
