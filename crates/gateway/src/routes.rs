//! The gateway's own calls, each written down once: the router and the test of the OpenAPI document read this list.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};

use crate::error::{ApiError, method_not_allowed};
use crate::params::Params;
use crate::pretty::pretty;
use crate::{Gateway, autofollow, calls, observe, page, passing, remotes, stats, status};

/// Bytes of an answer that is laid out anew.
const PRETTY_LIMIT: usize = 64 << 20;

/// One path: its methods, and what serves them.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) methods: &'static [&'static str],
    serve: MethodRouter<Arc<Gateway>>,
}

fn route(path: &'static str, methods: &'static [&'static str], serve: MethodRouter<Arc<Gateway>>) -> Route {
    Route { path, methods, serve }
}

/// Every path that the gateway serves itself.
pub(crate) fn all() -> Vec<Route> {
    vec![
        route("/", &["get"], get(page::root)),
        route("/healthz", &["get"], get(observe::healthz)),
        route("/readyz", &["get"], get(observe::readyz)),
        route("/metrics", &["get"], get(observe::metrics)),
        route("/_slipstream/v1/indices", &["get"], get(observe::indices)),
        route("/_slipstream/v1/indices/{index}", &["get"], get(observe::index)),
        route(
            "/_slipstream/v1/indices/{index}/verify",
            &["get", "post"],
            get(observe::verified).post(observe::verify),
        ),
        route("/_slipstream/v1/autofollow", &["get"], get(autofollow::list)),
        route("/_slipstream/v1/openapi.json", &["get"], get(observe::openapi)),
        route(
            "/_cluster/settings",
            &["get", "put"],
            get(remotes::get).put(remotes::put),
        ),
        route("/_remote/info", &["get"], get(remotes::info)),
        route(
            "/_plugins/_replication/{index}/_start",
            &["put"],
            put(calls::start),
        ),
        route(
            "/_plugins/_replication/{index}/_stop",
            &["post"],
            post(calls::stop),
        ),
        route(
            "/_plugins/_replication/{index}/_pause",
            &["post"],
            post(calls::pause),
        ),
        route(
            "/_plugins/_replication/{index}/_resume",
            &["post"],
            post(calls::resume),
        ),
        route(
            "/_plugins/_replication/{index}/_status",
            &["get"],
            get(status::status),
        ),
        route(
            "/_opendistro/_replication/{index}/_start",
            &["put"],
            put(calls::start),
        ),
        route(
            "/_opendistro/_replication/{index}/_stop",
            &["post"],
            post(calls::stop),
        ),
        route(
            "/_opendistro/_replication/{index}/_pause",
            &["post"],
            post(calls::pause),
        ),
        route(
            "/_opendistro/_replication/{index}/_resume",
            &["post"],
            post(calls::resume),
        ),
        route(
            "/_opendistro/_replication/{index}/_status",
            &["get"],
            get(status::status),
        ),
        route(
            "/_plugins/_replication/{index}/_update",
            &["put"],
            put(calls::update),
        ),
        route(
            "/_plugins/_replication/_autofollow",
            &["post", "delete"],
            post(autofollow::add).delete(autofollow::remove),
        ),
        route(
            "/_plugins/_replication/leader_stats",
            &["get"],
            get(stats::leader),
        ),
        route(
            "/_plugins/_replication/follower_stats",
            &["get"],
            get(stats::follower),
        ),
        route(
            "/_plugins/_replication/autofollow_stats",
            &["get"],
            get(stats::autofollow),
        ),
        route(
            "/_opendistro/_replication/{index}/_update",
            &["put"],
            put(calls::update),
        ),
        route(
            "/_opendistro/_replication/_autofollow",
            &["post", "delete"],
            post(autofollow::add).delete(autofollow::remove),
        ),
        route(
            "/_opendistro/_replication/leader_stats",
            &["get"],
            get(stats::leader),
        ),
        route(
            "/_opendistro/_replication/follower_stats",
            &["get"],
            get(stats::follower),
        ),
        route(
            "/_opendistro/_replication/autofollow_stats",
            &["get"],
            get(stats::autofollow),
        ),
    ]
}

/// The whole surface.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for Route { path, methods, serve } in all() {
        let allowed = methods.join(", ").to_uppercase();
        let refuse = move |method: Method, uri: Uri| async move {
            let text = format!(
                "Incorrect HTTP method for uri [{}] and method [{method}], allowed: [{allowed}]",
                uri.path()
            );
            method_not_allowed(&text, &allowed)
        };
        // `DELETE /` would be the deletion of every index: the guard has to see it.
        router = router.route(
            path,
            if path == "/" {
                serve.fallback(passing::any)
            } else {
                serve.fallback(refuse)
            },
        );
    }
    router
        .route_layer(middleware::from_fn(lay_out))
        .fallback(passing::any)
        .with_state(gateway)
}

/// `?pretty`, on all of the gateway's own answers.
async fn lay_out(request: Request, next: Next) -> Result<Response, ApiError> {
    let wanted = Params::unchecked(request.uri()).and_then(|params| params.flag("pretty"))?;
    let response = next.run(request).await;
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/json");
    if !wanted || !json {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let unreadable = |_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "the answer is too long for ?pretty",
        )
    };
    let bytes = axum::body::to_bytes(body, PRETTY_LIMIT)
        .await
        .map_err(unreadable)?;
    Ok(Response::from_parts(parts, Body::from(pretty(&bytes))))
}
