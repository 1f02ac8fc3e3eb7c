//! The follower's side of a connection: a channel to a leader agent, and a first call that turns whatever stands in
//! the way into words.
//!
//! Under TLS 1.3 a client has finished its handshake before the server looks at its certificate, and a refusal shows
//! only later, as a broken pipe somewhere. A leader agent speaks first once it has accepted a peer (HTTP/2 settings),
//! so a connection counts as made here only after its first byte has come: until then, an alert is an answer about our
//! certificate, and nothing of ours is under way that could turn it into a reset.

mod error;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::certificate::Certificate;
use crate::protocol;
use crate::tls::{ALPN, ClientTls, words};
use crate::v1;

pub use error::{ConnectError, HelloError};

/// Whether a text can be the address of a leader agent, without connecting to it.
///
/// # Errors
/// [`ConnectError::Address`].
pub fn check_address(agent_address: &str) -> Result<(), ConnectError> {
    Target::parse(agent_address).map(drop)
}

/// A channel to a leader agent, whose calls belong to the trace of whoever makes them.
pub type AgentChannel = InterceptedService<Channel, NameTrace>;

/// Names the caller's trace in each call.
#[derive(Debug, Clone, Copy)]
pub struct NameTrace;

impl Interceptor for NameTrace {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        slipstream_trace::inject(request.metadata_mut().as_mut());
        Ok(request)
    }
}

/// A channel to the leader agent at `agent_address` (`HOST:PORT`), which connects with the first call, and again
/// whenever the connection is gone, each time with what `tls` holds then.
///
/// The host must be a name or address in the agent's certificate. Raise the stubs' limits to
/// [`protocol::MAX_MESSAGE_BYTES`].
///
/// # Errors
/// [`ConnectError::Address`]; everything else shows with a call.
pub fn channel(agent_address: &str, tls: ClientTls) -> Result<AgentChannel, ConnectError> {
    channel_to(agent_address, tls, Peer::default())
}

/// As [`channel`]; `peer` gets to know who answers.
///
/// # Errors
/// As [`channel`].
pub fn channel_to(agent_address: &str, tls: ClientTls, peer: Peer) -> Result<AgentChannel, ConnectError> {
    let target = Arc::new(Target::parse(agent_address)?);
    let endpoint = Endpoint::from_shared(format!("http://{}", target.address))
        .map_err(|_| ConnectError::Address(agent_address.to_owned()))?
        .initial_stream_window_size(protocol::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(protocol::CONNECTION_WINDOW_BYTES)
        .max_frame_size(protocol::FRAME_BYTES)
        .http2_keep_alive_interval(protocol::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(protocol::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (target, tls, peer) = (target.clone(), tls.clone(), peer.clone());
        async move { target.connect(&tls, &peer).await.map(TokioIo::new) }
    }));
    Ok(InterceptedService::new(channel, NameTrace))
}

/// The first call on a channel: agrees on a protocol version, and says in words what is wrong if anything is.
///
/// `agent_address` is what the channel was made with, for the texts. Takes [`protocol::HELLO_DEADLINE`] at most.
///
/// # Errors
/// What stands in the way, by kind.
pub async fn hello(
    channel: AgentChannel,
    agent_address: &str,
    agent_version: &str,
    capabilities: &[&str],
) -> Result<v1::HelloReply, HelloError> {
    let request = v1::HelloRequest {
        agent_version: agent_version.to_owned(),
        protocol_min: protocol::PROTOCOL_MIN,
        protocol_max: protocol::PROTOCOL_MAX,
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
    };
    let mut client = v1::handshake_client::HandshakeClient::new(channel);
    let reply = timeout(protocol::HELLO_DEADLINE, client.hello(request))
        .await
        .map_err(|_| HelloError::Unreachable {
            address: agent_address.to_owned(),
            source: Arc::new(timed_out("the handshake call")),
        })?
        .map_err(|status| HelloError::of_hello(agent_address, &status))?
        .into_inner();
    if !(protocol::PROTOCOL_MIN..=protocol::PROTOCOL_MAX).contains(&reply.protocol) {
        return Err(HelloError::ProtocolMismatch {
            address: agent_address.to_owned(),
            reason: format!(
                "the leader agent (release {}) chose protocol version {}, this follower agent speaks {} to {}; \
                 upgrade both agents to the same release",
                reply.agent_version,
                reply.protocol,
                protocol::PROTOCOL_MIN,
                protocol::PROTOCOL_MAX
            ),
        });
    }
    Ok(reply)
}

/// Who is at the other end of a channel, as of its last handshake. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<Mutex<Option<Certificate>>>);

impl Peer {
    /// The certificate that it showed and that was accepted; `None` before the first connection.
    pub fn certificate(&self) -> Option<Certificate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn showed(&self, leaf: &[u8]) {
        if let Some(certificate) = Certificate::read(leaf) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        }
    }
}

/// What is read from a connection at once, at most: what a leader agent sends is read here.
const READ_AHEAD: usize = 128 * 1024;

/// Where a channel connects to.
#[derive(Debug)]
struct Target {
    /// As the operator wrote it.
    address: String,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Target {
    fn parse(text: &str) -> Result<Self, ConnectError> {
        let wrong = || ConnectError::Address(text.to_owned());
        let authority: Authority = text.parse().map_err(|_| wrong())?;
        let port = authority
            .port_u16()
            .filter(|_| !text.contains('@'))
            .ok_or_else(wrong)?;
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        Ok(Target {
            address: text.to_owned(),
            host,
            port,
            name,
        })
    }

    /// A connection over which the leader agent has shown that it accepts us.
    async fn connect(
        &self,
        tls: &ClientTls,
        peer: &Peer,
    ) -> Result<BufReader<TlsStream<BufReader<TcpStream>>>, HelloError> {
        let tcp = timeout(
            protocol::CONNECT_DEADLINE,
            TcpStream::connect((self.host.as_str(), self.port)),
        )
        .await
        .unwrap_or_else(|_| Err(timed_out("connecting")))
        .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
        .map_err(|error| self.unreachable(error))?;

        // TLS takes four kilobytes at a time, a quarter of a record.
        let tcp = BufReader::with_capacity(READ_AHEAD, tcp);
        let connecting = TlsConnector::from(tls.config()).connect(self.name.clone(), tcp);
        let stream = timeout(protocol::HANDSHAKE_DEADLINE, connecting)
            .await
            .unwrap_or_else(|_| Err(timed_out("the TLS handshake")))
            .map_err(|error| self.handshake_failed(error))?;
        if let Some([leaf, ..]) = stream.get_ref().1.peer_certificates() {
            peer.showed(leaf);
        }
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(self.not_an_agent("a TLS server that does not speak HTTP/2"));
        }

        // Small, so that large reads pass it by.
        let mut stream = BufReader::with_capacity(64, stream);
        match timeout(protocol::HANDSHAKE_DEADLINE, stream.fill_buf()).await {
            Ok(Ok(first)) if !first.is_empty() => Ok(stream),
            Ok(Ok(_)) => Err(self.refused(NO_REASON.to_owned())),
            Ok(Err(error)) => match words::tls_error(&error) {
                Some(rustls::Error::AlertReceived(alert)) => Err(self.refused(words::refused(*alert))),
                _ => Err(self.refused(NO_REASON.to_owned())),
            },
            Err(_) => Err(self.unreachable(timed_out("the first answer after the TLS handshake"))),
        }
    }

    fn handshake_failed(&self, error: io::Error) -> HelloError {
        use rustls::AlertDescription::{HandshakeFailure, NoApplicationProtocol, ProtocolVersion};
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, PeerIncompatible};

        match words::tls_error(&error) {
            Some(InvalidCertificate(fault)) => HelloError::ServerCertificateInvalid {
                address: self.address.clone(),
                reason: words::certificate(fault),
            },
            Some(InvalidMessage(_)) => self.not_an_agent("something that does not speak TLS"),
            Some(PeerIncompatible(_) | AlertReceived(ProtocolVersion | HandshakeFailure)) => {
                self.not_an_agent("a TLS server without TLS 1.3")
            }
            Some(AlertReceived(NoApplicationProtocol)) => {
                self.not_an_agent("a TLS server that does not speak HTTP/2")
            }
            Some(AlertReceived(alert)) => self.refused(words::refused(*alert)),
            _ => self.unreachable(error),
        }
    }

    fn unreachable(&self, error: io::Error) -> HelloError {
        HelloError::Unreachable {
            address: self.address.clone(),
            source: Arc::new(error),
        }
    }

    fn refused(&self, reason: String) -> HelloError {
        HelloError::RefusedCertificate {
            address: self.address.clone(),
            reason,
        }
    }

    fn not_an_agent(&self, found: &str) -> HelloError {
        HelloError::NotAnAgent {
            address: self.address.clone(),
            found: found.to_owned(),
        }
    }
}

/// Hanging up right after the handshake is what a refusal looks like whose alert was lost.
const NO_REASON: &str = "it hung up without a reason right after the handshake; its log has the reason (expired \
                         certificate, unknown CA, …)";

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        let target = Target::parse("leader.example:9700").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("leader.example", 9700));
        assert_eq!(Target::parse("[::1]:9700").unwrap().host, "::1");
        assert_eq!(Target::parse("127.0.0.1:9700").unwrap().host, "127.0.0.1");
        for wrong in [
            "",
            "leader",
            "https://leader:9700",
            "leader:9700/x",
            "me@leader:9700",
            "a b:1",
            "leader:99999",
        ] {
            let error = Target::parse(wrong).unwrap_err();
            assert_eq!(error, ConnectError::Address(wrong.to_owned()), "{wrong:?}");
        }
    }
}
