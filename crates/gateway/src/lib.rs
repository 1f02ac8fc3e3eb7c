//! The REST control plane of a follower agent.
//!
//! It speaks the incumbent plugin's API under both of its prefixes, so that existing scripts work unchanged, and adds
//! its own under `/_slipstream/v1`. Three promises: nothing is acknowledged without effect; a caller's mistake is
//! answered with 4xx and says what is wrong; a write to a following index does not pass.
//!
//! Who may do what is settled in one place ([`access`]), in front of all routes. Without a word in the configuration everybody may, and the
//! gateway serves under names of its own host only.

mod access;
mod autofollow;
mod body;
mod bulk;
mod calls;
mod change;
mod control;
mod door;
mod error;
mod filter;
mod guard;
mod many;
pub mod metrics;
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

use slipstream_wire::tls::HttpsTls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use access::{
    Access, AccessConfig, AccessRules, AllowRule, Authority, Role, TargetSecurity, Users, UsersError, Whom,
    hash_password, is_name,
};
pub use control::Control;
pub use observe::readiness;
pub use proxy::{Proxy, ProxyError};

/// How long requests under way may take to end once the gateway is told to.
const DRAIN: Duration = Duration::from_secs(10);

/// Makes the text of `/metrics`.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// How the gateway works.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Where every request that is not the gateway's own goes; `None` refuses them.
    pub proxy: Option<Proxy>,
    /// Who may do what.
    pub access: Access,
    /// HTTPS instead of HTTP.
    pub tls: Option<HttpsTls>,
}

/// What the handlers share.
struct Gateway {
    control: Arc<dyn Control>,
    proxy: Option<Proxy>,
    access: Access,
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
    let access = config.access;
    let gateway = Gateway {
        control,
        proxy: config.proxy,
        access: access.clone(),
        metrics,
        shutdown: shutdown.clone(),
    };
    let door = door::Door::new(listener, config.tls, shutdown.clone())?;
    let service = routes::router(Arc::new(gateway)).into_make_service_with_connect_info::<access::Peer>();
    let server = axum::serve(door, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let ended = tokio::select! {
        ended = server.into_future() => ended,
        () = drained => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests under way were cut off at the end");
            Ok(())
        }
    };
    access.ended(DRAIN).await;
    ended
}

#[cfg(test)]
mod tests;
