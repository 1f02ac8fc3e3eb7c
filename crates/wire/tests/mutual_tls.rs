//! Two agents meet: who gets in, who does not, and what both operators read then.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

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

#[tokio::test]
async fn a_follower_with_a_good_certificate_gets_in_and_is_known_by_name() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let reply = leader.hello(&ca.follower()).await.unwrap();
    assert_eq!(reply.protocol, slipstream_wire::PROTOCOL_MAX);
    assert_eq!(reply.identity, "follower.dr.example spiffe://example/follower");
    assert_eq!(leader.log.text(), "");
    leader.stop().await;
}

#[tokio::test]
async fn each_side_can_tell_whose_certificate_ends_when() {
    let ca = Ca::new();
    let (theirs, ours) = (ca.leader(), ca.follower());
    let leader = Leader::start(&theirs).await;
    let (address, tls) = (leader.address.to_string(), ClientTls::new(&ours).unwrap());
    let peer = Peer::default();
    let channel = channel_to(&address, tls.clone(), peer.clone()).unwrap();
    assert_eq!(peer.certificate(), None, "nobody has connected yet");
    hello(channel, &address, "0.1.0", &[]).await.unwrap();
    for (shown, identity) in [(peer.certificate().unwrap(), theirs), (tls.certificate(), ours)] {
        assert_eq!(shown.expires_at, identity.expires_at());
        for name in identity.identities() {
            assert!(shown.names.contains(&name.to_string()), "{shown:?}");
        }
    }
    assert!(
        peer.certificate()
            .unwrap()
            .names
            .contains(&"127.0.0.1".to_owned())
    );
    leader.stop().await;
}

#[tokio::test]
async fn a_certificate_without_an_identity_is_refused_in_words() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let error = leader
        .hello(&ca.identity("nameless", &["127.0.0.1"]))
        .await
        .unwrap_err();
    assert!(matches!(error, HelloError::PermissionDenied { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("needs a subject alternative name of type DNS or URI"),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_client_certificate_is_refused_with_the_reason_on_both_sides() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let now = SystemTime::now();
    let past = Validity {
        not_before: now - 3 * HOUR,
        not_after: now - HOUR,
    };
    let files = ca.files("old", &["follower.dr.example"], past);
    // It was loaded while it was valid, as in an agent that nobody restarted.
    let identity = TlsIdentity::load_at(&files, now - 2 * HOUR).unwrap();
    let error = leader.hello(&identity).await.unwrap_err();
    assert!(
        matches!(error, HelloError::RefusedCertificate { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(&leader.address.to_string()), "{text}");
    assert!(text.contains("refused our certificate: it has expired"), "{text}");
    let log = leader.refusals(1).await;
    assert!(log.contains("WARN") && log.contains("peer=127.0.0.1:"), "{log}");
    assert!(log.contains("the client's certificate has expired"), "{log}");
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused_with_the_reason_on_both_sides() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&ca.leader()).await;
    // It trusts the leader; only its own certificate comes from elsewhere.
    let files = TlsFiles {
        ca: ca.files("x", &["x"], HOUR).ca,
        ..other.files("f", &["follower.dr.example"], HOUR)
    };
    let error = leader
        .hello(&TlsIdentity::load(&files).unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(error, HelloError::RefusedCertificate { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("an unknown CA signed it"), "{error}");
    let log = leader.refusals(1).await;
    assert!(
        log.contains("the client's certificate was signed by an unknown CA"),
        "{log}"
    );
}

#[tokio::test]
async fn a_leader_of_another_ca_is_not_trusted() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&ca.leader()).await;
    let error = leader.hello(&other.follower()).await.unwrap_err();
    assert!(
        matches!(error, HelloError::ServerCertificateInvalid { .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("its certificate was signed by an unknown CA"),
        "{error}"
    );
    let log = leader.refusals(1).await;
    assert!(
        log.contains("the client did not accept our certificate: an unknown CA signed it"),
        "{log}"
    );
}

#[tokio::test]
async fn a_leader_under_another_name_is_not_trusted() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.identity("leader", &["leader.example"])).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(
        matches!(error, HelloError::ServerCertificateInvalid { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("`127.0.0.1`") && text.contains("leader.example"),
        "{text}"
    );
}

/// A client that follows none of our rules.
async fn foreign_client(
    leader: &Leader,
    version: &'static rustls::SupportedProtocolVersion,
    files: &TlsFiles,
    show_certificate: bool,
) -> io::Result<usize> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.ca).unwrap())
        .unwrap();
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
    let config = if show_certificate {
        let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
        builder
            .with_client_auth_cert(vec![cert], PrivateKeyDer::from_pem_file(&files.key).unwrap())
            .unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let tcp = TcpStream::connect(leader.address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    tls.read(&mut [0; 64]).await
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let files = ca.files("f", &["f"], HOUR);
    let error = foreign_client(&leader, &rustls::version::TLS13, &files, false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    assert!(
        leader
            .refusals(1)
            .await
            .contains("the client showed no certificate")
    );
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let files = ca.files("f", &["f"], HOUR);
    let error = foreign_client(&leader, &rustls::version::TLS12, &files, true)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert!(
        leader
            .refusals(1)
            .await
            .contains("the client does not offer TLS 1.3")
    );
}

#[tokio::test]
async fn plaintext_on_the_port_is_refused_and_named() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let mut tcp = TcpStream::connect(leader.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: leader\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "answered in plaintext");
    let log = leader.refusals(1).await;
    assert!(log.contains("what the client sent is not TLS"), "{log}");
    // And it harmed nobody.
    leader.hello(&ca.follower()).await.unwrap();
    assert_eq!(
        leader.log.text().matches("refused a connection").count(),
        1,
        "each refusal is logged once"
    );
}

#[tokio::test]
async fn a_silent_peer_delays_nobody() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(leader.address).await.unwrap());
    }
    let reply = tokio::time::timeout(Duration::from_secs(5), leader.hello(&ca.follower())).await;
    reply.expect("waited for the silent peers").unwrap();
    // Neither do they hold up the end.
    leader.stop().await;
}

#[tokio::test]
async fn what_is_not_a_leader_agent_is_told_apart() {
    let ca = Ca::new();
    let follower = ca.follower();

    // A port where nobody listens: it was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = say_hello(&free.to_string(), &follower).await.unwrap_err();
    assert!(matches!(error, HelloError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");

    // A plaintext HTTP server, such as the cluster's own port.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        assert!(tcp.read(&mut [0; 4096]).await.unwrap() > 0);
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    });
    let error = say_hello(&address.to_string(), &follower).await.unwrap_err();
    http.await.unwrap();
    assert!(matches!(error, HelloError::NotAnAgent { .. }), "{error:?}");
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_grpc_server_without_the_handshake_is_not_a_leader_agent() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let connections = incoming(listener, ServerTls::new(&ca.leader()).unwrap(), shutdown.clone());
    let task = tokio::spawn(
        server()
            .add_service(ChangesServer::new(Agent { answer: negotiate }))
            .serve_with_incoming(connections),
    );
    let error = say_hello(&address.to_string(), &ca.follower()).await.unwrap_err();
    assert!(matches!(error, HelloError::NotAnAgent { .. }), "{error:?}");
    shutdown.cancel();
    task.abort();
}

#[tokio::test]
async fn releases_that_do_not_fit_refuse_in_words() {
    let ca = Ca::new();
    let agent = Agent {
        answer: |_, _| {
            let old = slipstream_wire::negotiate(7, 9).expect_err("no release speaks version 7");
            Err(old.into())
        },
    };
    let leader = Leader::start_with(&ca.leader(), agent).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(matches!(error, HelloError::ProtocolMismatch { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("speaks 7 to 9, the leader agent 1 to 1; upgrade the leader agent"),
        "{error}"
    );
}

#[tokio::test]
async fn a_leader_that_chooses_a_version_we_do_not_speak_is_refused() {
    let ca = Ca::new();
    let agent = Agent {
        answer: |_, _| {
            Ok(v1::HelloReply {
                protocol: 99,
                ..v1::HelloReply::default()
            })
        },
    };
    let leader = Leader::start_with(&ca.leader(), agent).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(matches!(error, HelloError::ProtocolMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_leader_that_cannot_serve_says_why() {
    let ca = Ca::new();
    let agent = Agent {
        answer: |_, _| Err(Status::unavailable("the cluster does not answer")),
    };
    let leader = Leader::start_with(&ca.leader(), agent).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(
        matches!(
            error,
            HelloError::Failed {
                code: tonic::Code::Unavailable,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("the cluster does not answer"),
        "{error}"
    );
}

fn credit(bytes: u64) -> v1::FollowerFrame {
    v1::FollowerFrame {
        frame: Some(v1::follower_frame::Frame::Credit(v1::Credit { bytes })),
    }
}

async fn next_echo(stream: &mut Streaming<v1::LeaderFrame>) -> u64 {
    match stream.message().await.unwrap().unwrap().frame {
        Some(v1::leader_frame::Frame::Pulse(pulse)) => pulse.pending_age_micros,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn certificates_and_cas_are_exchanged_while_a_stream_lives() {
    let (before, after) = (Ca::new(), Ca::new());
    let leader = Leader::start(&before.leader()).await;
    let client_tls = ClientTls::new(&before.follower()).unwrap();
    let living = channel(&leader.address.to_string(), client_tls.clone()).unwrap();
    let (frames, sent) = mpsc::channel(4);
    frames.send(credit(1)).await.unwrap();
    let mut stream = ChangesClient::new(living)
        .stream(ReceiverStream::new(sent))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next_echo(&mut stream).await, 1);

    let renewed = after.leader();
    leader.tls.reload(&renewed).unwrap();
    assert_eq!(leader.tls.expires_at(), renewed.expires_at());

    frames.send(credit(2)).await.unwrap();
    assert_eq!(next_echo(&mut stream).await, 2, "the living stream goes on");
    let error = leader
        .hello(&before.identity("late", &["late.example"]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, HelloError::ServerCertificateInvalid { .. }),
        "{error:?}"
    );

    // The follower follows suit: its next connection is made under the new CA, the old one still lives.
    client_tls.reload(&after.follower()).unwrap();
    let address = leader.address.to_string();
    let reply = hello(channel(&address, client_tls).unwrap(), &address, "0.1.0", &[])
        .await
        .unwrap();
    assert_eq!(reply.identity, "follower.dr.example spiffe://example/follower");
    frames.send(credit(3)).await.unwrap();
    assert_eq!(next_echo(&mut stream).await, 3, "the living stream goes on");
    drop(frames);
    assert!(stream.message().await.unwrap().is_none());
    leader.stop().await;
}

#[tokio::test]
async fn a_channel_recovers_when_the_leader_comes_to_its_senses() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&other.leader()).await;
    let address = leader.address.to_string();
    let channel = channel(&address, ClientTls::new(&ca.follower()).unwrap()).unwrap();

    // Any call tells why, not only the first one.
    let frames = ReceiverStream::new(mpsc::channel(1).1);
    let status = ChangesClient::new(channel.clone())
        .stream(frames)
        .await
        .unwrap_err();
    let why = HelloError::of_connection(&status).expect("not about the connection");
    assert!(
        matches!(why, HelloError::ServerCertificateInvalid { .. }),
        "{why:?}"
    );

    leader.tls.reload(&ca.leader()).unwrap();
    hello(channel, &address, "0.1.0", &[]).await.unwrap();
}

#[tokio::test]
async fn refusals_are_told_every_time() {
    // A reset that overtakes the alert would turn "expired" into "no reason given".
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&ca.leader()).await;
    let trusting = ca.files("x", &["x"], HOUR).ca;
    let files = TlsFiles {
        ca: trusting,
        ..other.files("f", &["f"], HOUR)
    };
    let identity = TlsIdentity::load(&files).unwrap();
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..50 {
        *reasons
            .entry(leader.hello(&identity).await.unwrap_err().to_string())
            .or_default() += 1;
    }
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons
            .keys()
            .all(|text| text.contains("an unknown CA signed it")),
        "{reasons:?}"
    );
}
