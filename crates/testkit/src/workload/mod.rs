//! The random writer of the accuracy storm: every kind of change an index can see, at full speed, from a seed.
//!
//! ```no_run
//! # async fn example(leader: &slipstream_testkit::client::Es) {
//! use slipstream_testkit::workload::Workload;
//! let workload = Workload::new(42);
//! workload.create_indices(leader).await;
//! let writers = workload.start(leader.url());
//! // … trouble …
//! let summary = writers.stop().await;
//! assert!(summary.done > 0, "{summary:?}");
//! # }
//! ```
//!
//! A seed repeats every decision of every writer; how the writers' requests interleave, and what a dying server made
//! of the last ones, it cannot repeat. Writers outlive the server's restarts.

mod documents;
mod ids;
mod send;
mod steps;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{SeedableRng, rngs::ChaCha8Rng};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use self::{
    send::Outcome,
    steps::{Decisions, Step},
};
use crate::client::Es;

/// How long a writer tries the same step again while the server is away.
const RETRY_LIMIT: u32 = 300;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// An index of the storm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StormIndex {
    /// Its name.
    pub name: String,
    /// Its number of primary shards.
    pub shards: u32,
    /// Whether tombstones go at once, so that versions restart when a document comes back.
    pub versions_restart: bool,
}

/// The mapping that suits what the writers write, for an index that a test creates by itself.
pub fn mapping() -> Value {
    documents::mapping()
}

/// A plan of random writes.
#[derive(Debug, Clone)]
pub struct Workload {
    seed: u64,
    indices: Vec<StormIndex>,
    writers: u64,
    documents: u32,
    pause: Duration,
    quiet: bool,
    one_cluster: bool,
}

/// What the writers did, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Steps that were answered, single changes refused as conflicts among them.
    pub done: u64,
    /// Steps the server called wrong; few, or the workload itself is at fault.
    pub rejected: u64,
    /// Tries that got no answer.
    pub unanswered: u64,
}

#[derive(Debug, Default)]
struct Counters {
    done: AtomicU64,
    rejected: AtomicU64,
    unanswered: AtomicU64,
}

impl Workload {
    /// Three writers over indices of one, two and five shards and 300 documents each.
    pub fn new(seed: u64) -> Self {
        let indices = [(1, true), (2, false), (5, true)].map(|(shards, versions_restart)| StormIndex {
            name: format!("storm-{shards}"),
            shards,
            versions_restart,
        });
        Self {
            seed,
            indices: indices.to_vec(),
            writers: 3,
            documents: 300,
            pause: Duration::ZERO,
            quiet: false,
            one_cluster: false,
        }
    }

    /// Other indices than the standing ones.
    #[must_use]
    pub fn with_indices(mut self, indices: Vec<StormIndex>) -> Self {
        self.indices = indices;
        self
    }

    /// Another number of writers.
    #[must_use]
    pub fn with_writers(mut self, writers: u64) -> Self {
        self.writers = writers;
        self
    }

    /// Another number of ids per index. Fewer make more conflicts, more make more to compare.
    #[must_use]
    pub fn with_documents(mut self, documents: u32) -> Self {
        self.documents = documents;
        self
    }

    /// A pause of each writer after each step; none by default.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Without refreshes, flushes, merges and changed settings: nothing that the writers ask for makes a change visible to
    /// a search or moves it out of the translog.
    #[must_use]
    pub fn quietly(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Without aliases that name a write index: where leader and follower index are in one cluster, only one of them can be it.
    #[must_use]
    pub fn within_one_cluster(mut self) -> Self {
        self.one_cluster = true;
        self
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The indices that are written to.
    pub fn indices(&self) -> &[StormIndex] {
        &self.indices
    }

    /// Creates the indices, without replicas, with a mapping that has nested fields and fields for odd numbers.
    pub async fn create_indices(&self, client: &Es) {
        for index in &self.indices {
            let mut settings = json!({"number_of_shards": index.shards, "number_of_replicas": 0});
            if index.versions_restart {
                settings["gc_deletes"] = json!("0s");
            }
            let body = json!({"settings": {"index": settings}, "mappings": mapping()});
            let (status, answer) = client.put(&format!("/{}", index.name), &body).await;
            assert_eq!(status, 200, "creating {}: {answer}", index.name);
        }
    }

    /// Starts the writers against the server at `url`.
    pub fn start(&self, url: &str) -> Writers {
        let (stop, stopped) = watch::channel(false);
        let counters = Arc::<Counters>::default();
        let mut tasks = JoinSet::new();
        for number in 0..self.writers {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(number);
            let writer = Writer {
                client: Es::new(url),
                indices: self.indices.iter().map(|index| index.name.clone()).collect(),
                decisions: Decisions::new(random, self.documents, self.quiet, self.one_cluster),
                pause: self.pause,
                counters: counters.clone(),
                stopped: stopped.clone(),
            };
            tasks.spawn(writer.run());
        }
        Writers {
            stop,
            counters,
            tasks,
        }
    }
}

/// Running writers. Dropping them ends them in the middle of a request.
#[derive(Debug)]
pub struct Writers {
    stop: watch::Sender<bool>,
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// What was done so far.
    pub fn summary(&self) -> Summary {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            done: read(&self.counters.done),
            rejected: read(&self.counters.rejected),
            unanswered: read(&self.counters.unanswered),
        }
    }

    /// Lets each writer finish its request and ends it.
    pub async fn stop(mut self) -> Summary {
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        self.summary()
    }
}

struct Writer {
    client: Es,
    indices: Vec<String>,
    decisions: Decisions,
    pause: Duration,
    counters: Arc<Counters>,
    stopped: watch::Receiver<bool>,
}

impl Writer {
    async fn run(mut self) {
        while !*self.stopped.borrow() {
            let (index, step) = self.decisions.next(self.indices.len());
            self.carry_out(index, &step).await;
            if !self.pause.is_zero() {
                self.wait(self.pause).await;
            }
        }
    }

    /// Tries until the server has answered.
    async fn carry_out(&mut self, index: usize, step: &Step) {
        for _ in 0..RETRY_LIMIT {
            let outcome = send::send(&self.client, &self.indices[index], step).await;
            let counter = match outcome {
                Outcome::Done => &self.counters.done,
                Outcome::Rejected => &self.counters.rejected,
                Outcome::Unknown => &self.counters.unanswered,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            if outcome != Outcome::Unknown || *self.stopped.borrow() {
                return;
            }
            self.wait(RETRY_PAUSE).await;
        }
    }

    async fn wait(&mut self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.stopped.wait_for(|stopped| *stopped)).await;
    }
}
