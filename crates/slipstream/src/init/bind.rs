//! Ports: bound before anything works, and said in the log, because port 0 lets the system choose.

use tokio::net::TcpListener;

use crate::failure::Failure;

/// Listens on `HOST:PORT`. `key` is where the address was configured, `what` is what is served there.
pub(crate) async fn bind(address: &str, key: &str, what: &str) -> Result<TcpListener, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot listen on {address} for {what}: {error}"))
            .advise(format!("free that port or give another address in {key}"))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, service = what, "listening");
    Ok(listener)
}
