//! What stands for the whole run: two clusters, and the binary that agents are started from.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use slipstream_testkit::servers::{Server, ServerConfig, SkipOrError};

use crate::args::Args;
use crate::cores::{Apart, Halves};
use crate::documents::Length;
use crate::load;
use crate::output::aside;
use crate::process::Process;
use crate::rest::Rest;

/// Heap of each server in MiB: enough for a million small documents, and not more than the machine has.
pub(crate) const HEAP_MB: u32 = 1024;

/// The clusters and the binary.
pub(crate) struct World {
    /// Where documents are written.
    pub(crate) leader: Cluster,
    /// Where they arrive.
    pub(crate) target: Cluster,
    /// The agents' binary.
    pub(crate) binary: PathBuf,
    /// Cores for each side; `None` where all is to share them.
    halves: Option<Halves>,
    names: AtomicU32,
}

/// One server.
pub(crate) struct Cluster {
    /// Its REST API.
    pub(crate) rest: Rest,
    server: Server,
}

impl Cluster {
    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Engine and version.
    pub(crate) fn release(&self) -> &'static str {
        self.server.release().name()
    }

    /// A folder that it may have repositories in.
    pub(crate) fn repo_path(&self) -> PathBuf {
        self.server.repo_path()
    }

    /// Its JVM.
    pub(crate) fn jvm(&self) -> Result<Process> {
        self.server
            .pid()
            .map(Process)
            .with_context(|| format!("{} is down", self.release()))
    }
}

impl World {
    /// Starts both clusters; `None` where this machine cannot run them, which has then been said.
    pub(crate) async fn start(args: &Args) -> Result<Option<World>> {
        let binary = args.binary()?;
        aside(&format!("starting {} and {}", args.pair.0, args.pair.1));
        let config = |name: &str| ServerConfig {
            heap_mb: HEAP_MB,
            fast_start: false,
            ..ServerConfig::named(name)
        };
        let (leader, target) = tokio::join!(
            Server::start(args.pair.0, config("leader")),
            Server::start(args.pair.1, config("target")),
        );
        let cluster = |server: Server| Cluster {
            rest: Rest::at(&server.url()),
            server,
        };
        let (leader, target) = match (leader, target) {
            (Ok(leader), Ok(target)) => (cluster(leader), cluster(target)),
            (Err(SkipOrError::Skip { reason }), _) | (_, Err(SkipOrError::Skip { reason })) => {
                aside(&format!("nothing was measured: {reason}"));
                return Ok(None);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        Ok(Some(World {
            leader,
            target,
            binary,
            halves: if args.shared_cores {
                None
            } else {
                Halves::of_this_machine()?
            },
            names: AtomicU32::new(0),
        }))
    }

    /// A name that no index of this run had before.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// An index on the leader with this many documents, at rest. Returns its name and the bytes of all sources.
    pub(crate) async fn filled(&self, docs: u64, shards: u32) -> Result<(String, u64)> {
        self.filled_with(Length::Line, docs, shards).await
    }

    /// The same with documents that long.
    pub(crate) async fn filled_with(&self, length: Length, docs: u64, shards: u32) -> Result<(String, u64)> {
        let index = self.name("source");
        let bytes = load::fill(&self.leader.rest, &index, docs, shards, length).await?;
        self.leader.rest.count(&index).await?;
        self.calm().await?;
        Ok((index, bytes))
    }

    /// Keeps processes to cores of their own, as if the two sides were on two hosts, if that is wanted and possible. What is on neither
    /// side uses them all.
    pub(crate) fn apart(&self, sides: [&[Process]; 2]) -> Result<Option<Apart>> {
        let halves = self.halves.as_ref();
        halves.map(|halves| halves.keep(sides)).transpose()
    }

    /// Who has which cores, for the report.
    pub(crate) fn cores(&self, one: &str, other: &str) -> String {
        match self.halves {
            Some(_) => format!("{one} on one half of the cores, {other} on the other."),
            None => "All processes share all cores.".to_owned(),
        }
    }

    /// Waits until both clusters have nothing left to do.
    pub(crate) async fn calm(&self) -> Result<()> {
        self.leader.rest.calm().await?;
        self.target.rest.calm().await
    }
}
