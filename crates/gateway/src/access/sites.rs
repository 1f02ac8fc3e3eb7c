//! What a browser sends on behalf of a page that is not ours.
//!
//! A browser sends requests, with the credentials and from the network of the person before it, to wherever any page tells it to. It says so:
//! `Sec-Fetch-Site` where the connection is secure, `Origin` otherwise. A request that would change something is refused if it says that another
//! site made it. And while the gateway asks nobody who he is, it serves only under names of its own host, so that a page cannot reach it
//! through a name that it had lead here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Gateway;
use crate::error::ApiError;

/// Lets through what our own pages and programs send.
pub(crate) async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let host = host(&request);
    if gateway.access.0.this_host_only
        && let Some(host) = &host
        && !is_this_host(host)
    {
        let reason = format!(
            "[{host}] is not a name of this host, and the gateway has no users: call it as localhost, or set `auth` or `trust_network` \
             in [gateway]"
        );
        return forbidden(reason);
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && let Some(site) = other_site(request.headers(), host.as_deref()) {
        return forbidden(format!(
            "a browser sends this for a page of another site ({site}), and it would change something"
        ));
    }
    next.run(request).await
}

fn forbidden(reason: String) -> Response {
    tracing::warn!(reason, "refused a browser's request");
    ApiError::new(StatusCode::FORBIDDEN, "security_exception", reason).into_response()
}

/// The host, and the port if it is given, that the caller used.
fn host(request: &Request) -> Option<String> {
    let header = request.headers().get(header::HOST);
    let named = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned());
    // Bytes that are no text are no name of ours.
    named.or_else(|| Some(header?.to_str().unwrap_or("?").to_owned()))
}

/// The site that a browser says the request is made for, unless it is ours or the person's own.
fn other_site(headers: &HeaderMap, host: Option<&str>) -> Option<String> {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?").to_owned())
    };
    if let Some(site) = text("sec-fetch-site") {
        return (!matches!(site.as_str(), "same-origin" | "none")).then(|| text("origin").unwrap_or(site));
    }
    let origin = text("origin")?;
    let ours = origin.parse::<Uri>().ok().is_some_and(|uri| {
        let port = match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        let same = |authority: &str| {
            authority
                .trim_end_matches(&format!(":{port}"))
                .to_ascii_lowercase()
        };
        uri.authority().map(|authority| same(authority.as_str())) == host.map(same)
    });
    (!ours).then_some(origin)
}

/// Whether a name leads to this host wherever it is looked up.
fn is_this_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(headers: &[(&'static str, &'static str)], host: &str) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        other_site(&map, Some(host))
    }

    #[test]
    fn programs_and_our_own_pages_are_told_from_others() {
        for (headers, host, other) in [
            (&[][..], "h:9710", false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://behind.example"),
                ],
                "h:9710",
                false,
            ),
            (&[("sec-fetch-site", "none")], "h:9710", false),
            (&[("sec-fetch-site", "same-site")], "h:9710", true),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "http://h:9710")],
                "h:9710",
                true,
            ),
            (&[("origin", "http://h:9710")], "H:9710", false),
            (&[("origin", "https://h")], "h:443", false),
            (&[("origin", "https://h:443")], "h", false),
            (&[("origin", "http://h")], "h:9710", true),
            (&[("origin", "http://evil.example")], "h:9710", true),
            (&[("origin", "null")], "h:9710", true),
        ] {
            assert_eq!(site(headers, host).is_some(), other, "{headers:?} to {host}");
        }
    }

    #[test]
    fn names_of_this_host_are_known() {
        for host in [
            "127.0.0.1:9710",
            "127.9.9.9",
            "localhost:9710",
            "LOCALHOST",
            "a.localhost:1",
            "[::1]:9710",
            "[::1]",
        ] {
            assert!(is_this_host(host), "{host}");
        }
        for host in [
            "evil.example:9710",
            "10.0.0.1",
            "localhost.evil.example",
            "[fe80::1]:1",
            "?",
            "127.0.0.1.evil.example:80",
        ] {
            assert!(!is_this_host(host), "{host}");
        }
    }
}
