//! The agent's certificate, and ports.

use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;

use super::Checks;
use crate::init::expiry::SOON;

/// How long the certificate is good for. That it fits its key and CA was found out when the file was read.
pub(super) fn certificate(what: &str, expires_at: SystemTime, checks: &mut Checks) {
    let days = |left: Duration| left.as_secs() / 86_400;
    let remedy = "have a new one issued and put it in place; a running agent takes it with SIGHUP";
    match expires_at.duration_since(SystemTime::now()) {
        Ok(left) if left < SOON => checks.warn(what, format!("good for {} days only", days(left)), remedy),
        Ok(left) => checks.ok(what, format!("good for {} days", days(left))),
        Err(over) => checks.fail(
            what,
            format!("expired {} days ago", days(over.duration())),
            remedy,
        ),
    }
}

/// Whether the agent could listen there.
pub(super) async fn port(address: &str, key: &str, checks: &mut Checks) {
    match TcpListener::bind(address).await {
        Ok(_) => checks.ok(key, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => checks.warn(
            key,
            format!("{address} is in use"),
            "fine if the agent runs already; else free that port or give another address",
        ),
        Err(error) => checks.fail(
            key,
            format!("cannot listen on {address}: {error}"),
            "give an address of this host, and a port that this user may open",
        ),
    }
}
