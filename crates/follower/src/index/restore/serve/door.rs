//! Where the target's nodes come in: a bounded number of connections, and none on which nothing moves.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use slipstream_wire::accept::{Callers, Connection};
use slipstream_wire::tls::HttpsTls;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

/// Connections at once; further ones wait. A node has one to three for each restore.
const MOST: usize = 128;
/// A connection on which nothing moves for this long, either way, is closed. Well below the minute for which an engine waits.
pub(super) const STILL: Duration = Duration::from_secs(20);

/// Whose connection it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

pub(super) struct Door {
    address: SocketAddr,
    callers: Callers,
    room: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<HttpsTls>,
        shutdown: CancellationToken,
    ) -> io::Result<Door> {
        Ok(Door {
            address: listener.local_addr()?,
            callers: Callers::new(listener, tls, shutdown),
            room: Arc::new(Semaphore::new(MOST)),
        })
    }
}

impl Listener for Door {
    type Io = Moving<Either<TcpStream, Connection>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        // The semaphore is never closed.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, peer) = self.callers.next().await;
        (Moving::new(stream, room), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// A connection that breaks once nothing has moved on it for [`STILL`].
pub(super) struct Moving<S> {
    stream: S,
    /// Runs while something is waited for.
    still: Option<Pin<Box<Sleep>>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl<S> Moving<S> {
    fn new(stream: S, room: Option<OwnedSemaphorePermit>) -> Self {
        Moving {
            stream,
            still: None,
            _room: room,
        }
    }

    /// What came of an attempt to move something, or the error that it took too long.
    fn moved<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.still = None;
            return outcome;
        }
        let still = self.still.get_or_insert_with(|| Box::pin(sleep(STILL)));
        ready!(still.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The same of what moves nothing: a socket is flushed at any time, also while a peer says nothing.
    fn handed_over(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if outcome.is_ready() {
            return outcome;
        }
        self.moved(context, outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Moving<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.moved(context, outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Moving<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.moved(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.moved(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.handed_over(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.handed_over(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_let_go() {
        let (near, far) = duplex(16);
        let mut near = Moving::new(near, None);
        let begun = Instant::now();
        let error = near.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), STILL.as_secs());
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_let_go() {
        let (near, far) = duplex(16);
        let mut near = Moving::new(near, None);
        let asked = async {
            loop {
                let mut byte = [0];
                tokio::select! {
                    biased;
                    read = near.read(&mut byte) => break read,
                    () = sleep(Duration::from_secs(1)) => {}
                }
                near.flush().await.unwrap();
            }
        };
        let error = asked.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_not() {
        let (near, mut far) = duplex(16);
        let mut near = Moving::new(near, None);
        let writing = tokio::spawn(async move { near.write_all(&[0; 160]).await });
        let begun = Instant::now();
        for _ in 0..10 {
            sleep(STILL.mul_f64(0.9)).await;
            far.read_exact(&mut [0; 16]).await.unwrap();
        }
        writing.await.unwrap().unwrap();
        assert!(begun.elapsed() > STILL);
    }
}
