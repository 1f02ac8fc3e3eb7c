//! The gateway's own calls, each written down once: the router and the test of the OpenAPI document read this list.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};
use percent_encoding::percent_decode_str;
use slipstream_follower::ManyOperation;

use crate::error::{ApiError, method_not_allowed};
use crate::filter::filter;
use crate::params::Params;
use crate::pretty::pretty;
use crate::traced::traced;
use crate::{
    Gateway, access, autofollow, calls, many, metrics, observe, overview, page, passing, remotes, stats,
    status,
};

/// Bytes of an answer that is laid out anew.
const PRETTY_LIMIT: usize = 64 << 20;

/// One path: its methods, and what serves them.
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) methods: &'static [&'static str],
    serve: MethodRouter<Arc<Gateway>>,
}

fn route(path: &str, methods: &'static [&'static str], serve: MethodRouter<Arc<Gateway>>) -> Route {
    Route {
        path: path.to_owned(),
        methods,
        serve,
    }
}

fn replication(
    prefix: &str,
    call: &str,
    methods: &'static [&'static str],
    serve: MethodRouter<Arc<Gateway>>,
) -> Route {
    route(&format!("/{prefix}/_replication/{call}"), methods, serve)
}

/// Every path that the gateway serves itself.
pub(crate) fn all() -> Vec<Route> {
    let mut routes = vec![
        route("/", &["get"], get(page::root)),
        route("/healthz", &["get"], get(observe::healthz)),
        route("/readyz", &["get"], get(observe::readyz)),
        route("/metrics", &["get"], get(observe::metrics)),
        route(page::FILES, &["get"], get(page::file)),
        route("/_slipstream/v1/overview", &["get"], get(overview::overview)),
        route(
            "/_slipstream/v1/indices/{index}/lag",
            &["get"],
            get(overview::lag),
        ),
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
    ];
    // The incumbent's calls, under its own prefix and Open Distro's.
    for prefix in ["_plugins", "_opendistro"] {
        routes.extend([
            replication(prefix, "{index}/_start", &["put"], put(calls::start)),
            replication(prefix, "{index}/_stop", &["post"], post(calls::stop)),
            replication(prefix, "{index}/_pause", &["post"], post(calls::pause)),
            replication(prefix, "{index}/_resume", &["post"], post(calls::resume)),
            replication(prefix, "{index}/_update", &["put"], put(calls::update)),
            replication(prefix, "{index}/_status", &["get"], get(status::status)),
            replication(
                prefix,
                "_autofollow",
                &["post", "delete"],
                post(autofollow::add).delete(autofollow::remove),
            ),
            replication(prefix, "_bulk_start", &["post"], post(many::start)),
            replication(
                prefix,
                "_bulk_stop",
                &["post"],
                post(|s, u, h, b| many::each(ManyOperation::Stop, s, u, h, b)),
            ),
            replication(
                prefix,
                "_bulk_pause",
                &["post"],
                post(|s, u, h, b| many::each(ManyOperation::Pause, s, u, h, b)),
            ),
            replication(
                prefix,
                "_bulk_resume",
                &["post"],
                post(|s, u, h, b| many::each(ManyOperation::Resume, s, u, h, b)),
            ),
            replication(prefix, "_bulk_status", &["get"], get(many::bulk_status)),
            replication(prefix, "_task_status/{task}", &["get"], get(many::task_status)),
            replication(prefix, "_task_cancel/{task}", &["post"], post(many::task_cancel)),
            replication(prefix, "leader_stats", &["get"], get(stats::leader)),
            replication(prefix, "follower_stats", &["get"], get(stats::follower)),
            replication(prefix, "autofollow_stats", &["get"], get(stats::autofollow)),
        ]);
    }
    routes
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
        let serve = if path == "/" {
            serve.fallback(passing::any)
        } else {
            serve.fallback(refuse)
        };
        router = router.route(&path, serve);
    }
    router
        .route_layer(middleware::from_fn(legible))
        .route_layer(middleware::from_fn(lay_out))
        .route_layer(middleware::from_fn(traced))
        .fallback(passing::any)
        // The last stands in front. No route gets past them.
        .layer(middleware::from_fn_with_state(
            Arc::clone(&gateway),
            access::admit,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&gateway),
            access::sites::guard,
        ))
        .layer(middleware::from_fn(metrics::count))
        .with_state(gateway)
}

/// A name in a path is text. What is not is refused here, in the engines' envelope, before a handler would refuse it in another.
async fn legible(request: Request, next: Next) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if percent_decode_str(path).decode_utf8().is_err() {
        return Err(ApiError::illegal(format!(
            "path [{path}] is not URL-encoded UTF-8"
        )));
    }
    Ok(next.run(request).await)
}

/// `?pretty` and `?filter_path`, on all of the gateway's own answers.
async fn lay_out(request: Request, next: Next) -> Result<Response, ApiError> {
    let params = Params::unchecked(request.uri())?;
    let wanted = params.flag("pretty")?;
    let paths = params.get("filter_path").filter(|paths| !paths.is_empty());
    let response = next.run(request).await;
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/json");
    // Errors are shown whole, as the engines show theirs.
    let paths = paths.filter(|_| response.status().is_success());
    if !json || (!wanted && paths.is_none()) {
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
    let mut bytes = axum::body::to_bytes(body, PRETTY_LIMIT)
        .await
        .map_err(unreadable)?;
    // Some answers are always laid out.
    let wanted = wanted || bytes.ends_with(b"\n");
    if let Some(paths) = paths
        && let Ok(answer) = serde_json::from_slice(&bytes)
    {
        bytes = filter(answer, paths).to_string().into();
    }
    let body = if wanted { pretty(&bytes).into() } else { bytes };
    Ok(Response::from_parts(parts, Body::from(body)))
}
