//! One leader cluster as all its readers watch it: shard statistics and metadata, asked for once and shared.
//!
//! A caller says how old an answer may be. Callers that come while a request is under way wait for it, and go on with
//! its answer if it was *begun* late enough for them; so a hundred idle shards cost one small request a tick, and the
//! shards of one index share each fresh reading. What makes an answer usable is when it was begun, never when it came.

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
    polled: tokio::sync::Mutex<Option<Polled>>,
    indices: Mutex<HashMap<IndexName, Arc<IndexWatch>>>,
    /// Versions of the cluster state: the master's, and what the node beside this agent has applied.
    version: tokio::sync::Mutex<Option<(Instant, u64)>>,
    local_version: tokio::sync::Mutex<Option<(Instant, u64)>>,
    /// Pages that shards may read ahead, all together.
    ahead: Arc<Semaphore>,
}

/// How many pages all shards together may read ahead of the one that each of them is entitled to (I8).
const READ_AHEAD: usize = 12;

struct Polled {
    begun: Instant,
    stats: BTreeMap<IndexName, Arc<IndexSeqStats>>,
}

#[derive(Default)]
struct IndexWatch {
    stats: tokio::sync::Mutex<Option<Reading>>,
    state: tokio::sync::Mutex<Option<CachedState>>,
    local_state: tokio::sync::Mutex<Option<CachedState>>,
    /// Fields of documents that were sent; shared by the index's shards.
    familiar: Mutex<Familiar>,
}

/// Cached under the cluster-state version that was current when it was asked for.
struct CachedState {
    version: u64,
    state: Option<Arc<IndexState>>,
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
            polled: tokio::sync::Mutex::default(),
            indices: Mutex::default(),
            version: tokio::sync::Mutex::default(),
            local_version: tokio::sync::Mutex::default(),
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
        let since = Instant::now();
        let watch = self.index(index);
        let mut cached = watch.stats.lock().await;
        if let Some(reading) = cached.as_ref().filter(|r| r.begun >= since) {
            return Ok(reading.clone());
        }
        let begun = Instant::now();
        let mut stats = self.0.cluster.seq_stats(std::slice::from_ref(index)).await?;
        let reading = Reading {
            begun,
            stats: stats.remove(index).map(Arc::new),
        };
        *cached = Some(reading.clone());
        Ok(reading)
    }

    /// Statistics at most `age` old, for idle shards: one request serves all followed indices.
    pub async fn stats_within(&self, index: &IndexName, age: Duration) -> Result<Reading, ClusterError> {
        let since = Instant::now().checked_sub(age);
        let mut polled = self.0.polled.lock().await;
        let fresh = |p: &&Polled| since.is_none_or(|s| p.begun >= s);
        if let Some(p) = polled.as_ref().filter(fresh) {
            return Ok(Reading {
                begun: p.begun,
                stats: p.stats.get(index).cloned(),
            });
        }
        let indices: Vec<IndexName> = self
            .0
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect();
        let begun = Instant::now();
        let stats = self.0.cluster.seq_stats(&indices).await?;
        let stats: BTreeMap<_, _> = stats.into_iter().map(|(name, s)| (name, Arc::new(s))).collect();
        let reading = Reading {
            begun,
            stats: stats.get(index).cloned(),
        };
        *polled = Some(Polled { begun, stats });
        Ok(reading)
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
        let cluster = &self.0.cluster;
        let version = version_within(&self.0.version, age, || cluster.state_version()).await?;
        let watch = self.index(index);
        cached_state(&watch.state, version, || cluster.index_state(index)).await
    }

    /// The same, as the node beside this agent has applied it: good for what that node has written to its translog.
    pub async fn local_state_within(
        &self,
        index: &IndexName,
        age: Duration,
    ) -> Result<Option<Arc<IndexState>>, ClusterError> {
        let cluster = &self.0.cluster;
        let version = version_within(&self.0.local_version, age, || cluster.local_state_version()).await?;
        let watch = self.index(index);
        cached_state(&watch.local_state, version, || cluster.local_index_state(index)).await
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

async fn version_within<F>(
    cache: &tokio::sync::Mutex<Option<(Instant, u64)>>,
    age: Duration,
    ask: impl FnOnce() -> F,
) -> Result<u64, ClusterError>
where
    F: Future<Output = Result<u64, ClusterError>>,
{
    let since = Instant::now().checked_sub(age);
    let mut cached = cache.lock().await;
    if let Some((_, version)) = cached.filter(|(begun, _)| since.is_none_or(|s| *begun >= s)) {
        return Ok(version);
    }
    let begun = Instant::now();
    let version = ask().await?;
    *cached = Some((begun, version));
    Ok(version)
}

async fn cached_state<F>(
    cache: &tokio::sync::Mutex<Option<CachedState>>,
    version: u64,
    ask: impl FnOnce() -> F,
) -> Result<Option<Arc<IndexState>>, ClusterError>
where
    F: Future<Output = Result<Option<IndexState>, ClusterError>>,
{
    let mut cached = cache.lock().await;
    if let Some(cached) = cached.as_ref().filter(|c| c.version >= version) {
        return Ok(cached.state.clone());
    }
    let state = ask().await?.map(Arc::new);
    *cached = Some(CachedState {
        version,
        state: state.clone(),
    });
    Ok(state)
}
