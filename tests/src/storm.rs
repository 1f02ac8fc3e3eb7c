//! The accuracy storm: random writes at full speed over several indices while agents are killed, clusters restarted and
//! the link is cut, slowed, stalled and corrupted; then everything is compared.
//!
//! One seed decides the writes and the troubles. What the clock makes of them it cannot repeat exactly, but the same
//! seed makes the same storm.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use slipstream_testkit::servers::Release;
use slipstream_testkit::workload::Workload;
use tokio::time::{Instant, sleep};

use crate::agents::{Agents, LONG, Options};
use crate::real::Pair;

/// One storm.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// The engines.
    pub pair: (Release, Release),
    /// What it repeats by.
    pub seed: u64,
    /// How long the writers write.
    pub duration: Duration,
    /// How often one of the clusters is killed and restarted meanwhile, at most.
    pub restarts: u32,
}

/// What happens next.
#[derive(Debug)]
enum Trouble {
    KillLeaderAgent,
    KillFollowerAgent,
    KillBoth,
    Cut,
    Slow,
    Narrow,
    Stall,
    Corrupt,
    Pause,
    RestartLeaderCluster,
    RestartTarget,
}

impl Trouble {
    fn next(random: &mut ChaCha8Rng, restarts_left: u32) -> Trouble {
        match random.random_range(0..100_u32) {
            0..16 => Trouble::KillLeaderAgent,
            40..48 => Trouble::KillBoth,
            48..56 => Trouble::Cut,
            56..63 => Trouble::Slow,
            63..70 => Trouble::Narrow,
            70..75 => Trouble::Stall,
            75..82 => Trouble::Corrupt,
            82..88 => Trouble::Pause,
            88..94 if restarts_left > 0 => Trouble::RestartLeaderCluster,
            94..100 if restarts_left > 0 => Trouble::RestartTarget,
            _ => Trouble::KillFollowerAgent,
        }
    }
}

impl Storm {
    /// Rages, and panics with every difference if the indices are not equal in the end.
    pub async fn rage(self) {
        let Storm {
            pair: (leader, target),
            seed,
            duration,
            ..
        } = self;
        println!("storm over {leader:?} → {target:?} for {duration:?}, seed {seed}");
        let Some(mut pair) = Pair::start(leader, target).await else {
            return;
        };
        let mut agents = Agents::start(&pair.leader.url(), &pair.target.url(), Options::default()).await;
        let workload = Workload::new(seed);
        workload.create_indices(&pair.leader.client()).await;
        let writers = workload.start(&pair.leader.url());

        // Half of the indices are followed from the first write on, the others join in the middle.
        let names: Vec<String> = workload
            .indices()
            .iter()
            .map(|index| index.name.clone())
            .collect();
        let (early, late) = names.split_at(names.len().div_ceil(2));
        for name in early {
            agents.follow(&format!("{name}-copy"), name).await;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5107_1125);
        let begun = Instant::now();
        let mut restarts_left = self.restarts;
        let mut joined = false;
        let mut troubles = 0;
        while begun.elapsed() < duration {
            if !joined && begun.elapsed() > duration / 3 {
                joined = true;
                for name in late {
                    agents.follow_eventually(&format!("{name}-copy"), name).await;
                }
            }
            sleep(Duration::from_millis(random.random_range(100..2500))).await;
            let trouble = Trouble::next(&mut random, restarts_left);
            println!("  {:>5.1} s  {trouble:?}", begun.elapsed().as_secs_f64());
            troubles += 1;
            if matches!(trouble, Trouble::RestartLeaderCluster | Trouble::RestartTarget) {
                restarts_left -= 1;
            }
            make(&trouble, &mut pair, &mut agents, &names, &mut random).await;
        }
        let summary = writers.stop().await;
        agents.link.resume();
        println!("  calm: {summary:?}, {troubles} troubles");
        for name in &names {
            let copy = format!("{name}-copy");
            if joined || early.contains(name) {
                pair.wait_until_equal(name, &copy, LONG).await;
                agents.wait_for_status(&copy, "SYNCING", LONG).await;
            }
        }
        println!("  equal, seed {seed}");
    }
}

async fn make(
    trouble: &Trouble,
    pair: &mut Pair,
    agents: &mut Agents,
    names: &[String],
    random: &mut ChaCha8Rng,
) {
    let a_while = Duration::from_millis(random.random_range(200..2500));
    match trouble {
        Trouble::KillLeaderAgent => {
            agents.leader.kill();
            sleep(a_while / 4).await;
            agents.leader.start();
        }
        Trouble::KillFollowerAgent => agents.restart_follower(a_while / 4).await,
        Trouble::KillBoth => {
            agents.leader.kill();
            agents.restart_follower(a_while / 4).await;
            agents.leader.start();
        }
        Trouble::Cut => {
            agents.link.cut();
            sleep(a_while).await;
            agents.link.resume();
        }
        Trouble::Slow => {
            agents
                .link
                .set_latency(Duration::from_millis(random.random_range(20..200)));
            sleep(a_while).await;
            agents.link.resume();
        }
        Trouble::Narrow => {
            agents
                .link
                .set_bandwidth(Some(random.random_range(20_000..400_000)));
            sleep(a_while).await;
            agents.link.resume();
        }
        Trouble::Stall => {
            agents.link.stall();
            sleep(a_while).await;
            agents.link.resume();
        }
        Trouble::Corrupt => {
            agents
                .link
                .corrupt(random.random_range(0.0001..0.01), random.random());
            sleep(a_while).await;
            agents.link.resume();
        }
        Trouble::Pause => {
            let copy = format!("{}-copy", names[random.random_range(0..names.len())]);
            let status = agents.status(&copy).await["status"].clone();
            if status == "SYNCING" || status == "BOOTSTRAPPING" {
                agents.command(&copy, "_pause").await;
                sleep(a_while).await;
                agents.command(&copy, "_resume").await;
            }
        }
        Trouble::RestartLeaderCluster => pair
            .leader
            .restart()
            .await
            .expect("the leader cluster comes back"),
        Trouble::RestartTarget => pair.target.restart().await.expect("the target comes back"),
    }
}
