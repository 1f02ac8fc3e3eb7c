//! `[observe]` of a leader agent: alive, ready, metrics.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use slipstream_cluster::Cluster;
use slipstream_gateway::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::failure::chain;

/// How long the cluster may take to make the agent ready.
const READY_WAIT: Duration = Duration::from_secs(5);
/// How long requests under way may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `shutdown`. An agent is ready once its cluster has answered, until it is told to end.
pub(crate) async fn serve(
    listener: TcpListener,
    cluster: Cluster,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let ending = shutdown.clone();
    let readyz = move || {
        let (cluster, ending) = (cluster.clone(), ending.clone());
        async move { ready(&cluster, &ending).await }
    };
    let content = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let router = Router::new()
        .route("/metrics", get(move || async move { (content, metrics()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz));
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = drained => Ok(()),
    }
}

async fn ready(cluster: &Cluster, ending: &CancellationToken) -> (StatusCode, String) {
    let not = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if ending.is_cancelled() {
        return not("ending".to_owned());
    }
    match tokio::time::timeout(READY_WAIT, cluster.identity()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Err(error)) => not(chain(&error)),
        Err(_) => not(format!("{} does not answer", cluster.url())),
    }
}
