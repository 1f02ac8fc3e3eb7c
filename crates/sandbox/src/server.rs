//! The listener: takes requests in, lets handlers answer them, and ends in an orderly way.
//!
//! A request that was begun is finished even if its client gives up, as in the engines; the sandbox waits for those at
//! its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::{Call, Reply, Wait};
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::faults::Endpoint;
use crate::render;
use crate::routes::dispatch;
use crate::tasks::{Running, action_of};
use crate::time::Span;

/// The engines' `http.max_content_length`.
const MAX_BODY: usize = 100 << 20;

/// How often due refreshes are looked for; the engines' shortest refresh interval is no shorter in practice.
const TICK: Duration = Duration::from_millis(20);

/// How long the end waits for requests that still run.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener and the tasks behind it.
#[derive(Debug)]
pub(crate) struct Server {
    cluster: Arc<Cluster>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Clone)]
struct Shared {
    cluster: Arc<Cluster>,
    tasks: TaskTracker,
}

impl Server {
    pub(crate) fn start(cluster: Arc<Cluster>, listener: TcpListener) -> Server {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Shared {
            cluster: Arc::clone(&cluster),
            tasks: tasks.clone(),
        };
        let router = Router::new().fallback(handle).with_state(shared);
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
            {
                tracing::error!(%error, "the sandbox's listener ended");
            }
        });
        tasks.spawn(refresh_in_rhythm(Arc::clone(&cluster), stop.clone()));
        Server { cluster, stop, tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.cluster.address
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Stops listening and waits for what still runs, but not for ever.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!(waited = ?PATIENCE, "requests to the sandbox still ran at its end");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
    }
}

async fn refresh_in_rhythm(cluster: Arc<Cluster>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
        let cluster = Arc::clone(&cluster);
        let done = spawn_blocking(move || {
            let now = cluster.clock.now();
            cluster
                .indices()
                .iter()
                .for_each(|index| index.refresh_if_due(now));
            cluster.pits.expire();
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "a scheduled refresh failed");
        }
    }
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return respond(None, Reply::plain(String::new()).with_status(413), false);
    };
    if let Some(refusal) = wrong_content_type(&head.headers, &body) {
        return respond(None, Reply::from(&refusal), false);
    }
    let call = Call::new(head.method, head.uri.path(), head.uri.query(), body);
    let (head_only, pretty) = (call.is_head(), call.params.on("pretty"));
    let filter = call.params.get("filter_path").map(str::to_owned);
    let opaque_id = head
        .headers
        .get("x-opaque-id")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let action = action_of(&call.segments);
    let running = action.map(|a| shared.cluster.tasks.register(a, opaque_id.clone()));
    // On a task of its own: it goes on when the client hangs up.
    let done = shared
        .tasks
        .spawn(answer(Arc::clone(&shared.cluster), call, action, running))
        .await;
    let Some(mut reply) =
        done.unwrap_or_else(|_| Some(Reply::from(&ApiError::bare(500, "the handler panicked"))))
    else {
        return lost();
    };
    // Errors are shown whole, whatever was asked for.
    if let Some(filtered) = filter
        .filter(|_| !reply.plain && reply.status.is_success())
        .and_then(|f| render::filter(&reply.body, &f))
    {
        reply.body = filtered;
    }
    if pretty && !reply.plain {
        reply.body = render::pretty(&reply.body);
    }
    respond(opaque_id, reply, head_only)
}

/// The engines refuse bodies that do not say that they are JSON.
fn wrong_content_type(headers: &HeaderMap, body: &Bytes) -> Option<ApiError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    let fine = body.is_empty() || matches!(essence, "application/json" | "application/x-ndjson");
    (!fine).then(|| ApiError::bare(406, format!("Content-Type header [{kind}] is not supported")))
}

/// Answers a request; `None` stands for an answer that a fault lost.
async fn answer(
    cluster: Arc<Cluster>,
    call: Call,
    action: Option<&'static str>,
    running: Option<Running>,
) -> Option<Reply> {
    let _running = running;
    let faults = cluster.faults.clone();
    let endpoint = match action {
        Some("indices:data/write/bulk") => Endpoint::Bulk,
        Some("indices:data/read/search") => Endpoint::Search,
        _ => Endpoint::All,
    };
    if faults.is_unavailable() {
        return Some(Reply::from(&ApiError::new(
            503,
            "cluster_block_exception",
            "blocked by: [SERVICE_UNAVAILABLE/2/no master];",
        )));
    }
    if endpoint == Endpoint::Bulk && faults.reject_bulk() {
        let reason = "rejected execution of coordinating operation [coordinating_and_primary_bytes=0]";
        return Some(Reply::from(&ApiError::new(
            429,
            "es_rejected_execution_exception",
            reason,
        )));
    }
    let (before, after) = faults.waits(endpoint);
    pause(before).await;
    if let Some(timed_out) = wait_for_version(&cluster, &call).await {
        return Some(timed_out);
    }
    let work = Arc::clone(&cluster);
    let reply = spawn_blocking(move || dispatch(&work, &call).unwrap_or_else(|e| Reply::from(&e))).await;
    let mut reply = reply.unwrap_or_else(|_| Reply::from(&ApiError::bare(500, "the handler panicked")));
    for wait in reply.waits.drain(..) {
        let Wait::Refresh(mut refreshed) = wait;
        // An error means that the index is gone, and with it what was waited for.
        let _ = refreshed.changed().await;
    }
    pause(after).await;
    if endpoint == Endpoint::Bulk && faults.lose_answer() {
        None
    } else {
        Some(reply)
    }
}

async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

/// `wait_for_metadata_version`: waits until the cluster state got there. Where it does not, the engines answer 500, by
/// a mistake that clients know.
async fn wait_for_version(cluster: &Cluster, call: &Call) -> Option<Reply> {
    let wanted: u64 = call.params.number("wait_for_metadata_version").ok().flatten()?;
    let limit = call
        .params
        .get("wait_for_timeout")
        .and_then(Span::parse)
        .and_then(Span::length);
    let mut moved = cluster.next_version();
    let reached = moved.wait_for(|version| *version >= wanted);
    match tokio::time::timeout(limit.unwrap_or(Duration::from_mins(1)), reached).await {
        Ok(_) => None,
        Err(_) => Some(Reply::from(&ApiError::new(
            500,
            "null_pointer_exception",
            "timed out waiting for the metadata",
        ))),
    }
}

fn respond(opaque_id: Option<String>, reply: Reply, head_only: bool) -> Response {
    let kind = if reply.plain {
        "text/plain; charset=UTF-8"
    } else {
        "application/json; charset=UTF-8"
    };
    let length = reply.body.len();
    let mut response = Response::new(if head_only {
        Body::empty()
    } else {
        Body::from(reply.body)
    });
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(id) = opaque_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert("x-opaque-id", id);
    }
    response
}

/// A response that announces a body and breaks off: the client sees its connection closed.
fn lost() -> Response {
    let broken = std::io::Error::other("the answer was lost by a fault");
    let mut response = Response::new(Body::from_stream(tokio_stream::once(Err::<Bytes, _>(broken))));
    *response.status_mut() = StatusCode::OK;
    response
}
