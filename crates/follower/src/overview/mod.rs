//! What an operator wants to see beside the indices: the clusters and agents around this one, whose certificates expire
//! when, and how lag went lately.
//!
//! Nothing here has a part in replication. Asking is free of waiting: [`Overview::surroundings`] tells what was found last
//! and sees to it that somebody looks again.

mod history;
mod surroundings;

use std::sync::Arc;
use std::time::Duration;

use slipstream_model::IndexName;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::surroundings::LOOK_AGAIN;

use self::history::History;
use self::surroundings::Lookout;
use crate::agent::Agent;

pub use self::history::{LagHistory, Trend};
pub use self::surroundings::{
    AgentStatus, CertificateStatus, ClusterStatus, LeaderStatus, Surroundings, TargetStatus,
};

/// The watch over one agent.
pub(crate) struct Overview {
    agent: Arc<Agent>,
    history: Arc<History>,
    lookout: Lookout,
    tasks: TaskTracker,
}

impl Overview {
    /// Begins to take samples.
    pub(crate) fn start(agent: Arc<Agent>, shutdown: CancellationToken) -> Self {
        let history = Arc::new(History::default());
        let tasks = TaskTracker::new();
        tasks.spawn(sample(Arc::clone(&agent), Arc::clone(&history), shutdown.clone()));
        Overview {
            agent,
            history,
            lookout: Lookout::new(shutdown),
            tasks,
        }
    }

    /// What was found last; a new look is begun if that is old.
    pub(crate) fn surroundings(&self) -> Surroundings {
        self.lookout.surroundings(&self.agent, &self.tasks)
    }

    /// How lag went: that of one index, or the worst of all. Empty for an index of which nothing is kept.
    pub(crate) fn lag(&self, index: Option<&IndexName>) -> LagHistory {
        self.history.lag(index)
    }

    /// The same in few numbers.
    pub(crate) fn trend(&self, index: &IndexName) -> Trend {
        self.history.trend(index)
    }

    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn sample(agent: Arc<Agent>, history: Arc<History>, shutdown: CancellationToken) {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(history::SAMPLE_SECONDS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => history.record(begun.elapsed().as_secs() / history::SAMPLE_SECONDS, &agent.list()),
            () = shutdown.cancelled() => return,
        }
    }
}
