//! The server's side of a connection: only peers that finished a TLS handshake get past this module. [`incoming`] is for
//! follower agents, [`Callers`] for those of an HTTP server.
//!
//! Handshakes run beside each other, a bounded number of them and each against a deadline, so a peer that stays silent
//! delays nobody. Every refused peer is logged once, with its address and the reason in words, because the peer itself
//! may learn no more than that the connection broke.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{FuturesUnordered, Stream};
use rustls::ServerConfig;
use slipstream_model::event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{Span, debug, error, warn};

use crate::protocol;
use crate::tls::{HttpsTls, ServerTls, words};

/// How many handshakes run at once; further peers wait in the listener's backlog.
const MAX_HANDSHAKES: usize = 256;

/// After a failed `accept`, usually for lack of file descriptors, the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a refused peer is listened to, so that it can read why before the connection is gone.
const LINGER: Duration = Duration::from_secs(1);

/// A gRPC server with the windows, limits and keep-alive of this protocol, for [`incoming`].
pub fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(protocol::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(protocol::CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(protocol::MAX_STREAMS)
        .http2_keepalive_interval(Some(protocol::KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(protocol::KEEP_ALIVE_TIMEOUT))
        .trace_fn(traced)
}

/// The span of a call that belongs to a trace; what followers ask all the time by themselves has none.
fn traced(request: &http::Request<()>) -> Span {
    if !slipstream_trace::is_traced(request.headers()) {
        return Span::none();
    }
    let path = request.uri().path();
    let span = slipstream_trace::span!(
        "call",
        otel.name = path,
        otel.kind = "server",
        rpc.system = "grpc"
    );
    slipstream_trace::continue_from(&span, request.headers());
    span
}

/// A connection whose handshake is done.
pub type Connection = TlsStream<TcpStream>;

/// Authenticated connections, for tonic's `serve_with_incoming_shutdown`.
///
/// The stream does all of its work while it is polled: there is no task behind it that could outlive it. It ends with
/// `shutdown`, dropping handshakes that are not finished, and never yields an error.
pub fn incoming(
    listener: TcpListener,
    tls: ServerTls,
    shutdown: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    connections(listener, move || tls.config(), words::refusal, shutdown).map(|(stream, _)| Ok(stream))
}

/// Connections of HTTPS callers, with or without a certificate of theirs; otherwise as [`incoming`].
fn https(
    listener: TcpListener,
    tls: HttpsTls,
    shutdown: CancellationToken,
) -> impl Stream<Item = (Connection, SocketAddr)> {
    connections(listener, move || tls.config(), words::https_refusal, shutdown)
}

/// Callers of a server that speaks HTTP, over TLS or not.
pub enum Callers {
    /// In the clear.
    Plain(TcpListener),
    /// Past a handshake.
    Tls(Pin<Box<dyn Stream<Item = (Connection, SocketAddr)> + Send>>),
}

impl Callers {
    /// Takes callers in until `shutdown`.
    pub fn new(listener: TcpListener, tls: Option<HttpsTls>, shutdown: CancellationToken) -> Callers {
        match tls {
            None => Callers::Plain(listener),
            Some(tls) => Callers::Tls(Box::pin(https(listener, tls, shutdown))),
        }
    }

    /// The next one. Whoever stops waiting misses nobody.
    pub async fn next(&mut self) -> (Either<TcpStream, Connection>, SocketAddr) {
        match self {
            Callers::Plain(listener) => loop {
                match listener.accept().await {
                    Ok((stream, peer)) => match stream.set_nodelay(true) {
                        Ok(()) => return (Either::Left(stream), peer),
                        Err(error) => debug!(%peer, %error, "the connection was gone before it began"),
                    },
                    Err(error) => {
                        error!(%error, "cannot accept a connection, check the limit of open files");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            Callers::Tls(connections) => match connections.next().await {
                Some((stream, peer)) => (Either::Right(stream), peer),
                // The end: the server is told by the same token.
                None => std::future::pending().await,
            },
        }
    }
}

fn connections(
    listener: TcpListener,
    config: impl Fn() -> Arc<ServerConfig>,
    refusal: fn(&io::Error) -> String,
    shutdown: CancellationToken,
) -> impl Stream<Item = (Connection, SocketAddr)> {
    enum Event {
        Accepted(io::Result<(TcpStream, SocketAddr)>),
        HandshakeOver(Option<Box<(Connection, SocketAddr)>>),
    }

    async_stream::stream! {
        let mut handshakes = FuturesUnordered::new();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(outcome) = handshakes.next() => Event::HandshakeOver(outcome),
                accepted = listener.accept(), if handshakes.len() < MAX_HANDSHAKES => Event::Accepted(accepted),
            };
            match event {
                Event::Accepted(Ok((tcp, peer))) => handshakes.push(handshake(tcp, peer, config(), refusal)),
                Event::Accepted(Err(error)) => {
                    error!(%error, "cannot accept a connection, check the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                Event::HandshakeOver(Some(connection)) => yield *connection,
                Event::HandshakeOver(None) => {}
            }
        }
    }
}

/// One handshake; `None` where the peer was refused, which is logged by then.
async fn handshake(
    tcp: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    refusal: fn(&io::Error) -> String,
) -> Option<Box<(Connection, SocketAddr)>> {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%peer, %error, "the connection was gone before it began");
        return None;
    }
    let accept = TlsAcceptor::from(config).accept(tcp).into_fallible();
    match tokio::time::timeout(protocol::HANDSHAKE_DEADLINE, accept).await {
        Ok(Ok(stream)) => Some(Box::new((stream, peer))),
        Ok(Err((error, tcp))) => {
            let reason = refusal(&error);
            if reason == words::HUNG_UP {
                debug!(%peer, reason, "refused a connection");
            } else {
                warn!(event = event::PEER_REFUSED, %peer, reason, "refused a connection");
            }
            linger(tcp).await;
            None
        }
        Err(_) => {
            let seconds = protocol::HANDSHAKE_DEADLINE.as_secs();
            warn!(event = event::PEER_REFUSED, %peer, reason = "the handshake took too long", seconds, "refused a connection");
            None
        }
    }
}

/// Lets the peer read our alert: closing while it still sends would answer with a reset, which discards the alert.
async fn linger(mut tcp: TcpStream) {
    let drain = async {
        tcp.shutdown().await?;
        let mut rest = [0; 1024];
        while tcp.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whether the peer went on its own or not, the connection ends here.
    let _ = tokio::time::timeout(LINGER, drain).await;
}
