//! Puts agents together and takes them apart again: configuration first, then ports, then the store, then work; and
//! backwards at the end.

pub(crate) mod access;
pub(crate) mod bind;
pub(crate) mod descriptors;
pub(crate) mod expiry;
pub(crate) mod files;
pub(crate) mod follower;
pub(crate) mod leader;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod observe;
pub(crate) mod signals;

use slipstream_cluster::Cluster;
use tokio_util::sync::CancellationToken;

use crate::failure::chain;

/// Says in the log which cluster an agent works with, once it answers.
pub(crate) async fn introduce(cluster: Cluster, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        identity = cluster.identity() => match identity {
            Ok(identity) => tracing::info!(
                url = cluster.url(),
                engine = %identity.engine,
                version = %identity.version,
                name = identity.name,
                "the cluster answers"
            ),
            // Not the end: whoever needs the cluster tries again, and says so.
            Err(error) => tracing::warn!(url = cluster.url(), error = chain(&error), "the cluster does not answer yet"),
        },
    }
}
