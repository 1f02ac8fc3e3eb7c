//! The store as a whole: opened once for each follower agent, holding definitions and leaders, handing out shards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{Options, WriteBatch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipstream_model::{IndexName, ShardId};

use crate::claim::{self, Claim};
use crate::engine::Engine;
use crate::error::{Malformed, Result, StoreError};
use crate::life::{self, HostLife};
use crate::records::{AutoFollowRule, Definition, LeaderAlias};
use crate::shard::ShardStore;
use crate::tuning::{self, Family};
use crate::{keys, schema};

/// Key of the follower's id under `meta`.
const FOLLOWER_ID: &[u8] = b"follower_id";

/// What [`Store::probe`] writes.
const PROBE: &str = "probe";

/// A follower agent's memory on disk. Clones share it; it closes, and its folder can be opened again, when the last of
/// them and of their [`ShardStore`]s is dropped.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    follower_id: Arc<str>,
}

impl Store {
    /// Opens the store in the folder `path`, and makes a new one where there is no folder or an empty one.
    ///
    /// # Errors
    /// Each of [`StoreError`]'s: the folder is locked, foreign, damaged, from a later release, or cannot be written.
    pub fn open(path: &Path) -> Result<Store> {
        Store::open_in(path, HostLife::current())
    }

    /// As [`Store::open`], as if the host were in that life: for tests of what its crash takes.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in(path: &Path, life: Option<HostLife>) -> Result<Store> {
        let claim = claim::claim(path)?;
        let mut options = tuning::database(claim == Claim::Creating);
        let last = life::last_used_in(path)?;
        if last.is_some() && last != life {
            tuning::after_another_life(&mut options);
        }
        let store = Store::open_claimed(path, claim, &options, life.is_none())?;
        // Before anything is written that is not synced.
        if let Some(life) = life.filter(|life| last.as_ref() != Some(life)) {
            life::note(path, &life)?;
        }
        Ok(store)
    }

    fn open_claimed(path: &Path, claim: Claim, options: &Options, syncs_all: bool) -> Result<Store> {
        let engine = Engine::open(path, options, syncs_all)?;
        match (schema::found(&engine)?, claim) {
            (Some(found), _) => schema::bring_up_to_date(&engine, found)?,
            (None, Claim::Creating) => initialise(&engine)?,
            (None, Claim::Ready) => {
                return Err(StoreError::corrupt(
                    path,
                    "reading its schema",
                    Malformed("there is no schema"),
                ));
            }
        }
        if claim == Claim::Creating {
            claim::complete(path)?;
        }
        let follower_id = read_follower_id(&engine)?;
        tracing::info!(path = %path.display(), schema = schema::KNOWN, follower_id, "store opened");
        Ok(Store {
            engine: Arc::new(engine),
            follower_id: follower_id.into(),
        })
    }

    /// The agent's own id: made at random with the store and kept for good. Its requests to the target carry it in their
    /// `X-Opaque-Id`, so that a later process finds what an earlier one left running.
    pub fn follower_id(&self) -> &str {
        &self.follower_id
    }

    /// Whether the store takes writes, a full disk included: writes a key that means nothing. Synced.
    ///
    /// # Errors
    /// Why it does not.
    pub fn probe(&self) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.engine.family(Family::Meta)?, PROBE, []);
        self.engine
            .write_synced(batch, || "find out whether it takes writes".to_owned())
    }

    /// Keeps a definition in place of what was known of its index. Synced.
    pub fn put_definition(&self, definition: &Definition) -> Result<()> {
        let key = definition.follower_index.as_str();
        self.put(Family::Definitions, key, definition, || {
            format!("keep the definition of [{key}]")
        })
    }

    /// All definitions, by name of the follower index.
    pub fn definitions(&self) -> Result<Vec<Definition>> {
        self.all(Family::Definitions, "reading the definitions")
    }

    /// Forgets an index: its definition, and progress and documents of all its shards. Synced, and all or nothing.
    ///
    /// No session of the index may be running, or what it writes meanwhile is forgotten in part.
    pub fn remove_index(&self, follower: &IndexName) -> Result<()> {
        let prefix = keys::index_prefix(follower);
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.engine.family(Family::Definitions)?, follower.as_str());
        forget_all(&self.engine, batch, &prefix, || format!("forget [{follower}]"))
    }

    /// Keeps a leader in place of what was known under its alias. Synced.
    pub fn put_leader(&self, leader: &LeaderAlias) -> Result<()> {
        let alias = leader.alias.as_str();
        self.put(Family::Leaders, alias, leader, || {
            format!("keep the leader `{alias}`")
        })
    }

    /// Forgets a leader; one that is not known is forgotten already. Synced.
    pub fn remove_leader(&self, alias: &str) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.engine.family(Family::Leaders)?, alias);
        self.engine
            .write_synced(batch, || format!("forget the leader `{alias}`"))
    }

    /// All leaders, by alias.
    pub fn leaders(&self) -> Result<Vec<LeaderAlias>> {
        self.all(Family::Leaders, "reading the leaders")
    }

    /// Keeps a rule in place of what was known under its alias and name. Synced.
    pub fn put_rule(&self, rule: &AutoFollowRule) -> Result<()> {
        let key = keys::rule(&rule.leader_alias, &rule.name);
        self.put(Family::AutoFollow, &key, rule, || {
            format!("keep the auto-follow rule `{}`", rule.name)
        })
    }

    /// Forgets a rule; one that is not known is forgotten already. Synced.
    pub fn remove_rule(&self, leader_alias: &str, name: &str) -> Result<()> {
        let mut batch = WriteBatch::default();
        let key = keys::rule(leader_alias, name);
        batch.delete_cf(self.engine.family(Family::AutoFollow)?, key);
        self.engine
            .write_synced(batch, || format!("forget the auto-follow rule `{name}`"))
    }

    /// All rules, by alias and name.
    pub fn rules(&self) -> Result<Vec<AutoFollowRule>> {
        self.all(Family::AutoFollow, "reading the auto-follow rules")
    }

    /// Keeps settings by name; `None` forgets one. Synced, and all or nothing.
    pub fn put_switches(&self, switches: &[(String, Option<String>)]) -> Result<()> {
        if switches.is_empty() {
            return Ok(());
        }
        let family = self.engine.family(Family::Switches)?;
        let mut batch = WriteBatch::default();
        for (name, value) in switches {
            match value {
                Some(value) => batch.put_cf(family, name, to_json(&self.engine, &(name, value))?),
                None => batch.delete_cf(family, name),
            }
        }
        self.engine.write_synced(batch, || "keep settings".to_owned())
    }

    /// All settings that are kept, by name.
    pub fn switches(&self) -> Result<BTreeMap<String, String>> {
        let pairs: Vec<(String, String)> = self.all(Family::Switches, "reading the settings")?;
        Ok(pairs.into_iter().collect())
    }

    /// What is kept of one shard of a follower index. Costs nothing, and needs no definition to be there.
    pub fn shard(&self, index: &IndexName, shard: ShardId) -> ShardStore {
        ShardStore::new(Arc::clone(&self.engine), index, shard)
    }

    fn put(
        &self,
        family: Family,
        key: &str,
        record: &impl Serialize,
        action: impl Fn() -> String,
    ) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.engine.family(family)?, key, to_json(&self.engine, record)?);
        self.engine.write_synced(batch, action)
    }

    fn all<T: DeserializeOwned>(&self, family: Family, action: &'static str) -> Result<Vec<T>> {
        let mut values = Vec::new();
        self.engine.scan(
            family,
            &[],
            keys::end_of(&[]),
            || action.to_owned(),
            |_, value| {
                values.push(value.to_vec());
                Ok(true)
            },
        )?;
        values
            .iter()
            .map(|value| from_json(&self.engine, value, || action.to_owned()))
            .collect()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.engine.path())
            .finish_non_exhaustive()
    }
}

/// A record as JSON.
pub(crate) fn to_json(engine: &Engine, record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|e| StoreError::io(engine.path(), "write a record of", e.into()))
}

/// A record from JSON.
pub(crate) fn from_json<T: DeserializeOwned>(
    engine: &Engine,
    value: &[u8],
    action: impl Fn() -> String,
) -> Result<T> {
    serde_json::from_slice(value).map_err(|e| StoreError::corrupt(engine.path(), action(), e))
}

/// Deletes progress and documents of everything under `prefix`, along with what `batch` does, and frees their space.
pub(crate) fn forget_all(
    engine: &Engine,
    mut batch: WriteBatch,
    prefix: &[u8],
    action: impl Fn() -> String,
) -> Result<()> {
    let end = keys::end_of(prefix);
    for family in [Family::Progress, Family::Live, Family::Ids] {
        batch.delete_range_cf(engine.family(family)?, prefix, &end);
    }
    engine.write_synced(batch, action)?;
    for family in [Family::Live, Family::Ids] {
        if let Err(error) = engine.free(family, prefix, &end) {
            // Forgotten it is; the space comes back with a later compaction.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "disk space not freed yet"
            );
        }
    }
    Ok(())
}

fn initialise(engine: &Engine) -> Result<()> {
    let mut batch = WriteBatch::default();
    schema::put(engine, &mut batch, schema::KNOWN)?;
    let id = format!("{:016x}", rand::random::<u64>());
    batch.put_cf(engine.family(Family::Meta)?, FOLLOWER_ID, id);
    engine.write_synced(batch, || "create its first records".to_owned())
}

fn read_follower_id(engine: &Engine) -> Result<String> {
    let action = || "reading the follower's id".to_owned();
    let id = engine
        .get(Family::Meta, FOLLOWER_ID, action)?
        .and_then(|id| String::from_utf8(id).ok());
    id.ok_or_else(|| {
        StoreError::corrupt(
            engine.path(),
            action(),
            Malformed("there is no id, or it is not text"),
        )
    })
}

#[cfg(test)]
mod tests {
    use rocksdb::statistics::Ticker;
    use slipstream_model::{Checkpoint, DocRef, DurableCheckpoint, SeqNo};

    use super::*;
    use crate::Remember;
    use crate::ShardProgress;

    #[test]
    fn i2_what_counts_as_durable_is_synced_to_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = tuning::database(true);
        options.enable_statistics();
        let store = Store::open_claimed(folder.path(), Claim::Creating, &options, true).unwrap();
        let shard = store.shard(&IndexName::from("i"), ShardId(0));
        let doc = DocRef {
            id: "a".to_owned(),
            routing: None,
        };
        let synced = |what: &str, call: &dyn Fn() -> Result<()>| {
            let before = options.get_ticker_count(Ticker::WalFileSynced);
            call().unwrap();
            assert!(
                options.get_ticker_count(Ticker::WalFileSynced) > before,
                "{what} was not synced"
            );
        };

        let checkpoint = DurableCheckpoint::claim(Checkpoint::new(1));
        let progress = ShardProgress {
            checkpoint,
            ..ShardProgress::default()
        };
        let leader = LeaderAlias {
            alias: "l".to_owned(),
            agents: vec![],
        };
        let definition: Definition = serde_json::from_str(
            r#"{"follower_index":"i","leader_alias":"l","leader_index":"i","phase":"INIT","resume_phase":"INIT",
            "reason":"User initiated","shards":1,"started_at_millis":0}"#,
        )
        .unwrap();
        synced("remember", &|| shard.remember(&[(SeqNo::ZERO, &doc)]).map(drop));
        synced("remember_all", &|| {
            let docs = [(SeqNo::ZERO, &doc)];
            let part = Remember {
                shard: &shard,
                docs: &docs,
                newer: true,
            };
            ShardStore::remember_all(&[part]).map(drop)
        });
        synced("save_progress", &|| shard.save_progress(&progress));
        synced("clear", &|| shard.clear());
        synced("put_definition", &|| store.put_definition(&definition));
        synced("put_leader", &|| store.put_leader(&leader));
        synced("remove_leader", &|| store.remove_leader("l"));
        synced("remove_index", &|| store.remove_index(&IndexName::from("i")));
    }

    #[test]
    fn a_store_without_schema_is_damaged_unless_it_was_never_completed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(claim::claim(folder.path()).unwrap(), Claim::Creating);
        // The creation got as far as RocksDB's own files.
        drop(Engine::open(folder.path(), &tuning::database(true), false).unwrap());
        let id = Store::open(folder.path()).unwrap().follower_id().to_owned();
        assert_eq!(Store::open(folder.path()).unwrap().follower_id(), id);

        let engine = Engine::open(folder.path(), &tuning::database(false), false).unwrap();
        let mut batch = WriteBatch::default();
        batch.delete_cf(engine.family(Family::Meta).unwrap(), "schema");
        engine.write_synced(batch, String::new).unwrap();
        drop(engine);
        assert!(matches!(
            Store::open(folder.path()),
            Err(StoreError::Corrupt { .. })
        ));
    }

    #[test]
    fn a_store_of_a_later_release_is_refused_even_with_families_unknown_here() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let engine = Engine::open(folder.path(), &tuning::database(false), false).unwrap();
        let mut batch = WriteBatch::default();
        schema::put(&engine, &mut batch, schema::KNOWN + 6).unwrap();
        engine.write_synced(batch, String::new).unwrap();
        drop(engine);

        let refused = |path: &Path| match Store::open(path) {
            Err(StoreError::NewerSchema { found, known, .. }) => (found, known),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(folder.path()), (schema::KNOWN + 6, schema::KNOWN));

        let mut names: Vec<_> = Family::ALL.iter().map(|f| f.name()).collect();
        names.push("from_the_future");
        let mut options = Options::default();
        options.create_missing_column_families(true);
        drop(rocksdb::DB::open_cf(&options, folder.path(), names).unwrap());
        assert_eq!(refused(folder.path()), (schema::KNOWN + 6, schema::KNOWN));
    }
}
