//! The cluster: its identity, its state's version, its indices by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::error::{ApiError, ApiResult};
use crate::faults::Faults;
use crate::index::{Index, SharedIndex, Surroundings};
use crate::persist::{ClusterMeta, IndexMeta, Store, StoreError};
use crate::pit::Pits;
use crate::settings::Flat;
use crate::tasks::Tasks;
use crate::time::CoarseClock;

/// Which engine a sandbox says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// OpenSearch 2.19.1.
    OpenSearch,
    /// Elasticsearch 7.10.2, without its commercial parts: it has no point in time.
    Elasticsearch,
}

impl Flavor {
    /// The version number that the engine tells.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Flavor::OpenSearch => "2.19.1",
            Flavor::Elasticsearch => "7.10.2",
        }
    }

    /// The `index.version.created` of its indices.
    pub(crate) fn created(self) -> &'static str {
        match self {
            Flavor::OpenSearch => "136407927",
            Flavor::Elasticsearch => "7100299",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavor::OpenSearch => "OpenSearch",
            Flavor::Elasticsearch => "Elasticsearch",
        })
    }
}

/// The whole engine.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) flavor: Flavor,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) node: String,
    pub(crate) address: SocketAddr,
    pub(crate) clock: CoarseClock,
    pub(crate) store: Option<Store>,
    pub(crate) faults: Faults,
    pub(crate) tasks: Tasks,
    pub(crate) pits: Pits,
    indices: RwLock<BTreeMap<String, SharedIndex>>,
    settings: Mutex<ClusterSettings>,
    version: AtomicU64,
    moved: watch::Sender<u64>,
}

/// Cluster settings; the transient ones are gone after a restart.
#[derive(Debug, Default, Clone)]
pub(crate) struct ClusterSettings {
    pub(crate) persistent: Flat,
    pub(crate) transient: Flat,
}

impl Cluster {
    /// A cluster with whatever the data folder holds. Each start gives every shard a new primary term, as a restarted
    /// node does.
    pub(crate) fn open(
        flavor: Flavor,
        name: String,
        data: Option<&Path>,
        address: SocketAddr,
    ) -> Result<Cluster, StoreError> {
        let clock = CoarseClock::start();
        let store = data.map(Store::open).transpose()?;
        let saved = store.as_ref().map(Store::cluster).transpose()?.flatten();
        let meta = saved.unwrap_or_else(|| ClusterMeta {
            uuid: random_uuid(),
            node: random_uuid(),
            version: 1,
            persistent: Flat::new(),
        });
        let mut indices = BTreeMap::new();
        if let Some(store) = &store {
            for mut meta in store.indices()? {
                meta.shards.iter_mut().for_each(|s| s.term += 1);
                let path = data.map(Path::to_owned).unwrap_or_default();
                store
                    .save_index(&meta)
                    .map_err(|source| StoreError::Io { path, source })?;
                let index = Index::open(meta, Some(store), clock.now())?;
                indices.insert(index.name.clone(), Arc::new(index));
            }
        }
        let cluster = Cluster {
            flavor,
            name,
            uuid: meta.uuid,
            node: meta.node,
            address,
            clock,
            store,
            faults: Faults::default(),
            tasks: Tasks::default(),
            pits: Pits::default(),
            indices: RwLock::new(indices),
            settings: Mutex::new(ClusterSettings {
                persistent: meta.persistent,
                transient: Flat::new(),
            }),
            version: AtomicU64::new(meta.version),
            moved: watch::Sender::new(meta.version),
        };
        cluster.bump();
        Ok(cluster)
    }

    /// The cluster state's version.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A promise of the next change of the cluster state.
    pub(crate) fn next_version(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Moves the cluster state's version, after the change that it stands for.
    pub(crate) fn bump(&self) {
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        self.save();
        self.moved.send_replace(version);
    }

    fn save(&self) {
        let Some(store) = &self.store else { return };
        let meta = ClusterMeta {
            uuid: self.uuid.clone(),
            node: self.node.clone(),
            version: self.version(),
            persistent: self.settings().persistent.clone(),
        };
        if let Err(error) = store.save_cluster(&meta) {
            tracing::error!(%error, "could not store the cluster's metadata");
        }
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, ClusterSettings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something with what a write needs.
    pub(crate) fn with_surroundings<T>(&self, run: impl FnOnce(Surroundings<'_>) -> T) -> T {
        let bump = || self.bump();
        run(Surroundings {
            clock: self.clock,
            flavor: self.flavor,
            store: self.store.as_ref(),
            bump: &bump,
        })
    }

    /// All indices in the order of their names.
    pub(crate) fn indices(&self) -> Vec<SharedIndex> {
        self.indices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// The index of exactly this name.
    pub(crate) fn index(&self, name: &str) -> Option<SharedIndex> {
        self.indices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// Adds an index unless its name is taken.
    pub(crate) fn add(&self, meta: IndexMeta) -> ApiResult<SharedIndex> {
        let mut indices = self.indices.write().unwrap_or_else(PoisonError::into_inner);
        let name = meta.name.clone();
        if let Some(old) = indices.get(&name) {
            let reason = format!("index [{name}/{}] already exists", old.uuid);
            return Err(ApiError::new(400, "resource_already_exists_exception", reason)
                .with("index", name)
                .with("index_uuid", old.uuid.as_str()));
        }
        if indices.values().any(|i| i.lock().alias(&name).is_some()) {
            let reason = format!("Invalid index name [{name}], already exists as alias");
            return Err(ApiError::new(400, "invalid_index_name_exception", reason).with("index", name));
        }
        if let Some(store) = &self.store {
            store.save_index(&meta).map_err(|e| ApiError::storage(&e))?;
        }
        let index = Index::open(meta, self.store.as_ref(), self.clock.now())
            .map_err(|e| ApiError::new(500, "index_creation_exception", e.to_string()))?;
        let index = Arc::new(index);
        indices.insert(name, Arc::clone(&index));
        drop(indices);
        self.bump();
        Ok(index)
    }

    /// Removes an index and its files.
    pub(crate) fn remove(&self, index: &Index) -> ApiResult<()> {
        self.indices
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&index.name);
        if let Some(store) = &self.store {
            store
                .delete_index(&index.uuid)
                .map_err(|e| ApiError::storage(&e))?;
        }
        self.bump();
        Ok(())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Random bytes in the URL-safe base 64 in which the engines write uuids (16 bytes) and automatic ids (15 bytes).
pub(crate) fn random_id(bytes: usize) -> String {
    let characters = (bytes * 8).div_ceil(6);
    (0..characters)
        .map(|_| char::from(ALPHABET[usize::from(rand::random::<u8>() % 64)]))
        .collect()
}

/// A new uuid.
pub(crate) fn random_uuid() -> String {
    random_id(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_engines_lengths() {
        assert_eq!(random_uuid().len(), 22);
        assert_eq!(random_id(15).len(), 20);
    }
}
