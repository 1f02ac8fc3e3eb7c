//! Leader agents that are told what to answer, and what they were asked and logged.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use slipstream_wire::accept::{incoming, server};
use slipstream_wire::certs::{self, San};
use slipstream_wire::tls::{ClientTls, ServerTls, TlsIdentity};
use slipstream_wire::v1;
use slipstream_wire::v1::catalog_server::{Catalog, CatalogServer};
use slipstream_wire::v1::handshake_server::{Handshake, HandshakeServer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How an agent behaves.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) cluster: &'static str,
    /// Empty as an agent of an old release.
    pub(super) node: &'static str,
    pub(super) tails: bool,
    pub(super) health: Health,
    /// The node of the primary and those of replicas, of every shard; `None` fails.
    pub(super) copies: Option<(&'static str, &'static [&'static str])>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// Answers that it cannot serve.
    Failing,
    /// Never answers.
    Silent,
}

/// A running agent; clones are the same.
#[derive(Clone)]
pub(super) struct StubAgent {
    pub(super) address: String,
    manner: Arc<Mutex<Manner>>,
    hellos: Arc<AtomicU32>,
    located: Arc<AtomicU32>,
}

impl StubAgent {
    pub(super) fn change(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }

    pub(super) fn hellos(&self) -> u32 {
        self.hellos.load(Ordering::SeqCst)
    }

    pub(super) fn located(&self) -> u32 {
        self.located.load(Ordering::SeqCst)
    }

    fn manner(&self) -> Manner {
        self.manner.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl Handshake for StubAgent {
    async fn hello(&self, _: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        self.hellos.fetch_add(1, Ordering::SeqCst);
        let manner = self.manner();
        match manner.health {
            Health::Good => Ok(Response::new(v1::HelloReply {
                protocol: 1,
                cluster_uuid: manner.cluster.to_owned(),
                node_id: manner.node.to_owned(),
                tails: manner.tails,
                ..v1::HelloReply::default()
            })),
            Health::Failing => Err(Status::unavailable("the node is down")),
            Health::Silent => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl Catalog for StubAgent {
    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::IndexDescription>, Status> {
        Err(Status::unimplemented("not asked in these tests"))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        Err(Status::unimplemented("not asked in these tests"))
    }

    async fn locate(&self, _: Request<v1::LocateRequest>) -> Result<Response<v1::Placement>, Status> {
        self.located.fetch_add(1, Ordering::SeqCst);
        let (primary, replicas) = self
            .manner()
            .copies
            .ok_or_else(|| Status::unavailable("no manager"))?;
        let copy = |node: &str, primary| v1::placement::Copy {
            node_id: node.to_owned(),
            primary,
        };
        let copies: Vec<_> = std::iter::once(copy(primary, true))
            .chain(replicas.iter().map(|node| copy(node, false)))
            .collect();
        let shards = (0..1_000).map(|shard| v1::placement::Shard {
            shard,
            copies: copies.clone(),
        });
        Ok(Response::new(v1::Placement {
            index_uuid: "u".to_owned(),
            shards: shards.collect(),
        }))
    }
}

/// Agents of one leader, and what its followers log. All end with it.
pub(super) struct World {
    certs: TempDir,
    server: ServerTls,
    shutdown: CancellationToken,
    pub(super) log: Log,
    _logging: tracing::subscriber::DefaultGuard,
}

impl World {
    pub(super) fn new() -> World {
        let log = Log::default();
        let written = log.clone();
        // Tests run on one thread each, so this catches what one test logs.
        let logging = tracing::subscriber::set_default(
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(tracing::Level::INFO)
                .with_writer(move || written.clone())
                .finish(),
        );
        let certs = tempfile::tempdir().unwrap();
        certs::init_ca(certs.path()).unwrap();
        let server = ServerTls::new(&identity(&certs, "leader", "127.0.0.1")).unwrap();
        World {
            certs,
            server,
            shutdown: CancellationToken::new(),
            log,
            _logging: logging,
        }
    }

    pub(super) fn client(&self) -> ClientTls {
        ClientTls::new(&identity(&self.certs, "follower", "follower.example")).unwrap()
    }

    /// An agent of cluster `c` that tails beside `node` and sees the primaries on `n1`, replicas on `n2`.
    pub(super) async fn agent(&self, node: &'static str) -> StubAgent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manner = Manner {
            cluster: "c",
            node,
            tails: true,
            health: Health::Good,
            copies: Some(("n1", &["n2"])),
        };
        let agent = StubAgent {
            address: listener.local_addr().unwrap().to_string(),
            manner: Arc::new(Mutex::new(manner)),
            hellos: Arc::default(),
            located: Arc::default(),
        };
        let connections = incoming(listener, self.server.clone(), self.shutdown.clone());
        let router = server()
            .add_service(HandshakeServer::new(agent.clone()))
            .add_service(CatalogServer::new(agent.clone()));
        let end = self.shutdown.clone().cancelled_owned();
        tokio::spawn(router.serve_with_incoming_shutdown(connections, end));
        agent
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn identity(certs: &TempDir, name: &str, san: &str) -> TlsIdentity {
    let sans = [San::parse(san).unwrap()];
    TlsIdentity::load(&certs::issue(certs.path(), name, &sans, certs::LEAF_VALIDITY).unwrap()).unwrap()
}

/// Collects what is logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines that hold all of `words`.
    pub(super) fn lines(&self, words: &[&str]) -> usize {
        let text = self.0.lock().unwrap();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
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
