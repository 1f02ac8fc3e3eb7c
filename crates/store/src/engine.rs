//! RocksDB as the store uses it: opened once, written in batches, errors told with the folder and the action.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Options, ReadOptions, WriteBatch, WriteOptions};

use crate::error::{Malformed, Result, StoreError};
use crate::keys;
use crate::run::Run;
use crate::tuning::{self, Family};

/// How many shards can be written at a time without waiting for one another's reads.
const TURNS: usize = 64;

/// How many values a multi-get pins in the block cache at a time.
const READ_AT_ONCE: usize = 512;

/// An open RocksDB.
pub(crate) struct Engine {
    db: DB,
    path: PathBuf,
    run: Run,
    syncs_all: bool,
    turns: [Mutex<()>; TURNS],
}

impl Engine {
    /// Opens the database with `options`, and with every column family of ours. `syncs_all`: a crash of the host would not be
    /// noticed, so nothing may be lost in one.
    pub(crate) fn open(path: &Path, options: &Options, syncs_all: bool) -> Result<Engine> {
        const ACTION: &str = "open its files";
        let ours = || Family::ALL.map(|f| f.name().to_owned()).into_iter();
        let db = match open_families(path, options, ours().collect()) {
            // A later release has more families. RocksDB wants them all, and the schema in one of ours tells the rest.
            Err(e) if e.as_ref().contains("Column families not opened") => DB::list_cf(options, path)
                .and_then(|found| open_families(path, options, ours().chain(found).collect())),
            other => other,
        }
        .map_err(|e| StoreError::engine(path, ACTION, e))?;
        Ok(Engine {
            db,
            path: path.to_path_buf(),
            run: Run::begin(),
            syncs_all,
            turns: [const { Mutex::new(()) }; TURNS],
        })
    }

    /// The store's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// This use of the store.
    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// Waits until no other call reads and then writes what begins with `prefix`.
    pub(crate) fn turn(&self, prefix: &[u8]) -> MutexGuard<'_, ()> {
        self.turn_at(number_of_turn(prefix))
    }

    /// The same for several prefixes.
    pub(crate) fn turns<'p>(&self, prefixes: impl Iterator<Item = &'p [u8]>) -> Vec<MutexGuard<'_, ()>> {
        // Each once, and all callers in the same order, or two would wait for each other.
        let numbers: BTreeSet<usize> = prefixes.map(number_of_turn).collect();
        numbers.into_iter().map(|number| self.turn_at(number)).collect()
    }

    fn turn_at(&self, number: usize) -> MutexGuard<'_, ()> {
        // The lock guards no data of its own, so there is nothing that a panic could have left half done.
        self.turns[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a column family.
    pub(crate) fn family(&self, family: Family) -> Result<&ColumnFamily> {
        self.db.cf_handle(family.name()).ok_or_else(|| {
            StoreError::corrupt(&self.path, family.name(), Malformed("a column family is missing"))
        })
    }

    /// One value.
    pub(crate) fn get(
        &self,
        family: Family,
        key: &[u8],
        action: impl Fn() -> String,
    ) -> Result<Option<Vec<u8>>> {
        self.db
            .get_cf(self.family(family)?, key)
            .map_err(|e| StoreError::engine(&self.path, action(), e))
    }

    /// Reads many values and hands each, in the order of `keys`, to `take`. Quicker if the keys ascend, which
    /// `ascending` must then say and otherwise must not.
    pub(crate) fn get_all<T>(
        &self,
        family: Family,
        keys: &[Vec<u8>],
        ascending: bool,
        action: impl Fn() -> String,
        take: impl Fn(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<Vec<Option<T>>> {
        let handle = self.family(family)?;
        let mut taken = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(READ_AT_ONCE) {
            for value in self.db.batched_multi_get_cf(handle, chunk, ascending) {
                let value = value.map_err(|e| StoreError::engine(&self.path, action(), e))?;
                let value = value.map(|value| take(&value)).transpose();
                taken.push(value.map_err(|e| StoreError::corrupt(&self.path, action(), e))?);
            }
        }
        Ok(taken)
    }

    /// Hands every key and value in `from..to`, ascending, to `take` until that says stop (`false`).
    pub(crate) fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Vec<u8>,
        action: impl Fn() -> String,
        mut take: impl FnMut(&[u8], &[u8]) -> std::result::Result<bool, Malformed>,
    ) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        // What is read in stretches must not push out what is read again and again.
        options.fill_cache(false);
        let mut at = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        at.seek(from);
        while let Some((key, value)) = at.item() {
            if !take(key, value).map_err(|e| StoreError::corrupt(&self.path, action(), e))? {
                return Ok(());
            }
            at.next();
        }
        at.status()
            .map_err(|e| StoreError::engine(&self.path, action(), e))
    }

    /// The last key that begins with `prefix`.
    pub(crate) fn last_key(
        &self,
        family: Family,
        prefix: &[u8],
        action: impl Fn() -> String,
    ) -> Result<Option<Vec<u8>>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(prefix);
        options.set_iterate_upper_bound(keys::end_of(prefix));
        let mut at = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        at.seek_to_last();
        let key = at.key().map(<[u8]>::to_vec);
        at.status()
            .map_err(|e| StoreError::engine(&self.path, action(), e))?;
        Ok(key)
    }

    /// Writes a batch, all of it or nothing, and returns once it would survive a power failure.
    pub(crate) fn write_synced(&self, batch: WriteBatch, action: impl Fn() -> String) -> Result<()> {
        self.write(batch, true, action)
    }

    /// Writes a batch that a crash of the host may take back, all of it or nothing, and with it all that was written since. The next synced
    /// write ends that.
    pub(crate) fn write_unsynced(&self, batch: WriteBatch, action: impl Fn() -> String) -> Result<()> {
        self.write(batch, self.syncs_all, action)
    }

    fn write(&self, batch: WriteBatch, synced: bool, action: impl Fn() -> String) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        self.db
            .write_opt(batch, &options)
            .map_err(|e| StoreError::engine(&self.path, action(), e))
    }

    /// Gives back the disk space of whole files within a range that was deleted. Without it a forgotten index would keep
    /// its space until something else is written next to it.
    pub(crate) fn free(&self, family: Family, from: &[u8], to: &[u8]) -> Result<()> {
        self.db
            .delete_file_in_range_cf(self.family(family)?, from, to)
            .map_err(|e| StoreError::engine(&self.path, "free disk space", e))
    }
}

fn number_of_turn(prefix: &[u8]) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(prefix);
    hash as usize % TURNS
}

fn open_families(
    path: &Path,
    options: &Options,
    names: BTreeSet<String>,
) -> std::result::Result<DB, rocksdb::Error> {
    let cache = tuning::cache();
    let names = names
        .into_iter()
        .chain(["default".to_owned()])
        .collect::<BTreeSet<_>>();
    let families = names.into_iter().map(|name| {
        let known = Family::ALL.into_iter().find(|f| f.name() == name);
        ColumnFamilyDescriptor::new(name, tuning::family(known, &cache))
    });
    DB::open_cf_descriptors(options, path, families)
}
