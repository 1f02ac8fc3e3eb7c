//! Two agents meet: who gets in, who does not, and what both operators read then.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "mutual_tls/certificates.rs"]
mod certificates;
#[path = "mutual_tls/exchange.rs"]
mod exchange;
#[path = "mutual_tls/handshake.rs"]
mod handshake;
#[path = "mutual_tls/strangers.rs"]
mod strangers;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::{Stream, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use slipstream_wire::accept::{incoming, server};
use slipstream_wire::certs::{self, San, Validity};
use slipstream_wire::connect::{Peer, channel_to};
use slipstream_wire::identity::from_request;
use slipstream_wire::v1::changes_client::ChangesClient;
use slipstream_wire::v1::changes_server::{Changes, ChangesServer};
use slipstream_wire::v1::handshake_server::{Handshake, HandshakeServer};
use slipstream_wire::{
    ClientTls, HelloError, Identity, ServerTls, TlsFiles, TlsIdentity, channel, hello, v1,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::subscriber::DefaultGuard;

const HOUR: Duration = Duration::from_hours(1);

/// A folder with a CA.
struct Ca(TempDir);

impl Ca {
    fn new() -> Ca {
        let dir = tempfile::tempdir().unwrap();
        certs::init_ca(dir.path()).unwrap();
        Ca(dir)
    }

    fn files(&self, name: &str, sans: &[&str], validity: impl Into<Validity>) -> TlsFiles {
        let sans: Vec<San> = sans.iter().map(|text| San::parse(text).unwrap()).collect();
        certs::issue(self.0.path(), name, &sans, validity).unwrap()
    }

    fn identity(&self, name: &str, sans: &[&str]) -> TlsIdentity {
        TlsIdentity::load(&self.files(name, sans, HOUR)).unwrap()
    }

    fn leader(&self) -> TlsIdentity {
        self.identity("leader", &["127.0.0.1", "leader.example"])
    }

    fn follower(&self) -> TlsIdentity {
        self.identity("follower", &["follower.dr.example", "spiffe://example/follower"])
    }
}

/// A leader agent as far as this crate is concerned; what it says depends on `answer`.
#[derive(Clone)]
struct Agent {
    answer: fn(&v1::HelloRequest, &[Identity]) -> Result<v1::HelloReply, Status>,
}

#[tonic::async_trait]
impl Handshake for Agent {
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        let identities = from_request(&request)?;
        (self.answer)(request.get_ref(), &identities).map(Response::new)
    }
}

#[tonic::async_trait]
impl Changes for Agent {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::LeaderFrame, Status>> + Send>>;

    /// Answers each frame with a pulse that carries the credit it was given.
    async fn stream(
        &self,
        request: Request<Streaming<v1::FollowerFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let echoes = request.into_inner().map(|frame| {
            let Some(v1::follower_frame::Frame::Credit(credit)) = frame?.frame else {
                return Err(Status::invalid_argument("credit only"));
            };
            let pulse = v1::Pulse {
                pending_age_micros: credit.bytes,
                ..v1::Pulse::default()
            };
            Ok(v1::LeaderFrame {
                frame: Some(v1::leader_frame::Frame::Pulse(pulse)),
            })
        });
        Ok(Response::new(Box::pin(echoes)))
    }
}

fn negotiate(request: &v1::HelloRequest, identities: &[Identity]) -> Result<v1::HelloReply, Status> {
    let protocol = slipstream_wire::negotiate(request.protocol_min, request.protocol_max)?;
    let names: Vec<&str> = identities.iter().map(Identity::as_str).collect();
    Ok(v1::HelloReply {
        protocol,
        identity: names.join(" "),
        ..v1::HelloReply::default()
    })
}

/// A running leader agent with its log.
struct Leader {
    address: SocketAddr,
    tls: ServerTls,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    log: Log,
    _logging: DefaultGuard,
}

impl Leader {
    async fn start(identity: &TlsIdentity) -> Leader {
        Self::start_with(identity, Agent { answer: negotiate }).await
    }

    async fn start_with(identity: &TlsIdentity, agent: Agent) -> Leader {
        let log = Log::default();
        // Tests run on one thread each, so this catches what the agent's task logs and nothing else.
        let logging = tracing::subscriber::set_default(
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::INFO)
                .with_writer(log.clone())
                .finish(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = ServerTls::new(identity).unwrap();
        let shutdown = CancellationToken::new();
        let connections = incoming(listener, tls.clone(), shutdown.clone());
        let stop = shutdown.clone();
        let task = tokio::spawn(async move {
            server()
                .add_service(HandshakeServer::new(agent.clone()))
                .add_service(ChangesServer::new(agent))
                .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
                .await
                .unwrap();
        });
        Leader {
            address,
            tls,
            shutdown,
            task,
            log,
            _logging: logging,
        }
    }

    async fn hello(&self, identity: &TlsIdentity) -> Result<v1::HelloReply, HelloError> {
        say_hello(&self.address.to_string(), identity).await
    }

    /// The log, once it has `count` refusals in it.
    async fn refusals(&self, count: usize) -> String {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let text = self.log.text();
            if text.matches("refused a connection").count() >= count {
                return text;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "no refusal was logged: {text:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .expect("the server hangs")
            .unwrap();
    }
}

async fn say_hello(address: &str, identity: &TlsIdentity) -> Result<v1::HelloReply, HelloError> {
    let channel = channel(address, ClientTls::new(identity).unwrap()).unwrap();
    hello(channel, address, "0.1.0", &[]).await
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
