//! Where callers come in: over TLS or not, each with his address and the names in his certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use slipstream_wire::accept::{Callers, Connection};
use slipstream_wire::identity;
use slipstream_wire::tls::HttpsTls;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::access::Peer;

/// A listener of either kind.
pub(crate) struct Door {
    address: SocketAddr,
    callers: Callers,
}

impl Door {
    /// Takes callers in until `shutdown`.
    pub(crate) fn new(
        listener: TcpListener,
        tls: Option<HttpsTls>,
        shutdown: CancellationToken,
    ) -> io::Result<Door> {
        let address = listener.local_addr()?;
        let callers = Callers::new(listener, tls, shutdown);
        Ok(Door { address, callers })
    }
}

impl Listener for Door {
    type Io = Either<TcpStream, Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        self.callers.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Peer {
        let identities = match stream.io() {
            Either::Left(_) => Vec::new(),
            Either::Right(connection) => identity::of_connection(connection),
        };
        Peer {
            address: *stream.remote_addr(),
            identities: Arc::from(identities),
        }
    }
}
