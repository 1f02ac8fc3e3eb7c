//! A leader agent beside a stub cluster, as its followers see it: over TLS, by status codes and words.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod catalog;
mod handshake;
mod streams;
mod stub;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_cluster::{Cluster, ClusterConfig};
use slipstream_leader::{AllowRule, Leader, LeaderConfig, LeaderError};
use slipstream_model::Pattern;
use slipstream_wire::certs::{self, San};
use slipstream_wire::connect::AgentChannel;
use slipstream_wire::{ClientTls, ServerTls, TlsIdentity, channel};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;

use crate::stub::Stub;

pub(crate) const FOLLOWER: &str = "follower.dr.example";

/// A running agent that lets [`FOLLOWER`] read `logs-*`, a channel to it, and what it logged.
pub(crate) struct Fixture {
    pub(crate) stub: Stub,
    pub(crate) leader: Leader,
    pub(crate) address: String,
    pub(crate) channel: AgentChannel,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<Result<(), LeaderError>>,
    pub(crate) logs: Logs,
    _certs: TempDir,
}

impl Fixture {
    pub(crate) async fn start() -> Fixture {
        Self::start_with(LeaderConfig::default()).await
    }

    pub(crate) async fn start_with(config: LeaderConfig) -> Fixture {
        let logs = Logs::capture();
        let stub = Stub::start().await;
        let certs = tempfile::tempdir().unwrap();
        certs::init_ca(certs.path()).unwrap();
        let identity = |name: &str, san: &str| {
            let files = certs::issue(
                certs.path(),
                name,
                &[San::parse(san).unwrap()],
                certs::LEAF_VALIDITY,
            )
            .unwrap();
            TlsIdentity::load(&files).unwrap()
        };
        let server = ServerTls::new(&identity("leader", "127.0.0.1")).unwrap();
        let client = ClientTls::new(&identity("follower", FOLLOWER)).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cluster = Cluster::new(&ClusterConfig::new(&stub.url)).unwrap();
        let shutdown = CancellationToken::new();
        let leader = Leader::new(
            cluster,
            LeaderConfig {
                allow: vec![rule(&["logs-*"])],
                ..config
            },
            shutdown.clone(),
        );
        let running = leader.clone();
        let serving = tokio::spawn(async move { running.run(listener, server).await });
        let channel = channel(&address, client).unwrap();
        Fixture {
            stub,
            leader,
            address,
            channel,
            shutdown,
            serving,
            logs,
            _certs: certs,
        }
    }
}

/// Lets [`FOLLOWER`] read what matches.
pub(crate) fn rule(indices: &[&str]) -> AllowRule {
    AllowRule {
        identity: FOLLOWER.to_owned(),
        indices: indices.iter().map(|i| Pattern::new(*i)).collect(),
    }
}

/// Waits for what must come; how long is only a bound for a test that fails.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), future).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come within 20 seconds"))
}

/// What was logged on this thread, which is all of a test's runtime, until it is dropped.
pub(crate) struct Logs {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Logs {
    fn capture() -> Logs {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink(text.clone());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || sink.clone())
            .finish();
        Logs {
            text,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The lines that hold all of `words`.
    pub(crate) fn lines(&self, words: &[&str]) -> usize {
        let text = self.text.lock().unwrap();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| words.iter().all(|w| line.contains(w)))
            .count()
    }
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
