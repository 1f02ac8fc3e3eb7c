//! `[observe]` of a leader agent: alive, ready, metrics.

use std::io;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::http::header;
use axum::routing::get;
use slipstream_cluster::Cluster;
use slipstream_gateway::{Metrics, readiness};
use slipstream_leader::Leader;
use slipstream_model::readiness::Component;
use slipstream_wire::tls::ServerTls;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::failure::chain;

/// How long a component may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long requests under way may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `shutdown`. An agent is ready while its cluster answers and its certificate is good, until it is told to end.
pub(crate) async fn serve(
    listener: TcpListener,
    leader: Leader,
    cluster: Cluster,
    tls: ServerTls,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let ending = shutdown.clone();
    let readyz = move || {
        let (leader, cluster, ending) = (leader.clone(), cluster.clone(), ending.clone());
        let expires_at = tls.expires_at();
        async move { readiness(components(&leader, &cluster, expires_at), &ending).await }
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

/// The cluster and the certificate, which are needed; and the fast path, which is shown.
async fn components(leader: &Leader, cluster: &Cluster, expires_at: SystemTime) -> Vec<Component> {
    let answers = timeout(PATIENCE, cluster.state_version());
    let reads = timeout(PATIENCE, leader.check_translog());
    let (answers, reads) = tokio::join!(answers, reads);
    let answers = match answers {
        Ok(answer) => answer.map(drop).map_err(|error| chain(&error)),
        Err(_) => Err(format!("{} does not answer", cluster.url())),
    };
    let reads = reads.unwrap_or_else(|_| Err("the node does not tell where its files are".to_owned()));
    let good = if expires_at > SystemTime::now() {
        Ok(())
    } else {
        Err("has expired: put a new one in place and send SIGHUP".to_owned())
    };
    vec![
        Component::needed("cluster", answers),
        Component::needed("certificate", good),
        Component::shown("translog", reads),
    ]
}
