//! The cluster: its identity, its indices by name, and how names, aliases and patterns are resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::{fmt, sync::Arc};

use serde_json::Value;
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

/// Which indices a request means, and through which alias.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) index: SharedIndex,
    /// The alias's definition where the index was reached through one only.
    pub(crate) alias: Option<Value>,
}

/// How strictly names are resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolve {
    pub(crate) ignore_unavailable: bool,
    /// Whether patterns match closed indices.
    pub(crate) closed: bool,
    /// Whether patterns match hidden indices.
    pub(crate) hidden: bool,
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

    /// The indices that a comma-separated list of names, aliases and patterns means.
    pub(crate) fn resolve(&self, expression: &str, how: Resolve) -> ApiResult<Vec<Target>> {
        let all = self.indices();
        let mut found: BTreeMap<String, Target> = BTreeMap::new();
        let expression = if expression.is_empty() || expression == "_all" {
            "*"
        } else {
            expression
        };
        for part in expression.split(',') {
            let excluded = part.strip_prefix('-').filter(|_| !found.is_empty());
            if let Some(pattern) = excluded {
                found.retain(|name, _| !glob(pattern, name));
            } else if part.contains('*') {
                all.iter()
                    .filter(|i| pattern_takes(part, i, how))
                    .for_each(|i| add_plain(&mut found, i));
                for index in &all {
                    let state = index.lock();
                    let alias = state
                        .aliases
                        .iter()
                        .find(|(name, _)| part != "*" && glob(part, name));
                    if let Some((_, alias)) = alias.filter(|_| state.open || how.closed) {
                        add_alias(&mut found, index, alias);
                    }
                }
            } else if let Some(index) = all.iter().find(|i| i.name == part) {
                if how.ignore_unavailable && !how.closed && !index.lock().open {
                    continue;
                }
                add_plain(&mut found, index);
            } else {
                let before = found.len();
                let mut any = false;
                for index in &all {
                    if let Some(alias) = index.lock().alias(part) {
                        add_alias(&mut found, index, alias);
                        any = true;
                    }
                }
                if before == found.len() && !any && !how.ignore_unavailable {
                    return Err(ApiError::no_index(part));
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The one index that a document operation means, and the alias that it was reached through.
    pub(crate) fn resolve_one(&self, name: &str) -> ApiResult<Option<Target>> {
        if let Some(index) = self.index(name) {
            return Ok(Some(Target { index, alias: None }));
        }
        let mut through: Vec<Target> = Vec::new();
        for index in self.indices() {
            let alias = index.lock().alias(name).cloned();
            if alias.is_some() {
                through.push(Target { index, alias });
            }
        }
        if through.len() > 1 {
            let writes = |t: &Target| t.alias.as_ref().is_some_and(|a| a["is_write_index"] == true);
            if let Some(at) = through.iter().position(writes) {
                return Ok(Some(through.swap_remove(at)));
            }
            let reason = format!(
                "no write index is defined for alias [{name}]. The write index may be explicitly disabled using \
                 is_write_index=false or the alias points to multiple indices without one being designated as a write \
                 index"
            );
            return Err(ApiError::illegal(reason));
        }
        Ok(through.pop())
    }
}

fn pattern_takes(pattern: &str, index: &Index, how: Resolve) -> bool {
    let state = index.lock();
    let hidden =
        state.knobs.hidden && !how.hidden && !(pattern.starts_with('.') && index.name.starts_with('.'));
    glob(pattern, &index.name) && !hidden && (state.open || how.closed)
}

fn add_plain(found: &mut BTreeMap<String, Target>, index: &SharedIndex) {
    found.insert(
        index.name.clone(),
        Target {
            index: Arc::clone(index),
            alias: None,
        },
    );
}

fn add_alias(found: &mut BTreeMap<String, Target>, index: &SharedIndex, alias: &Value) {
    let target = Target {
        index: Arc::clone(index),
        alias: Some(alias.clone()),
    };
    found.entry(index.name.clone()).or_insert(target);
}

/// Whether a pattern with `*` matches a name.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else {
        return name.is_empty();
    };
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some(at) = rest.find(previous) else {
                return false;
            };
            rest = &rest[at + previous.len()..];
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
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
    fn patterns_match_as_globs() {
        assert!(glob("*", "anything"));
        assert!(glob("logs-*", "logs-1"));
        assert!(glob("*-a*c", "x-abc"));
        assert!(!glob("logs-*", "log"));
        assert!(glob("a", "a") && !glob("a", "ab"));
        assert!(glob("a*b*", "axxbyy") && !glob("a*b", "axxbyy"));
    }

    #[test]
    fn ids_have_the_engines_lengths() {
        assert_eq!(random_uuid().len(), 22);
        assert_eq!(random_id(15).len(), 20);
    }
}
