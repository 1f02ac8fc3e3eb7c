//! Real servers for tests: provisioned once, started in seconds, gone when the test ends, however it ends.
//!
//! ```no_run
//! # async fn example() {
//! use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
//! let Some(mut server) = or_skip(Server::start(Release::OpenSearch2_19_1, ServerConfig::default()).await) else {
//!     return;
//! };
//! server.kill().await;
//! or_skip(server.restart().await);
//! # }
//! ```
//!
//! A server listens on 127.0.0.1 only, on ports that stay its own until it is dropped; its folder is removed then.
//! Should the test process be killed, the kernel kills its servers.

mod account;
mod cluster;
mod disk;
mod error;
mod folder;
mod install;
mod java;
mod keeper;
mod launch;
mod ports;
mod release;
mod security;
mod settings;

use std::{
    path::PathBuf,
    process::{Child, ExitStatus},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

pub use self::{
    cluster::Cluster,
    error::{SkipOrError, or_skip},
    release::{Engine, Release},
    security::{ADMIN, ADMIN_PASSWORD, SERVICE_TOKEN},
};
use self::{disk::Disk, folder::Folder, launch::Launch, ports::Port, settings::Place};
use crate::client::Es;

/// Two cores, shared with a compiler: a start that takes 4 s alone may take a minute.
const START_LIMIT: Duration = Duration::from_mins(3);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Starts are tried again where a foreign process took a port between our look and the server's.
const PORT_TRIES: usize = 3;

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Largest heap in MiB. 512 is enough for some hundred thousand small documents.
    pub heap_mb: u32,
    /// The cluster's name.
    pub cluster_name: String,
    /// The node's name, unique within its cluster.
    pub node_name: String,
    /// Further lines of the configuration file: key, and value as YAML.
    pub settings: Vec<(String, String)>,
    /// The transport address of a node of the cluster to join; alone where empty.
    pub join: Option<String>,
    /// Whether the node may be elected master. A joining node usually should not: of two that may, either's death
    /// can leave the other without a majority.
    pub master_eligible: bool,
    /// Start fast with a JVM that never optimises much (`true`, for tests), or run as in production (for benchmarks).
    pub fast_start: bool,
    /// The data folder is a disk of its own with this many MiB, which [`Server::fill_disk`] fills.
    pub disk_mb: Option<u32>,
    /// Whether the server checks who its callers are. OpenSearch then speaks https.
    pub secured: bool,
    /// Users of a secured Elasticsearch beside the administrator, with his password and a role of their own each. (These releases lack
    /// a module that the engine keeps users in; files do without.)
    pub users: Vec<(String, Value)>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            heap_mb: 512,
            cluster_name: "slipstream-test".to_owned(),
            node_name: "node-0".to_owned(),
            settings: Vec::new(),
            join: None,
            master_eligible: true,
            fast_start: true,
            disk_mb: None,
            secured: false,
            users: Vec::new(),
        }
    }
}

impl ServerConfig {
    /// The defaults under a cluster name of its own, which is what shows in logs.
    pub fn named(cluster_name: &str) -> Self {
        Self {
            cluster_name: cluster_name.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a line to the configuration file; `value` is YAML.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Switches security on; clients of the server are its administrator.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Adds a user of a secured Elasticsearch, and the role that he has.
    #[must_use]
    pub fn with_user(mut self, name: &str, role: Value) -> Self {
        self.users.push((name.to_owned(), role));
        self
    }

    /// Joins the cluster of `server` as a data node that may not become master.
    #[must_use]
    pub fn joining(mut self, server: &Server, node_name: &str) -> Self {
        self.cluster_name.clone_from(&server.config.cluster_name);
        node_name.clone_into(&mut self.node_name);
        self.join = Some(server.transport_address());
        self.master_eligible = false;
        self
    }
}

/// A running server, or one that was killed and can be restarted on its data.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    config: ServerConfig,
    child: Option<Child>,
    http: Port,
    transport: Port,
    /// Before the folder, which cannot be removed while a disk is in it.
    disk: Option<Disk>,
    folder: Folder,
    /// The CA of its certificate, as PEM.
    ca: Option<Vec<u8>>,
}

impl Server {
    /// Starts `release` and waits until it answers.
    pub async fn start(release: Release, config: ServerConfig) -> Result<Self, SkipOrError> {
        let java = java::for_release(release)?;
        let installed = install::install(release, config.secured).await?;
        let mut tries = 1;
        loop {
            let mut server = Self::prepare(release, config.clone(), java.clone(), installed.clone())?;
            match server.launch_and_wait().await {
                Ok(()) => return Ok(server),
                Err(SkipOrError::Start { log, .. })
                    if tries < PORT_TRIES && log.contains("BindException") =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn prepare(
        release: Release,
        config: ServerConfig,
        java: java::Java,
        installed: install::Installed,
    ) -> Result<Self, SkipOrError> {
        let (http, transport) = (Port::take(&installed.ports)?, Port::take(&installed.ports)?);
        let folder = Folder::make(installed.account, &release.slug(), &installed.home.join("config"))?;
        let place = Place {
            release,
            home: &installed.home,
            folder: folder.path(),
            http: http.number(),
            transport: transport.number(),
        };
        let settings = settings::settings(&config, &place);
        let ca = if config.secured {
            security::write(
                release,
                &installed.home,
                &folder.path().join("config"),
                &config.users,
            )?
        } else {
            None
        };
        let file = match release.engine() {
            Engine::OpenSearch => folder.path().join("config/opensearch.yml"),
            Engine::Elasticsearch => folder.path().join("config/elasticsearch.yml"),
        };
        std::fs::write(&file, settings::as_yaml(&settings))
            .map_err(|source| SkipOrError::file("write", file, source))?;
        let mount = |megabytes| Disk::mount(&folder.path().join("data"), megabytes);
        let disk = config.disk_mb.map(mount).transpose()?;
        folder.hand_over(installed.account)?;
        let launch = Launch {
            release,
            java,
            heap_mb: config.heap_mb,
            fast_start: config.fast_start,
            folder: folder.path().to_owned(),
            installed,
            settings,
        };
        Ok(Self {
            launch,
            config,
            child: None,
            http,
            transport,
            disk,
            folder,
            ca,
        })
    }

    async fn launch_and_wait(&mut self) -> Result<(), SkipOrError> {
        self.child = Some(self.launch.spawn()?);
        let deadline = Instant::now() + START_LIMIT;
        let client = self.client();
        loop {
            if let Some(status) = self.exited() {
                self.child = None;
                return Err(self.start_error(format!("it ended with {status}")));
            }
            if let Ok((200, _)) = client.try_get("/_cluster/health?master_timeout=1s").await {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = self.start_error(format!("no answer after {} s", START_LIMIT.as_secs()));
                self.kill().await;
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn start_error(&self, reason: String) -> SkipOrError {
        SkipOrError::Start {
            release: self.release().name(),
            reason,
            log: self.log_tail(30),
        }
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// `http://127.0.0.1:PORT`, the same over restarts; `https` where the server has a certificate.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.http.number())
    }

    /// The CA of its certificate, as PEM, where it has one.
    pub fn ca_pem(&self) -> Option<&[u8]> {
        self.ca.as_deref()
    }

    /// `127.0.0.1:PORT` for other nodes, the same over restarts.
    pub fn transport_address(&self) -> String {
        format!("127.0.0.1:{}", self.transport.number())
    }

    /// What runs here.
    pub fn release(&self) -> Release {
        self.launch.release
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        &self.config.node_name
    }

    /// The JVM's process id; `None` while the server is down.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The node's `path.data`.
    pub fn data_path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The node's configuration folder.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Fills the disk of [`ServerConfig::disk_mb`] to its last byte.
    pub fn fill_disk(&self) -> Result<(), SkipOrError> {
        self.disk.as_ref().map_or(Ok(()), Disk::fill)
    }

    /// Makes room on it again.
    pub fn empty_disk(&self) -> std::io::Result<()> {
        self.disk.as_ref().map_or(Ok(()), Disk::make_room)
    }

    /// The folder in the node's `path.repo`, for snapshot repositories of type `fs`.
    pub fn repo_path(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// A client for this server, its administrator where it has security.
    pub fn client(&self) -> Es {
        let client = Es::trusting(&self.url(), self.ca_pem());
        if self.config.secured {
            client.as_user(ADMIN, ADMIN_PASSWORD)
        } else {
            client
        }
    }

    /// Where everything that the server printed is written to.
    pub fn log_path(&self) -> PathBuf {
        self.launch.log_path()
    }

    /// The last lines that the server printed.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read(self.launch.log_path()).unwrap_or_default();
        tail(&String::from_utf8_lossy(&log), lines)
    }

    /// Ends the server as a power cut would, SIGKILL, and waits until it is gone. Nothing happens if it is down.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = tokio::task::spawn_blocking(move || child.wait()).await;
        }
    }

    /// Ends the server if it runs (SIGKILL) and starts it on the same data and ports; waits until it answers.
    pub async fn restart(&mut self) -> Result<(), SkipOrError> {
        self.kill().await;
        let mut tries = 1;
        loop {
            match self.launch_and_wait().await {
                Err(SkipOrError::Start { log, .. })
                    if tries < PORT_TRIES && log.contains("BindException") =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Ends the server in an orderly way (SIGTERM), its data flushed and its connections closed; SIGKILL after 30 s.
    /// It can be restarted.
    pub async fn shut_down(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while self.child.is_some() && self.exited().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill().await;
    }

    /// Ends the server in an orderly way and removes its folder.
    pub async fn stop(mut self) {
        self.shut_down().await;
    }

    /// Stops the server's clock (SIGSTOP): its connections stay open and nothing answers, until [`Server::thaw`].
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self
            .pid()
            .and_then(|pid| rustix::process::Pid::from_raw(pid as i32));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
