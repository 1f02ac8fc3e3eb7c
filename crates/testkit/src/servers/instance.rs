//! A server's process with its folder, disk and ports: started, killed, frozen and restarted.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use tokio::time::Instant;

use super::config::ServerConfig;
use super::disk::Disk;
use super::error::SkipOrError;
use super::folder::Folder;
use super::launch::Launch;
use super::ports::Port;
use super::release::{Engine, Release};
use super::security::{ADMIN, ADMIN_PASSWORD};
use super::settings::Place;
use super::{install, java, security, settings};
use crate::aside;
use crate::client::Es;

/// Two cores, shared with a compiler: a start that takes 4 s alone may take a minute.
const START_LIMIT: Duration = Duration::from_mins(3);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Starts are tried again where a foreign process took a port between our look and the server's.
const PORT_TRIES: usize = 3;

/// A running server, or one that was killed and can be restarted on its data.
#[derive(Debug)]
pub struct Instance {
    launch: Launch,
    config: ServerConfig,
    child: Option<Child>,
    http: Port,
    transport: Port,
    /// Both before the folder, which cannot be removed while a disk is in it.
    disk: Option<Disk>,
    repo_disk: Option<Disk>,
    folder: Folder,
    /// The CA of its certificate, as PEM.
    ca: Option<Vec<u8>>,
}

impl Instance {
    /// Starts `release` and waits until it answers.
    pub(crate) async fn start(release: Release, config: ServerConfig) -> Result<Self, SkipOrError> {
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
        let trust = config.trusted_ca.as_deref();
        let trust = trust
            .map(|ca| java.trusting(ca, &folder.path().join("config")))
            .transpose()?;
        let file = match release.engine() {
            Engine::OpenSearch => folder.path().join("config/opensearch.yml"),
            Engine::Elasticsearch => folder.path().join("config/elasticsearch.yml"),
        };
        std::fs::write(&file, settings::as_yaml(&settings))
            .map_err(|source| SkipOrError::file("write", file, source))?;
        let mount = |name, megabytes: Option<u32>| {
            let mount = |megabytes| Disk::mount(&folder.path().join(name), megabytes);
            megabytes.map(mount).transpose()
        };
        let disk = mount("data", config.disk_mb)?;
        let repo_disk = mount("repo", config.repo_mb)?;
        folder.hand_over(installed.account)?;
        let launch = Launch {
            release,
            java,
            heap_mb: config.heap_mb,
            fast_start: config.fast_start,
            folder: folder.path().to_owned(),
            installed,
            settings,
            trust,
        };
        Ok(Self {
            launch,
            config,
            child: None,
            http,
            transport,
            disk,
            repo_disk,
            folder,
            ca,
        })
    }

    async fn launch_and_wait(&mut self) -> Result<(), SkipOrError> {
        self.child = Some(self.launch.spawn()?);
        let begun = Instant::now();
        let deadline = begun + START_LIMIT;
        let client = self.client();
        loop {
            if let Some(status) = self.exited() {
                self.child = None;
                return Err(self.start_error(format!("it ended with {status}")));
            }
            if let Ok((200, _)) = client.try_get("/_cluster/health?master_timeout=1s").await {
                // Where the time of a suite goes.
                let seconds = begun.elapsed().as_secs_f64();
                aside(&format!("{} started in {seconds:.1} s", self.release()));
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

    /// How the process ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
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

    /// How it was started.
    pub(crate) fn config(&self) -> &ServerConfig {
        &self.config
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

    /// Fills the disk of [`ServerConfig::repo_mb`] to its last byte.
    pub fn fill_repo_disk(&self) -> Result<(), SkipOrError> {
        self.repo_disk.as_ref().map_or(Ok(()), Disk::fill)
    }

    /// Makes room on it again.
    pub fn empty_repo_disk(&self) -> std::io::Result<()> {
        self.repo_disk.as_ref().map_or(Ok(()), Disk::make_room)
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

    /// Stops the server's clock (SIGSTOP): its connections stay open and nothing answers, until [`Instance::thaw`].
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

impl Drop for Instance {
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
