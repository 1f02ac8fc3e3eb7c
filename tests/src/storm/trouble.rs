//! What may go wrong in a storm, and making it.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use tokio::time::sleep;

use super::{Readers, Scene};
use crate::real::flush_storm;

/// What happens next.
#[derive(Debug)]
pub(super) enum Trouble {
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
    FlushStorm,
    TakeTurns,
}

impl Trouble {
    pub(super) fn next(random: &mut ChaCha8Rng, readers: Readers, restarts_left: u32) -> Trouble {
        if readers == Readers::Turns && random.random_bool(0.35) {
            return Trouble::TakeTurns;
        }
        match random.random_range(0..100_u32) {
            0..14 => Trouble::KillLeaderAgent,
            14..26 => Trouble::FlushStorm,
            42..48 => Trouble::KillBoth,
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

impl Scene {
    /// Makes the trouble and ends it; what takes longer goes on beside the next ones.
    pub(super) async fn suffer(&mut self, trouble: &Trouble, random: &mut ChaCha8Rng) {
        let a_while = Duration::from_millis(random.random_range(200..2500));
        let (agents, pair) = (&mut self.agents, &mut self.pair);
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
                let latency = Duration::from_millis(random.random_range(20..200));
                agents.link.set_latency(latency);
                sleep(a_while).await;
                agents.link.resume();
            }
            Trouble::Narrow => {
                let bandwidth = random.random_range(20_000..400_000);
                agents.link.set_bandwidth(Some(bandwidth));
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
                let copy = format!("{}-copy", self.names[random.random_range(0..self.names.len())]);
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
            Trouble::FlushStorm => {
                let leader = pair.leader.client();
                self.beside.spawn(flush_storm(leader, 2 * a_while));
            }
            Trouble::TakeTurns => self.door.set(!self.door.is_open()),
        }
    }
}
