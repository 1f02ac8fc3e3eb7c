//! A leader agent and a follower agent, processes of their own as in production, over mutual TLS.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::relay::Relay;
use crate::rest::{Rest, until};
use crate::world::{Cluster, World};

/// What the agents call their leader.
pub(crate) const ALIAS: &str = "leader-cluster";

/// How the leader agent reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reader {
    /// By searching, as with a cluster on another host: `translog = "off"`.
    #[default]
    Window,
    /// The leader's translog files, and windows only where those do not reach: `translog = "on"`.
    Translog,
}

impl Reader {
    /// How a shard's status begins that it serves.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reader::Window => "window",
            Reader::Translog => "translog",
        }
    }

    fn mode(self) -> &'static str {
        match self {
            Reader::Window => "off",
            Reader::Translog => "on",
        }
    }
}

/// What differs between measurements.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    /// How the leader is read.
    pub(crate) reader: Reader,
    /// The follower agent's `limits.refresh_ms`; its default, the index's own rhythm, where there is none.
    pub(crate) refresh_ms: Option<u32>,
    /// Whether indices begin with the leader's files.
    pub(crate) files: bool,
    /// Whether a counting relay is between the agents.
    pub(crate) relay: bool,
    /// Whether the gateway passes other requests on to the target.
    pub(crate) proxy: bool,
}

impl Setup {
    /// Indices begin with the leader's files, however small they are.
    pub(crate) fn with_files() -> Setup {
        Setup {
            files: true,
            ..Setup::default()
        }
    }
}

/// Both agents. They end when this is dropped.
pub(crate) struct Agents {
    /// Beside the leader cluster.
    pub(crate) leader: Agent,
    /// Beside the target.
    pub(crate) follower: Agent,
    /// Between them, if it was asked for.
    pub(crate) relay: Option<Relay>,
    gateway: Rest,
    // Last: it is removed after the agents have ended.
    _folder: TempDir,
}

impl Agents {
    /// Starts both and registers the leader.
    pub(crate) async fn start(world: &World, setup: Setup) -> Result<Agents> {
        let folder = tempfile::Builder::new().prefix("slipstream-bench-").tempdir()?;
        let binary = &world.binary;
        certify(binary, folder.path())?;
        let (leader_at, gateway_at) = (free_address()?, free_address()?);
        let tls = |name: &str| {
            format!(
                "[tls]\ncert_file = \"certs/{name}.pem\"\nkey_file = \"certs/{name}.key\"\nca_file = \"certs/ca.pem\"\n"
            )
        };
        let snapshots = |cluster: &Cluster| {
            let path = cluster.repo_path();
            if setup.files {
                format!("snapshot_path = \"{}\"\n", path.display())
            } else {
                String::new()
            }
        };
        let leader = format!(
            "[cluster]\nurl = \"{}\"\ntranslog = \"{}\"\n{}[listen]\naddress = \"{leader_at}\"\n{}\
             [[allow]]\nidentity = \"follower.test\"\nindices = [\"*\"]\n",
            world.leader.url(),
            setup.reader.mode(),
            snapshots(&world.leader),
            tls("leader"),
        );
        let mut limits = "[limits]\n".to_owned();
        if let Some(ms) = setup.refresh_ms {
            let _ = writeln!(limits, "refresh_ms = {ms}");
        }
        if setup.files {
            limits += "snapshot_from_mb = 0\nrestore_mb_per_s = 100000\n";
        }
        let follower = format!(
            "[cluster]\nurl = \"{}\"\n{}[store]\npath = \"store\"\n[gateway]\naddress = \"{gateway_at}\"\nproxy = {}\n{}{limits}",
            world.target.url(),
            snapshots(&world.target),
            setup.proxy,
            tls("follower"),
        );
        let leader = Agent::start(binary, folder.path(), "leader", &leader)?;
        let follower = Agent::start(binary, folder.path(), "follower", &follower)?;
        let relay = if setup.relay {
            Some(Relay::start(leader_at).await?)
        } else {
            None
        };
        let gateway = Rest::at(&format!("http://{gateway_at}"));
        let mut agents = Agents {
            leader,
            follower,
            relay,
            gateway,
            _folder: folder,
        };
        agents.register(leader_at).await?;
        Ok(agents)
    }

    /// The REST API of the follower agent.
    pub(crate) fn gateway(&self) -> &Rest {
        &self.gateway
    }

    async fn register(&mut self, leader_at: SocketAddr) -> Result<()> {
        let (gateway, leader, follower) = (&self.gateway, &mut self.leader, &mut self.follower);
        until("the gateway", async || {
            leader.must_run()?;
            follower.must_run()?;
            Ok(gateway.get("/readyz").await.ok())
        })
        .await?;
        let seed = self.relay.as_ref().map_or(leader_at, Relay::address).to_string();
        let remotes = json!({ "persistent": { "cluster": { "remote": { ALIAS: { "seeds": [seed] } } } } });
        gateway.put("/_cluster/settings", &remotes).await.map(drop)
    }

    /// Replicates an index. Returns how long it took from `_start` to `SYNCING`.
    pub(crate) async fn follow(&self, follower_index: &str, leader_index: &str) -> Result<Duration> {
        let begun = Instant::now();
        let body = json!({ "leader_alias": ALIAS, "leader_index": leader_index });
        self.gateway
            .put(&format!("/_plugins/_replication/{follower_index}/_start"), &body)
            .await?;
        let path = format!("/_plugins/_replication/{follower_index}/_status");
        let what = format!("[{follower_index}] to be SYNCING");
        let synced = until(&what, async || {
            let status = self.gateway.get(&path).await?;
            match status["status"].as_str() {
                Some("SYNCING") => Ok(Some(begun.elapsed())),
                Some("FAILED" | "PAUSED") => bail!("{status}\n{}", self.follower.log_tail()),
                _ => Ok(None),
            }
        });
        // The leader's side is the likelier to know why not.
        synced.await.with_context(|| self.leader.log_tail())
    }

    /// Holds the leader's files that come, of all indices together, to so many MB a second.
    pub(crate) async fn cap(&self, megabytes: Option<u32>) -> Result<()> {
        const CAP: &str = "plugins.replication.follower.index.recovery.max_bytes_per_sec";
        let value = megabytes.map(|megabytes| format!("{megabytes}mb"));
        let body = json!({ "persistent": { CAP: value } });
        self.gateway.put("/_cluster/settings", &body).await.map(drop)
    }

    /// What the agents say of each shard of a replicated index.
    pub(crate) async fn shards(&self, follower_index: &str) -> Result<Vec<Value>> {
        let mut status = self
            .gateway
            .get(&format!("/_slipstream/v1/indices/{follower_index}"))
            .await?;
        match status["shards"].take() {
            Value::Array(shards) => Ok(shards),
            _ => bail!("[{follower_index}] has no shards: {status}"),
        }
    }

    /// Waits until a reader serves every shard of a replicated index.
    pub(crate) async fn served_by(&self, reader: Reader, follower_index: &str) -> Result<()> {
        let mut last = Vec::new();
        let served = until("every shard to be served", async || {
            last = self.shards(follower_index).await?;
            let all = !last.is_empty() && last.iter().all(|shard| is_served_by(reader, shard));
            Ok(all.then_some(()))
        });
        served.await.with_context(|| {
            let last = Value::from(last);
            format!(
                "[{follower_index}] is not served by the {} reader: {last}",
                reader.name()
            )
        })
    }

    /// Halts the replication of an index.
    pub(crate) async fn pause(&self, follower_index: &str) -> Result<()> {
        let path = format!("/_plugins/_replication/{follower_index}/_pause");
        self.gateway.post(&path, &json!({})).await.map(drop)
    }

    /// Goes on with the replication of an index.
    pub(crate) async fn resume(&self, follower_index: &str) -> Result<()> {
        let path = format!("/_plugins/_replication/{follower_index}/_resume");
        self.gateway.post(&path, &json!({})).await.map(drop)
    }

    /// Ends the replication of an index, and removes it from the target.
    pub(crate) async fn leave(&self, target: &Rest, follower_index: &str) -> Result<()> {
        let path = format!("/_plugins/_replication/{follower_index}/_stop");
        self.gateway.post(&path, &json!({})).await?;
        target.delete_index(follower_index).await
    }
}

/// Whether a shard's status names this reader.
pub(crate) fn is_served_by(reader: Reader, shard: &Value) -> bool {
    let said = shard["reader"].as_str().unwrap_or_default();
    said.starts_with(reader.name())
}

/// How many operations an index has for good on the target, from the first on, by its shards' status.
pub(crate) fn reached(shards: &[Value]) -> u64 {
    let of = |shard: &Value| shard["follower_checkpoint"].as_u64().map_or(0, |last| last + 1);
    shards.iter().map(of).sum()
}

/// One agent.
pub(crate) struct Agent {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Agent {
    fn start(binary: &Path, folder: &Path, name: &'static str, config: &str) -> Result<Agent> {
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, config)?;
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = Command::new(binary)
            .arg(name)
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start `{} {name}`", binary.display()))?;
        Ok(Agent { name, child, log })
    }

    /// Its process.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the {} agent ended with {status}\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Its store is thrown away, so nothing is lost by an abrupt end.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Makes certificates with the product's own command.
fn certify(binary: &Path, folder: &Path) -> Result<()> {
    let certs = folder.join("certs").display().to_string();
    for arguments in [
        ["init", &certs].as_slice(),
        &["issue", &certs, "leader", "--san", "127.0.0.1"],
        &["issue", &certs, "follower", "--san", "follower.test"],
    ] {
        let output = Command::new(binary).arg("certs").args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`slipstream certs {}` failed: {said}",
            arguments.join(" ")
        );
    }
    Ok(())
}

/// An address that is free now, and taken at once by the agent that gets it.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
