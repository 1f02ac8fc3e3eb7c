//! A relay between the agents that counts what passes, in both directions: TLS, framing and all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a port of its own for connections to `to`.
    pub(crate) async fn start(to: SocketAddr) -> Result<Relay> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, to, Arc::clone(&bytes)));
        Ok(Relay { address, bytes, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have passed so far, in both directions together.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Its connections are in a set that goes with it.
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, bytes: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((from, _)) = listener.accept().await {
        connections.spawn(forward(from, to, Arc::clone(&bytes)));
        while connections.try_join_next().is_some() {}
    }
}

/// An end of either side, orderly or not, ends both: the agents find out as they would without the relay.
async fn forward(from: TcpStream, to: SocketAddr, bytes: Arc<AtomicU64>) {
    let Ok(to) = TcpStream::connect(to).await else {
        return;
    };
    _ = (from.set_nodelay(true), to.set_nodelay(true));
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        _ = copy(from_read, to_write, &bytes) => {}
        _ = copy(to_read, from_write, &bytes) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        bytes.fetch_add(count as u64, Ordering::Relaxed);
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_directions_are_counted() {
        let echo = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let relay = Relay::start(echo.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let (mut server, _) = echo.accept().await.unwrap();
        let mut heard = [0; 5];
        server.read_exact(&mut heard).await.unwrap();
        server.write_all(b"hi").await.unwrap();
        client.read_exact(&mut heard[..2]).await.unwrap();
        assert_eq!(relay.bytes(), 7);
    }
}
