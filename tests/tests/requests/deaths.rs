//! Somebody dies in the middle of a call.

use std::time::Duration;

use slipstream_sandbox::Endpoint;
use slipstream_testkit::client::Es;
use slipstream_testkit::servers::{Release, or_skip};
use slipstream_tests::agents::{Agents, Options};
use slipstream_tests::deaths::{Call, Stage, Who, in_the_middle, prepare};
use slipstream_tests::real::Pair;
use slipstream_tests::world::World;

/// Real servers, with agents between them.
struct Real {
    pair: Pair,
    agents: Agents,
}

impl Stage for Real {
    fn agents(&self) -> &Agents {
        &self.agents
    }

    fn leader(&self) -> Es {
        self.pair.leader.client()
    }

    fn target(&self) -> Es {
        self.pair.target.client()
    }

    async fn dies(&mut self, who: Who) {
        let server = match who {
            Who::FollowerAgent => return self.agents.restart_follower(Duration::ZERO).await,
            Who::LeaderAgent => return self.agents.leader.crash(),
            Who::Leader => &mut self.pair.leader,
            Who::Target => &mut self.pair.target,
        };
        or_skip(server.restart().await).expect("a server that has run before");
    }
}

fn nobody_panicked(agents: &Agents) {
    for log in [agents.follower.log(), agents.leader.log()] {
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_whose_middle_somebody_dies_can_be_made_again() {
    let mut world = World::start().await;
    prepare(&world.leader()).await;
    for who in [Who::FollowerAgent, Who::LeaderAgent, Who::Leader, Who::Target] {
        for after in [5, 40, 120] {
            for call in Call::ALL {
                // Slow enough that the death comes in the middle. Faults go with the engine's life.
                let slow = Duration::from_millis(15);
                world.target.faults().delay(Endpoint::All, slow, slow);
                in_the_middle(&mut world, call, who, Duration::from_millis(after)).await;
                world.target.faults().clear();
            }
        }
    }
    nobody_panicked(&world.agents);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_can_one_between_real_servers() {
    let release = Release::OpenSearch2_19_1;
    let Some(pair) = Pair::start(release, release).await else {
        return;
    };
    let agents = Agents::start(&pair.leader.url(), &pair.target.url(), Options::default()).await;
    let mut real = Real { pair, agents };
    prepare(&real.leader()).await;
    for who in [Who::FollowerAgent, Who::LeaderAgent, Who::Leader, Who::Target] {
        // A server takes its time to come back, and to it a bulk call is no more than the calls for one index.
        let agent = matches!(who, Who::FollowerAgent | Who::LeaderAgent);
        for call in Call::ALL.into_iter().filter(|call| agent || !call.is_bulk()) {
            in_the_middle(&mut real, call, who, Duration::from_millis(20)).await;
        }
    }
    nobody_panicked(&real.agents);
}
