//! Two clusters and two agents that have folders for snapshots.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::proxy::Proxy;
use slipstream_testkit::servers::{Release, Server, ServerConfig};
use slipstream_testkit::workload::{StormIndex, Workload};
use slipstream_tests::agents::{ALIAS, Agents, LONG, Options, binary};
use slipstream_tests::real::{Pair, wait_until_equal};

/// Everything that a test needs.
pub(crate) struct World {
    pub(crate) leader: Server,
    pub(crate) target: Server,
    /// Between the follower agent and the target.
    pub(crate) link: Proxy,
    pub(crate) agents: Agents,
}

impl World {
    /// Both agents have folders that their clusters may use, and every index is large enough.
    pub(crate) async fn start(leader: Release, target: Release) -> Option<World> {
        let pair = Pair::start(leader, target).await?;
        let options = World::options(&pair);
        Some(World::of(pair, options).await)
    }

    /// The leader's log is not read.
    pub(crate) async fn of_windows(release: Release) -> Option<World> {
        let pair = Pair::start(release, release).await?;
        let mut options = World::options(&pair);
        options.leader_cluster += "translog = \"off\"\n";
        Some(World::of(pair, options).await)
    }

    /// The same, with servers configured by the caller.
    pub(crate) async fn configured(
        leader: (Release, ServerConfig),
        target: (Release, ServerConfig),
    ) -> Option<World> {
        let pair = Pair::configured(leader, target).await?;
        let options = World::options(&pair);
        Some(World::of(pair, options).await)
    }

    /// The leader agent's folder is none that its cluster may use.
    pub(crate) async fn with_another_leader_folder(release: Release) -> Option<World> {
        let pair = Pair::start(release, release).await?;
        let mut options = World::options(&pair);
        options.leader_cluster = folder_of_snapshots(Path::new("/var/empty"));
        Some(World::of(pair, options).await)
    }

    /// Agents beside these clusters.
    pub(crate) fn options(pair: &Pair) -> Options {
        Options {
            leader_cluster: folder_of_snapshots(&pair.leader.repo_path()),
            follower_cluster: folder_of_snapshots(&pair.target.repo_path()),
            follower_extra: "[limits]\nsnapshot_from_mb = 0\n".to_owned(),
            ..Options::default()
        }
    }

    /// Agents that are configured by the caller.
    pub(crate) async fn of(pair: Pair, options: Options) -> World {
        let target = pair.target.url();
        let target = target.strip_prefix("http://").expect("an address");
        let link = Proxy::start(target.parse().expect("an address"))
            .await
            .expect("a proxy");
        let target = format!("http://{}", link.address());
        let agents = Agents::start(&pair.leader.url(), &target, options).await;
        World {
            leader: pair.leader,
            target: pair.target,
            link,
            agents,
        }
    }

    /// Gives the follower agent another folder of the target's, and further sections, in a new life.
    pub(crate) async fn configure(&mut self, folder: &str, sections: &str) {
        let file = self.agents.follower.config();
        let text = std::fs::read_to_string(file).expect("its configuration");
        let kept = text.split("[snapshots]").next().unwrap_or_default();
        let lines = kept.lines().map(|line| match line.split_once(" = ") {
            Some(("snapshot_path", _)) => format!("snapshot_path = {folder:?}\n"),
            _ => format!("{line}\n"),
        });
        std::fs::write(file, lines.collect::<String>() + sections).expect("its configuration");
        self.agents.restart_follower(Duration::ZERO).await;
    }

    /// `_start` that says what to begin with, whatever comes.
    pub(crate) async fn start_with(&self, follower: &str, leader: &str, how: &str) -> (u16, Value) {
        let body = json!({ "leader_alias": ALIAS, "leader_index": leader, "bootstrap": how });
        let path = format!("/_plugins/_replication/{follower}/_start");
        self.agents.gateway.put(&path, &body).await
    }

    pub(crate) fn source(&self) -> Es {
        self.leader.client()
    }

    pub(crate) fn target(&self) -> Es {
        self.target.client()
    }

    /// Writes of every kind into these indices.
    #[expect(clippy::unused_self, reason = "worlds may differ in what they can take")]
    pub(crate) fn workload(&self, seed: u64, names: &[&str]) -> Workload {
        let indices = names.iter().enumerate().map(|(number, name)| StormIndex {
            name: (*name).to_owned(),
            shards: number as u32 % 3 + 1,
            versions_restart: number % 2 == 0,
        });
        Workload::new(seed).with_indices(indices.collect())
    }

    /// Documents without much to tell, in an index of one shard unless there is one.
    pub(crate) async fn fill(&self, index: &str, documents: u32) {
        let leader = self.source();
        let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0 } });
        let _ = leader.put(&format!("/{index}"), &settings).await;
        for begin in (0..documents).step_by(5_000) {
            let mut lines = String::new();
            for id in begin..documents.min(begin + 5_000) {
                let text = format!("document {id} of [{index}], which says little");
                let _ = writeln!(
                    lines,
                    "{{\"index\":{{\"_id\":\"fill-{id}\"}}}}\n{}",
                    json!({ "text": text })
                );
            }
            let (status, answer) = leader.bulk(&format!("/{index}/_bulk"), lines).await;
            assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
        }
    }

    /// Deletes every `step`th of the documents that [`World::fill`] has made.
    pub(crate) async fn thin_out(&self, index: &str, documents: u32, step: usize) {
        let mut lines = String::new();
        for id in (0..documents).step_by(step) {
            let _ = writeln!(lines, "{{\"delete\":{{\"_id\":\"fill-{id}\"}}}}");
        }
        let (status, answer) = self.source().bulk(&format!("/{index}/_bulk"), lines).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    }

    /// Follows an index by the name `NAME-copy`, until it is in step.
    pub(crate) async fn follow(&self, index: &str) {
        self.agents.follow(&copy(index), index).await;
        self.in_step(index).await;
    }

    /// Waits until the follower of an index is in step.
    pub(crate) async fn in_step(&self, index: &str) {
        self.agents.wait_for_status(&copy(index), "SYNCING", LONG).await;
    }

    /// Follows an index, which must begin like this and become equal.
    pub(crate) async fn begins(&self, index: &str, words: &str) {
        self.follow(index).await;
        self.begun_with(index, words).await;
        self.equal(index).await;
    }

    /// Requires that an index began like this.
    pub(crate) async fn begun_with(&self, index: &str, words: &str) {
        let details = self.agents.details(&copy(index)).await;
        let begun = details["begun_with"].as_str().unwrap_or_default();
        assert!(
            begun.starts_with(words),
            "{details}\n{}\n{}",
            self.agents.leader.log(),
            self.agents.follower.log()
        );
    }

    /// Waits until both sides are equal.
    pub(crate) async fn equal(&self, index: &str) {
        wait_until_equal(&self.source(), index, &self.target(), &copy(index), LONG).await;
    }

    /// Requires that soon no repository, snapshot or file is left on either side.
    pub(crate) async fn nothing_is_left(&self) {
        eventually("nothing is left", LONG, async || self.left().await).await;
    }

    /// What is left, as an error.
    pub(crate) async fn left(&self) -> Result<(), String> {
        for (name, server) in [("leader", &self.leader), ("target", &self.target)] {
            let (status, repositories) = server.client().get("/_snapshot").await;
            if status != 200 || repositories != Value::Object(serde_json::Map::new()) {
                return Err(format!("the {name} has repositories: {status} {repositories}"));
            }
            let files: Vec<_> = std::fs::read_dir(server.repo_path())
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            if !files.is_empty() {
                return Err(format!("the {name} has {files:?}"));
            }
        }
        Ok(())
    }
}

/// What `slipstream doctor` finds, told by the follower agent's file.
pub(crate) async fn doctor(world: &World) -> String {
    let config = world.agents.follower.config().to_owned();
    let run = move || {
        Command::new(binary())
            .arg("doctor")
            .arg("--config")
            .arg(config)
            .output()
    };
    let ran = tokio::task::spawn_blocking(run).await.expect("a task");
    String::from_utf8_lossy(&ran.expect("it runs").stdout).into_owned()
}

/// The follower index's name.
pub(crate) fn copy(index: &str) -> String {
    format!("{index}-copy")
}

fn folder_of_snapshots(folder: &Path) -> String {
    format!("snapshot_path = \"{}\"\n", folder.display())
}
