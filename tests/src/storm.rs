//! The accuracy storm: random writes at full speed over several indices while agents are killed, clusters restarted, the
//! link is cut, slowed, stalled and corrupted, translogs are flushed away and data folders vanish; then everything is
//! compared.
//!
//! One seed decides the writes, the readers and the troubles. What the clock makes of them it cannot repeat exactly, but
//! the same seed makes the same storm.

mod relics;
mod trouble;

use std::fmt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::Release;
use slipstream_testkit::workload::Workload;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::relics::Relics;
use self::trouble::Trouble;
use crate::agents::{Agents, LONG, Options};
use crate::real::Pair;

/// Which readers serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// The translog reader wherever it can.
    Auto,
    /// The window reader alone.
    Window,
    /// Both: the data folder goes away and comes back.
    Turns,
}

impl Readers {
    /// All there are.
    pub const ALL: [Readers; 3] = [Readers::Auto, Readers::Window, Readers::Turns];

    /// What a seed decides.
    pub fn of_seed(seed: u64) -> Readers {
        Readers::ALL[ChaCha8Rng::seed_from_u64(seed ^ 0x7ea7_de75).random_range(0..Readers::ALL.len())]
    }
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Readers::Auto => "translog where it can",
            Readers::Window => "window only",
            Readers::Turns => "both taking turns",
        })
    }
}

/// One storm.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// The engines.
    pub pair: (Release, Release),
    /// Which readers serve.
    pub readers: Readers,
    /// Whether indices begin with the leader's files rather than its documents.
    pub files: bool,
    /// What it repeats by.
    pub seed: u64,
    /// How long the writers write.
    pub duration: Duration,
    /// How often one of the clusters is killed and restarted meanwhile, at most.
    pub restarts: u32,
}

/// The leader's data folder under another name, which may be taken away.
struct Door {
    _folder: TempDir,
    name: PathBuf,
    data: PathBuf,
}

impl Door {
    fn to(data: &Path) -> Door {
        let folder = tempfile::Builder::new()
            .prefix("slipstream-door-")
            .tempdir()
            .expect("a folder");
        let door = Door {
            name: folder.path().join("data"),
            data: data.to_owned(),
            _folder: folder,
        };
        door.set(true);
        door
    }

    fn is_open(&self) -> bool {
        self.name.symlink_metadata().is_ok()
    }

    fn set(&self, open: bool) {
        match (self.is_open(), open) {
            (false, true) => symlink(&self.data, &self.name).expect("a link to the data folder"),
            (true, false) => std::fs::remove_file(&self.name).expect("the link can be removed"),
            _ => {}
        }
    }
}

/// What rages.
struct Scene {
    pair: Pair,
    agents: Agents,
    door: Door,
    names: Vec<String>,
    /// What goes on beside the next troubles.
    beside: JoinSet<()>,
}

impl Storm {
    /// Whether a seed begins with files, in half of the cases.
    pub fn begins_with_files(seed: u64) -> bool {
        ChaCha8Rng::seed_from_u64(seed ^ 0xf11e_5eed).random_bool(0.5)
    }

    /// Rages, and panics with every difference if the indices are not equal in the end.
    pub async fn rage(self) {
        let Storm {
            pair: (leader, target),
            readers,
            files,
            seed,
            duration,
            ..
        } = self;
        let begin = if files { "files" } else { "documents" };
        println!(
            "storm over {leader:?} → {target:?} for {duration:?}, readers: {readers}, beginning with {begin}, seed {seed}"
        );
        let Some(pair) = Pair::start(leader, target).await else {
            return;
        };
        let door = Door::to(&pair.leader.data_path());
        let mut options = Options {
            leader_cluster: match readers {
                Readers::Auto => String::new(),
                Readers::Window => "translog = \"off\"\n".to_owned(),
                Readers::Turns => format!("data_path = \"{}\"\n", door.name.display()),
            },
            ..Options::default()
        };
        if files {
            let path = |folder: PathBuf| format!("snapshot_path = \"{}\"\n", folder.display());
            options.leader_cluster += &path(pair.leader.repo_path());
            options.follower_cluster += &path(pair.target.repo_path());
            options.follower_extra += "[limits]\nsnapshot_from_mb = 0\n";
        }
        let agents = Agents::start(&pair.leader.url(), &pair.target.url(), options).await;
        let workload = Workload::new(seed);
        let names: Vec<String> = workload
            .indices()
            .iter()
            .map(|index| index.name.clone())
            .collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5107_1125);
        workload.create_indices(&pair.leader.client()).await;
        set_thresholds(&pair.leader.client(), &names, &mut random).await;
        let mut scene = Scene {
            pair,
            agents,
            door,
            names,
            beside: JoinSet::new(),
        };
        // Declared after what it takes from, so that it goes first.
        let _relics = Relics::of(seed, &scene);
        let joined = self.make_weather(&mut scene, &workload, &mut random).await;
        self.compare(&scene, joined).await;
        println!("  equal, seed {seed}");
    }

    /// Writes and makes trouble until the time is over; the answer is how many of the indices are followed by then.
    async fn make_weather(&self, scene: &mut Scene, workload: &Workload, random: &mut ChaCha8Rng) -> usize {
        let writers = workload.start(&scene.pair.leader.url());
        // Half of the indices are followed from the first write on, the others join in the middle.
        let names = scene.names.clone();
        let mut joined = names.len().div_ceil(2);
        for name in &names[..joined] {
            scene.agents.follow(&format!("{name}-copy"), name).await;
        }
        let begun = Instant::now();
        let mut restarts_left = self.restarts;
        let mut troubles = 0;
        while begun.elapsed() < self.duration {
            if begun.elapsed() > self.duration / 3 {
                for name in &names[joined..] {
                    scene
                        .agents
                        .follow_eventually(&format!("{name}-copy"), name)
                        .await;
                }
                joined = names.len();
            }
            sleep(Duration::from_millis(random.random_range(100..2500))).await;
            let trouble = Trouble::next(random, self.readers, restarts_left);
            println!("  {:>5.1} s  {trouble:?}", begun.elapsed().as_secs_f64());
            troubles += 1;
            if matches!(trouble, Trouble::RestartLeaderCluster | Trouble::RestartTarget) {
                restarts_left -= 1;
            }
            scene.suffer(&trouble, random).await;
        }
        scene.beside.shutdown().await;
        let summary = writers.stop().await;
        scene.agents.link.resume();
        scene.door.set(true);
        println!("  calm: {summary:?}, {troubles} troubles");
        joined
    }

    async fn compare(&self, scene: &Scene, joined: usize) {
        for name in &scene.names[..joined] {
            let copy = format!("{name}-copy");
            scene.pair.wait_until_equal(name, &copy, LONG).await;
            scene.agents.wait_for_status(&copy, "SYNCING", LONG).await;
            let (reader, why) = match self.readers {
                Readers::Auto | Readers::Turns => ("translog", ""),
                Readers::Window => ("window", "switched off"),
            };
            scene.agents.wait_for_reader(&copy, reader, why, LONG).await;
        }
        for server in [&scene.pair.leader, &scene.pair.target] {
            eventually("no repository is left", LONG, async || {
                match server.client().get("/_snapshot").await {
                    (200, answer) if answer == json!({}) => Ok(()),
                    (status, answer) => Err(format!("{status}: {answer}")),
                }
            })
            .await;
        }
    }
}

/// Small generations and frequent flushes on some of the indices: a tail then has many files to hold on to.
async fn set_thresholds(leader: &Es, names: &[String], random: &mut ChaCha8Rng) {
    for name in names {
        let mut settings = json!({});
        if random.random_bool(0.5) {
            settings["translog.generation_threshold_size"] =
                json!(format!("{}kb", [16, 64, 256][random.random_range(0..3)]));
        }
        if random.random_bool(0.3) {
            settings["translog.flush_threshold_size"] =
                json!(format!("{}kb", [128, 512][random.random_range(0..2)]));
        }
        if settings == json!({}) {
            continue;
        }
        println!("  [{name}] {settings}");
        let body = json!({ "index": settings });
        let (status, answer) = leader.put(&format!("/{name}/_settings"), &body).await;
        assert_eq!(status, 200, "{answer}");
    }
}
