//! A leader agent and a follower agent as processes of their own, with a faulty link in between.

mod process;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::proxy::Proxy;
use tempfile::TempDir;

use self::process::tail;
pub use self::process::{Process, binary};

/// How long anything may take that a user would call immediate.
pub const SOON: Duration = Duration::from_secs(30);
/// How long a cluster under fire may take.
pub const LONG: Duration = Duration::from_mins(3);

/// The alias under which the suites register their leader.
pub const ALIAS: &str = "leader-cluster";

/// Both agents, the link between them, and the gateway.
pub struct Agents {
    /// Beside the leader cluster.
    pub leader: Process,
    /// Beside the target.
    pub follower: Process,
    /// The link between them.
    pub link: Proxy,
    /// The follower agent's REST API.
    pub gateway: Es,
    /// Certificates, configuration, store, logs.
    pub folder: TempDir,
    leader_port: u16,
    gateway_port: u16,
}

/// What may differ from suite to suite.
pub struct Options {
    /// Indices that the follower may read.
    pub allow: Vec<String>,
    /// More lines for `[cluster]` of `leader.toml`.
    pub leader_cluster: String,
    /// More lines for `[cluster]` of `follower.toml`.
    pub follower_cluster: String,
    /// More lines for `leader.toml`.
    pub leader_extra: String,
    /// More lines for `[gateway]` of `follower.toml`.
    pub gateway: String,
    /// More lines for `follower.toml`.
    pub follower_extra: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            allow: vec!["*".to_owned()],
            leader_cluster: String::new(),
            follower_cluster: String::new(),
            leader_extra: String::new(),
            gateway: String::new(),
            follower_extra: String::new(),
        }
    }
}

impl Agents {
    /// Starts both agents between two clusters and registers the leader.
    pub async fn start(leader_url: &str, follower_url: &str, options: Options) -> Agents {
        let mut agents = Agents::prepare(leader_url, follower_url, &options).await;
        agents.leader.start();
        agents.follower.start();
        agents.wait_for_gateway().await;
        agents.register().await;
        agents
    }

    /// Writes certificates and configuration, and starts nothing.
    ///
    /// # Panics
    /// If the folder cannot be filled.
    pub async fn prepare(leader_url: &str, follower_url: &str, options: &Options) -> Agents {
        let folder = tempfile::Builder::new()
            .prefix("slipstream-agents-")
            .tempdir()
            .expect("a folder");
        let at = |name: &str| folder.path().join(name);
        certs(&["init", &at("certs").display().to_string()]);
        issue(
            folder.path(),
            "leader",
            &["leader.test", "localhost", "127.0.0.1"],
        );
        issue(folder.path(), "follower", &["follower.test"]);
        let (leader_port, gateway_port) = (free_port(), free_port());
        let link = Proxy::start(([127, 0, 0, 1], leader_port).into())
            .await
            .expect("a proxy");

        let leader = leader_config(leader_url, leader_port, options);
        let follower = format!(
            "[cluster]\nurl = \"{follower_url}\"\n{}\n[store]\npath = \"store\"\n\n\
             [gateway]\naddress = \"127.0.0.1:{gateway_port}\"\n{}\n\
             [tls]\ncert_file = \"certs/follower.pem\"\nkey_file = \"certs/follower.key\"\nca_file = \"certs/ca.pem\"\n\n{}",
            options.follower_cluster, options.gateway, options.follower_extra
        );
        std::fs::write(at("leader.toml"), leader).expect("leader.toml");
        std::fs::write(at("follower.toml"), follower).expect("follower.toml");
        Agents {
            leader: Process::new("leader", folder.path(), "leader"),
            follower: Process::new("follower", folder.path(), "follower"),
            link,
            gateway: Es::new(&format!("http://127.0.0.1:{gateway_port}")),
            leader_port,
            gateway_port,
            folder,
        }
    }

    /// Where the leader agent listens.
    pub fn leader_port(&self) -> u16 {
        self.leader_port
    }

    /// Where the gateway listens.
    pub fn gateway_port(&self) -> u16 {
        self.gateway_port
    }

    /// Waits until the gateway answers.
    pub async fn wait_for_gateway(&mut self) {
        let gateway = self.gateway.clone();
        let follower = &mut self.follower;
        eventually("the gateway answers", SOON, async || {
            if !follower.is_running() {
                return Err(format!("the follower agent ended\n{}", tail(&follower.log())));
            }
            match gateway.try_get("/readyz").await {
                Ok((200, _)) => Ok(()),
                Ok((status, answer)) => Err(format!("{status} {answer}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Kills the follower agent and starts it again after a pause; returns when its gateway answers.
    pub async fn restart_follower(&mut self, pause: Duration) {
        self.follower.kill();
        tokio::time::sleep(pause).await;
        self.follower.start();
        self.wait_for_gateway().await;
    }

    /// Prepares one more leader agent under the same certificates, beside the node at `url`; `name` is that of its files.
    ///
    /// # Panics
    /// If the folder cannot be filled.
    pub async fn one_more_leader(&self, name: &str, url: &str) -> LeaderAgent {
        let (port, observe) = (free_port(), free_port());
        let options = Options {
            leader_extra: format!("[observe]\naddress = \"127.0.0.1:{observe}\"\n"),
            ..Options::default()
        };
        let config = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(config, leader_config(url, port, &options)).expect("its configuration");
        LeaderAgent {
            process: Process::new("leader", self.folder.path(), name),
            link: Proxy::start(([127, 0, 0, 1], port).into())
                .await
                .expect("a proxy"),
            observe: Es::new(&format!("http://127.0.0.1:{observe}")),
        }
    }

    /// Registers the leader, through the link, as an operator would.
    pub async fn register(&self) {
        self.register_agents(&[self.link.address().to_string()]).await;
    }

    /// Registers the leader by the addresses of several agents.
    pub async fn register_agents(&self, seeds: &[String]) {
        let body = json!({ "persistent": { "cluster": { "remote": { ALIAS: { "seeds": seeds } } } } });
        let (status, answer) = self.gateway.put("/_cluster/settings", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["acknowledged"], true, "{answer}");
    }

    /// `_start`, which must be acknowledged.
    pub async fn follow(&self, follower_index: &str, leader_index: &str) {
        let (status, answer) = self.try_follow(follower_index, leader_index).await;
        assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    }

    /// `_start` in the middle of trouble: asked again while a side does not answer, which the gateway says with 503.
    pub async fn follow_eventually(&self, follower_index: &str, leader_index: &str) {
        eventually(&format!("[{follower_index}] starts"), LONG, async || {
            let (status, answer) = self.try_follow(follower_index, leader_index).await;
            assert!(status == 200 || status == 503, "{status} {answer}");
            if status == 200 {
                Ok(())
            } else {
                Err(answer.to_string())
            }
        })
        .await;
    }

    /// `_start`, whatever comes.
    pub async fn try_follow(&self, follower_index: &str, leader_index: &str) -> (u16, Value) {
        let body = json!({ "leader_alias": ALIAS, "leader_index": leader_index });
        self.gateway
            .put(&format!("/_plugins/_replication/{follower_index}/_start"), &body)
            .await
    }

    /// `_stop`, `_pause` or `_resume`, which must be acknowledged.
    pub async fn command(&self, index: &str, verb: &str) {
        let (status, answer) = self
            .gateway
            .post(&format!("/_plugins/_replication/{index}/{verb}"), &json!({}))
            .await;
        assert_eq!(
            (status, &answer["acknowledged"]),
            (200, &json!(true)),
            "{verb} {index}: {answer}"
        );
    }

    /// `_status`.
    pub async fn status(&self, index: &str) -> Value {
        self.gateway
            .get(&format!("/_plugins/_replication/{index}/_status"))
            .await
            .1
    }

    /// Waits until the index has this status.
    pub async fn wait_for_status(&self, index: &str, wanted: &str, limit: Duration) -> Value {
        eventually(&format!("[{index}] is {wanted}"), limit, async || {
            let status = self.status(index).await;
            if status["status"] == wanted {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        })
        .await
    }

    /// Waits until every shard of a following index is served by this reader, for a reason with these words in it.
    pub async fn wait_for_reader(&self, index: &str, reader: &str, why: &str, limit: Duration) {
        let begins = format!("{reader}: ");
        eventually(
            &format!("[{index}] is served by the {reader} reader, because \"{why}\""),
            limit,
            async || {
                let details = self.details(index).await;
                let shards = details["shards"].as_array().cloned().unwrap_or_default();
                let serves = |shard: &Value| {
                    let text = shard["reader"].as_str().unwrap_or_default();
                    text.starts_with(&begins) && text.contains(why)
                };
                if !shards.is_empty() && shards.iter().all(serves) {
                    Ok(())
                } else {
                    Err(details.to_string())
                }
            },
        )
        .await;
    }

    /// What the agent itself says of an index, with its shards.
    pub async fn details(&self, index: &str) -> Value {
        self.gateway
            .get(&format!("/_slipstream/v1/indices/{index}"))
            .await
            .1
    }
}

/// One more leader agent, beside a node of its own, with a link of its own.
pub struct LeaderAgent {
    /// The agent.
    pub process: Process,
    /// The link to it.
    pub link: Proxy,
    observe: Es,
}

impl LeaderAgent {
    /// How many streams it serves; `None` while it is down.
    pub async fn sessions(&self) -> Option<u64> {
        let (_, metrics) = self.observe.try_send("GET", "/metrics", None).await.ok()?;
        let metrics = String::from_utf8_lossy(&metrics).into_owned();
        let of = |line: &str| line.strip_prefix("slipstream_sessions ")?.trim().parse().ok();
        Some(metrics.lines().find_map(of).unwrap_or_default())
    }
}

fn leader_config(url: &str, port: u16, options: &Options) -> String {
    let allow: Vec<String> = options.allow.iter().map(|index| format!("{index:?}")).collect();
    format!(
        "[cluster]\nurl = \"{url}\"\n{}\n[listen]\naddress = \"127.0.0.1:{port}\"\n\n\
         [tls]\ncert_file = \"certs/leader.pem\"\nkey_file = \"certs/leader.key\"\nca_file = \"certs/ca.pem\"\n\n\
         [[allow]]\nidentity = \"follower.test\"\nindices = [{}]\n\n{}",
        options.leader_cluster,
        allow.join(", "),
        options.leader_extra
    )
}

/// Issues a certificate with the product's own command.
pub fn issue(folder: &Path, name: &str, sans: &[&str]) {
    let certificates = folder.join("certs").display().to_string();
    let mut arguments = vec!["issue", &certificates, name];
    for san in sans {
        arguments.extend(["--san", san]);
    }
    certs(&arguments);
}

/// Runs `slipstream certs`.
///
/// # Panics
/// If it fails.
pub fn certs(arguments: &[&str]) {
    let output = Command::new(binary())
        .arg("certs")
        .args(arguments)
        .output()
        .expect("the binary runs");
    assert!(
        output.status.success(),
        "certs {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A port for a server that may be down for a while. It is below the ephemeral range, of which an outgoing connection
/// may take any port at any moment, and below the range of the real servers.
///
/// # Panics
/// If none is free.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = (0..10_000)
        .map(|_| rand::random_range(10_000..18_000))
        .find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port");
    given.insert(port);
    port
}
