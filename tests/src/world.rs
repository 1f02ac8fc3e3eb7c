//! Two embedded clusters that can go away and come back, the agents between them, and what an operator would look at.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::agents::{Agents, Options, SOON, binary, free_port};
use serde_json::{Value, json};
use slipstream_sandbox::{Faults, Flavor, Sandbox, SandboxConfig};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::compare;
use tempfile::TempDir;

/// An embedded cluster on a folder of its own, at the same address in every life.
pub struct Engine {
    config: SandboxConfig,
    sandbox: Option<Sandbox>,
    /// A client of it.
    pub es: Es,
    _data: TempDir,
}

impl Engine {
    async fn start(engine: Flavor, name: &str) -> Engine {
        let data = tempfile::tempdir().expect("a folder");
        let config = SandboxConfig {
            engine,
            cluster_name: name.to_owned(),
            data: Some(data.path().to_owned()),
            listen: SocketAddr::from(([127, 0, 0, 1], free_port())),
        };
        let sandbox = Sandbox::start(config.clone()).await.expect("a sandbox");
        let es = Es::new(&sandbox.url());
        Engine {
            config,
            sandbox: Some(sandbox),
            es,
            _data: data,
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.config.listen)
    }

    /// What can be made to go wrong in it, while it runs.
    pub fn faults(&self) -> Faults {
        self.sandbox.as_ref().expect("it runs").faults()
    }

    /// Nobody listens at its address any more.
    pub async fn down(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
    }

    /// It is back, with everything that it acknowledged.
    pub async fn up(&mut self) {
        let config = &self.config;
        let sandbox = eventually("the cluster is back", SOON, async || {
            Sandbox::start(config.clone()).await
        })
        .await;
        self.sandbox = Some(sandbox);
    }

    /// Whether there is such an index.
    pub async fn exists(&self, index: &str) -> bool {
        self.es.get(&format!("/{index}")).await.0 == 200
    }

    /// Documents that a search finds, after a refresh.
    pub async fn count(&self, index: &str) -> u64 {
        self.es.refresh(index).await;
        self.es.get(&format!("/{index}/_count")).await.1["count"]
            .as_u64()
            .unwrap_or_default()
    }

    /// A request that must succeed.
    pub async fn put(&self, path: &str, body: &Value) {
        let (status, answer) = self.es.put(path, body).await;
        assert!(status < 300, "PUT {path}: {status} {answer}");
    }

    /// A call without a body that must succeed.
    pub async fn call(&self, path: &str) {
        let (status, answer) = self.es.post_bytes(path, "").await;
        assert!(status < 300, "POST {path}: {status} {answer}");
    }

    /// A deletion that must succeed.
    pub async fn delete(&self, path: &str) {
        let (status, answer) = self.es.delete(path).await;
        assert!(status < 300, "DELETE {path}: {status} {answer}");
    }

    /// Indexes documents with these numbers as ids.
    pub async fn write(&self, index: &str, ids: std::ops::Range<u32>) {
        self.write_padded(index, ids, 10).await;
    }

    /// The same, each about as large as `bytes`.
    pub async fn write_padded(&self, index: &str, ids: std::ops::Range<u32>, bytes: usize) {
        let pad = "x".repeat(bytes);
        let mut lines = String::new();
        for id in ids {
            lines.push_str(&json!({ "index": { "_id": id.to_string() } }).to_string());
            lines.push('\n');
            lines.push_str(&json!({ "n": id, "pad": pad }).to_string());
            lines.push('\n');
        }
        let (status, answer) = self.es.bulk(&format!("/{index}/_bulk"), lines).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    }
}

/// Everything that a test needs.
pub struct World {
    /// The cluster to read from.
    pub leader: Engine,
    /// The cluster to write to.
    pub target: Engine,
    /// Both agents, the link and the gateway.
    pub agents: Agents,
}

impl World {
    /// Clusters run, agents run, and the leader is registered.
    pub async fn start() -> World {
        let mut world = World::prepare(Options::default()).await;
        world.start_agents().await;
        world
    }

    /// Clusters run; the agents are configured and not started.
    pub async fn prepare(options: Options) -> World {
        let leader = Engine::start(Flavor::Elasticsearch, "leader").await;
        let target = Engine::start(Flavor::OpenSearch, "target").await;
        let agents = Agents::prepare(&leader.url(), &target.url(), &options).await;
        World {
            leader,
            target,
            agents,
        }
    }

    /// Starts both agents' first lives and registers the leader.
    pub async fn start_agents(&mut self) {
        self.start_leader().await;
        self.start_follower().await;
        self.agents.register().await;
    }

    /// Starts the leader agent's first life; it listens when this returns.
    pub async fn start_leader(&mut self) {
        self.agents.leader.start();
        self.agents.leader.logged(&["listening", "follower agents"]).await;
    }

    /// Starts the follower agent; its gateway answers when this returns.
    pub async fn start_follower(&mut self) {
        self.agents.follower.start();
        self.agents.wait_for_gateway().await;
    }

    /// Starts the follower agent although its target is away: it lives, and says that it is not ready.
    pub async fn start_follower_alone(&mut self) {
        self.agents.follower.start();
        let gateway = self.agents.gateway.clone();
        eventually("the follower agent lives", SOON, async || {
            gateway.try_get("/healthz").await
        })
        .await;
        let (status, why) = gateway.try_send("GET", "/readyz", None).await.expect("an answer");
        let why = String::from_utf8_lossy(&why).into_owned();
        assert_eq!(status, 503, "{why}");
        assert!(
            why.contains(&self.target.url()) && why.contains("cannot connect"),
            "{why}"
        );
    }

    /// An index on the leader with one shard and a quick refresh, and these settings and mappings besides.
    pub async fn create(&self, index: &str, settings: Value, mappings: Value) {
        let mut settings = settings;
        settings["number_of_shards"] = json!(1);
        settings["number_of_replicas"] = json!(0);
        settings["refresh_interval"] = json!("100ms");
        let body = json!({ "settings": settings, "mappings": mappings });
        self.leader.put(&format!("/{index}"), &body).await;
    }

    /// A plain leader index with ten documents, and `f` that follows it and has caught up.
    pub async fn following(&self) {
        self.create("lead", json!({}), json!({})).await;
        self.leader.write("lead", 0..10).await;
        self.agents.follow("f", "lead").await;
        self.agents.wait_for_status("f", "SYNCING", SOON).await;
        self.equal("lead", "f").await;
    }

    /// Waits until both indices have the same documents, mapping, settings and aliases.
    pub async fn equal(&self, leader_index: &str, follower_index: &str) {
        eventually(
            &format!("[{follower_index}] equals [{leader_index}]"),
            SOON,
            async || {
                let (leader, target) = (&self.leader.es, &self.target.es);
                let found = compare::indices(leader, leader_index, target, follower_index).await;
                if found.is_empty() {
                    return Ok(());
                }
                Err(format!(
                    "{}\n{}",
                    found.join("\n"),
                    self.agents.status(follower_index).await
                ))
            },
        )
        .await;
    }

    /// The proof that nothing is lost: what was written meanwhile is there, and so is what is written from now on.
    pub async fn goes_on(&self, leader_index: &str, follower_index: &str) {
        self.equal(leader_index, follower_index).await;
        self.leader.write(leader_index, 9_000..9_003).await;
        self.leader.delete(&format!("/{leader_index}/_doc/9001")).await;
        self.equal(leader_index, follower_index).await;
    }

    /// Waits until `f` says that it waits, in these words; it must not be held.
    pub async fn waits(&self, words: &[&str]) -> String {
        let what = eventually(&format!("[f] waits for {words:?}"), SOON, async || {
            let status = self.agents.status("f").await;
            let what = status["waiting_for"].as_str().unwrap_or_default().to_owned();
            let runs = matches!(
                status["status"].as_str(),
                Some("SYNCING" | "BOOTSTRAPPING" | "RUNNING")
            );
            if runs && words.iter().all(|word| what.contains(word)) {
                Ok(what)
            } else {
                Err(status.to_string())
            }
        })
        .await;
        show(&format!("waits: {what}"));
        what
    }

    /// Waits until `f` is `PAUSED` or `FAILED`, for a reason in these words.
    pub async fn held(&self, phase: &str, words: &[&str]) -> String {
        let status = self.agents.wait_for_status("f", phase, SOON).await;
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        for word in words {
            assert!(reason.contains(word), "`{word}` is not in: {reason}");
        }
        show(&format!("{phase}: {reason}"));
        reason
    }

    /// `_start` of `f`, which must be refused in these words.
    pub async fn refused(&self, leader_index: &str, status: u16, kind: &str, words: &[&str]) {
        let (found, answer) = self.agents.try_follow("f", leader_index).await;
        refusal((found, &answer), status, kind, words);
        assert_eq!(
            self.agents.status("f").await["status"],
            "REPLICATION NOT IN PROGRESS"
        );
    }

    /// A file of the agents.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.agents.folder.path().join(name)
    }

    /// Changes an agent's configuration file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let path = self.path(name);
        let text = std::fs::read_to_string(&path).expect("a configuration");
        assert!(text.contains(from), "`{from}` is not in {text}");
        std::fs::write(path, text.replace(from, to)).expect("a configuration");
    }
}

/// An error of the gateway, which must be this one.
pub fn refusal((found, answer): (u16, &Value), status: u16, kind: &str, words: &[&str]) {
    let reason = answer["error"]["reason"].as_str().unwrap_or_default();
    assert_eq!(
        (found, answer["error"]["type"].as_str()),
        (status, Some(kind)),
        "{answer}"
    );
    for word in words {
        assert!(reason.contains(word), "`{word}` is not in: {reason}");
    }
    show(&format!("{status} {kind}: {reason}"));
}

/// Runs an agent that is expected to end by itself: its exit status and what it said.
pub async fn ends(kind: &str, config: &Path, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(binary());
    command
        .arg(kind)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.envs(env.iter().copied());
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::time::timeout(SOON, command.output())
        .await
        .expect("it goes on running")
        .expect("it starts");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    let said = String::from_utf8_lossy(&stderr).into_owned();
    show(&format!("exit {:?}: {said}", status.code()));
    (status.code(), said)
}

/// Waits for a moment that only the clock brings.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// `--nocapture` shows every message that an operator gets, to be read as one.
#[expect(clippy::print_stdout, reason = "what a test has to say")]
fn show(message: &str) {
    println!("{message}");
}
