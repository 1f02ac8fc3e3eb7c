//! One leader cluster as all its readers watch it: shard statistics and metadata, asked for once and shared.
//!
//! A caller says how old an answer may be. Callers that come while a request is under way wait for it, and go on with
//! its answer if it was *begun* late enough for them; so a hundred idle shards cost one small request a tick, and the
//! shards of one index share each fresh reading. What makes an answer usable is when it was begun, never when it came. A
//! failure is shared by those who waited for it: with a node that hangs, each of a hundred shards would else wait for a
//! deadline of its own, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slipstream_cluster::{Cluster, ClusterError, IndexSeqStats, IndexState};
use slipstream_model::IndexName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::tail::Familiar;

/// A shared view of one leader cluster. Cheap to clone.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    /// Indices that readers follow, with how many readers each has: an idle poll asks for all of them at once.
    followed: Mutex<BTreeMap<IndexName, usize>>,
    polled: Shared<Arc<BTreeMap<IndexName, Arc<IndexSeqStats>>>>,
    indices: Mutex<HashMap<IndexName, Arc<IndexWatch>>>,
    /// Versions of the cluster state: the master's, and what the node beside this agent has applied.
    version: Shared<u64>,
    local_version: Shared<u64>,
    /// Pages that shards may read ahead, all together.
    ahead: Arc<Semaphore>,
}

/// How many pages all shards together may read ahead of the one that each of them is entitled to (I8).
const READ_AHEAD: usize = 12;

#[derive(Default)]
struct IndexWatch {
    stats: Shared<Option<Arc<IndexSeqStats>>>,
    state: StateCache,
    local_state: StateCache,
    /// Fields of documents that were sent; shared by the index's shards.
    familiar: Mutex<Familiar>,
}

/// A state, cached under the cluster-state version that was current when it was asked for.
#[derive(Default)]
struct StateCache(tokio::sync::Mutex<Option<Asked<u64, Option<Arc<IndexState>>>>>);

/// What was asked last: an answer that is good from `since` on, or a failure.
struct Asked<S, T> {
    since: S,
    ended: Instant,
    outcome: Result<T, ClusterError>,
}

impl<S: PartialOrd, T: Clone> Asked<S, T> {
    /// The outcome, for one who came then and needs it from `since` on. Only who waited for a failure has to do with it.
    fn good_for(&self, came: Instant, since: &S) -> Option<Result<T, ClusterError>> {
        let good = self.since >= *since && (self.outcome.is_ok() || self.ended >= came);
        good.then(|| self.outcome.clone())
    }
}

/// One question's latest answer, with the time when it was begun.
struct Shared<T>(tokio::sync::Mutex<Option<Asked<Instant, T>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared(tokio::sync::Mutex::default())
    }
}

impl<T: Clone> Shared<T> {
    /// An answer that was begun `age` before this call at the earliest.
    async fn within<F>(&self, age: Duration, ask: impl FnOnce() -> F) -> Result<(Instant, T), ClusterError>
    where
        F: Future<Output = Result<T, ClusterError>>,
    {
        let came = Instant::now();
        let since = came.checked_sub(age).unwrap_or(came);
        let mut last = self.0.lock().await;
        if let Some(asked) = last.as_ref()
            && let Some(outcome) = asked.good_for(came, &since)
        {
            return Ok((asked.since, outcome?));
        }
        let begun = Instant::now();
        let outcome = ask().await;
        *last = Some(Asked {
            since: begun,
            ended: Instant::now(),
            outcome: outcome.clone(),
        });
        Ok((begun, outcome?))
    }
}

impl StateCache {
    /// The state of this version of the cluster state or a later one.
    async fn of<F>(
        &self,
        version: u64,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Arc<IndexState>>, ClusterError>
    where
        F: Future<Output = Result<Option<IndexState>, ClusterError>>,
    {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        if let Some(outcome) = last.as_ref().and_then(|asked| asked.good_for(came, &version)) {
            return outcome;
        }
        let outcome = ask().await.map(|state| state.map(Arc::new));
        *last = Some(Asked {
            since: version,
            ended: Instant::now(),
            outcome: outcome.clone(),
        });
        outcome
    }
}

/// Statistics of an index's shards with the time bracket in which they were true.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Taken after this.
    pub begun: Instant,
    /// `None`: the index is missing or closed.
    pub stats: Option<Arc<IndexSeqStats>>,
}

/// A reader's interest in an index; dropping it ends the interest.
pub struct Following {
    watch: Watch,
    index: IndexName,
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followed = self
            .watch
            .0
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(readers) = followed.get_mut(&self.index) {
            *readers -= 1;
            if *readers == 0 {
                followed.remove(&self.index);
                self.watch
                    .0
                    .indices
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&self.index);
            }
        }
    }
}

impl Watch {
    /// A view of `cluster`; nothing is asked yet.
    pub fn new(cluster: Cluster) -> Self {
        Watch(Arc::new(Inner {
            cluster,
            followed: Mutex::default(),
            polled: Shared::default(),
            indices: Mutex::default(),
            version: Shared::default(),
            local_version: Shared::default(),
            ahead: Arc::new(Semaphore::new(READ_AHEAD)),
        }))
    }

    /// The cluster that is watched.
    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// Leave to read one page ahead, while the answer lives; `None` if other shards have taken all there is. Nobody waits
    /// for it: a shard without reads its pages one after the other, so a stalled follower never holds up another one.
    pub fn read_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.ahead).try_acquire_owned().ok()
    }

    /// Includes an index in the shared polls for as long as the answer lives.
    pub fn follow(&self, index: &IndexName) -> Following {
        let mut followed = self.0.followed.lock().unwrap_or_else(PoisonError::into_inner);
        *followed.entry(index.clone()).or_default() += 1;
        Following {
            watch: self.clone(),
            index: index.clone(),
        }
    }

    /// Statistics asked for after this call began, for rounds that need to know what is acknowledged *now*.
    pub async fn stats_now(&self, index: &IndexName) -> Result<Reading, ClusterError> {
        let watch = self.index(index);
        let ask = || async {
            let mut stats = self.0.cluster.seq_stats(std::slice::from_ref(index)).await?;
            Ok(stats.remove(index).map(Arc::new))
        };
        let (begun, stats) = watch.stats.within(Duration::ZERO, ask).await?;
        Ok(Reading { begun, stats })
    }

    /// Statistics at most `age` old, for idle shards: one request serves all followed indices.
    pub async fn stats_within(&self, index: &IndexName, age: Duration) -> Result<Reading, ClusterError> {
        let ask = || async {
            let indices: Vec<IndexName> = self
                .0
                .followed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .keys()
                .cloned()
                .collect();
            let stats = self.0.cluster.seq_stats(&indices).await?;
            let stats = stats.into_iter().map(|(name, s)| (name, Arc::new(s)));
            Ok(Arc::new(stats.collect::<BTreeMap<_, _>>()))
        };
        let (begun, polled) = self.0.polled.within(age, ask).await?;
        let stats = polled.get(index).cloned();
        Ok(Reading { begun, stats })
    }

    /// The version of the elected master's cluster state, at most `age` old: while it stays, so does all metadata.
    pub async fn state_version_within(&self, age: Duration) -> Result<u64, ClusterError> {
        let (_, version) = self
            .0
            .version
            .within(age, || self.0.cluster.state_version())
            .await?;
        Ok(version)
    }

    /// The index's state (metadata versions, primary terms) at most `age` old; `None` where it does not exist.
    ///
    /// Asks for the cluster state's version first and for the index only if that moved. The elected master answers,
    /// not the nearest node: a primary acknowledges an operation only after the master committed the mapping that it
    /// needs, while another node may learn of it later.
    pub async fn state_within(
        &self,
        index: &IndexName,
        age: Duration,
    ) -> Result<Option<Arc<IndexState>>, ClusterError> {
        let version = self.state_version_within(age).await?;
        let watch = self.index(index);
        let ask = || self.0.cluster.index_state(index);
        watch.state.of(version, ask).await
    }

    /// The same, as the node beside this agent has applied it: good for what that node has written to its translog. With the
    /// time from which on that is so.
    pub async fn local_state_within(
        &self,
        index: &IndexName,
        age: Duration,
    ) -> Result<(Instant, Option<Arc<IndexState>>), ClusterError> {
        let (begun, version) = self.local_version(age).await?;
        let (cluster, watch) = (&self.0.cluster, self.index(index));
        let ask = || cluster.local_index_state(index);
        Ok((begun, watch.local_state.of(version, ask).await?))
    }

    /// The version of the cluster state that the node beside this agent has applied, at most `age` old.
    pub(crate) async fn local_version_within(&self, age: Duration) -> Result<u64, ClusterError> {
        Ok(self.local_version(age).await?.1)
    }

    async fn local_version(&self, age: Duration) -> Result<(Instant, u64), ClusterError> {
        let ask = || self.0.cluster.local_state_version();
        self.0.local_version.within(age, ask).await
    }

    /// The fields that documents of an index had so far.
    pub(crate) fn familiar<T>(&self, index: &IndexName, look: impl FnOnce(&mut Familiar) -> T) -> T {
        let watch = self.index(index);
        let mut familiar = watch.familiar.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut familiar)
    }

    fn index(&self, index: &IndexName) -> Arc<IndexWatch> {
        let mut indices = self.0.indices.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(indices.entry(index.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use slipstream_cluster::ErrorKind;
    use tokio::time::{advance, sleep};

    use super::*;

    /// A question that takes as long as a node that hangs is waited for, and fails while it is to.
    #[derive(Default)]
    struct Question {
        shared: Shared<u32>,
        asked: AtomicU32,
    }

    const DEADLINE: Duration = Duration::from_secs(30);

    impl Question {
        async fn get(&self, age: Duration, fails: bool) -> Result<u32, ErrorKind> {
            let ask = || async {
                sleep(DEADLINE).await;
                let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                let failure = || ClusterError::new(ErrorKind::Unknown, "http://h:9200", "no answer in time");
                if fails { Err(failure()) } else { Ok(asked) }
            };
            let answer = self.shared.within(age, ask).await;
            answer.map(|(_, value)| value).map_err(|error| error.kind)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_shards_wait_for_a_node_that_hangs_no_longer_than_two() {
        let question = Question::default();
        let begun = Instant::now();
        let shard = |number: u32| {
            let question = &question;
            async move {
                sleep(Duration::from_millis(100) * number).await;
                question.get(Duration::from_secs(1), true).await
            }
        };
        let answers = join_all((0..100).map(shard)).await;
        assert!(answers.iter().all(|answer| *answer == Err(ErrorKind::Unknown)));
        assert_eq!(begun.elapsed(), DEADLINE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_after_a_failure_asks_anew() {
        let question = Question::default();
        assert_eq!(question.get(DEADLINE, true).await, Err(ErrorKind::Unknown));
        advance(Duration::from_millis(1)).await;
        assert_eq!(question.get(DEADLINE * 2, false).await, Ok(2));
        assert_eq!(
            question.get(DEADLINE * 2, true).await,
            Ok(2),
            "what is fresh enough is taken"
        );
        assert_eq!(question.get(Duration::ZERO, false).await, Ok(3));
    }
}
