//! The REST control plane of a follower agent.
//!
//! It speaks the incumbent plugin's API under both of its prefixes, so that existing scripts work unchanged, and adds
//! its own under `/_slipstream/v1`. Three promises: nothing is acknowledged without effect; a caller's mistake is
//! answered with 4xx and says what is wrong; a write to a following index does not pass.
//!
//! The gateway has no users of its own: whoever reaches its address controls the replication. The configuration therefore
//! refuses addresses that other hosts can reach, unless the operator says that what authenticates stands in front.

mod autofollow;
mod body;
mod bulk;
mod calls;
mod change;
mod control;
mod error;
mod filter;
mod guard;
mod many;
mod names;
mod observe;
mod opened;
mod overview;
mod page;
mod params;
mod passing;
mod pretty;
mod proxy;
mod remotes;
mod routes;
mod settings;
mod stats;
mod status;
mod switches;
mod traced;
mod unpack;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use control::Control;
pub use observe::readiness;
pub use proxy::{Proxy, ProxyError};

/// How long requests under way may take to end once the gateway is told to.
const DRAIN: Duration = Duration::from_secs(10);

/// Makes the text of `/metrics`.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// How the gateway works.
#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// Where every request that is not the gateway's own goes; `None` refuses them.
    pub proxy: Option<Proxy>,
}

/// What the handlers share.
struct Gateway {
    control: Arc<dyn Control>,
    proxy: Option<Proxy>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`; requests under way then have ten seconds to end.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    control: impl Control,
    config: GatewayConfig,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let control: Arc<dyn Control> = Arc::new(control);
    let gateway = Gateway {
        control,
        proxy: config.proxy,
        metrics,
        shutdown: shutdown.clone(),
    };
    let server = axum::serve(listener, routes::router(Arc::new(gateway)))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = drained => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests under way were cut off at the end");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
