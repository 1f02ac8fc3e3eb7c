//! RocksDB's options: a small and bounded share of memory, and no trust in damaged files.
//!
//! The agent's memory is bounded (I8) and nearly all of it belongs to batches in flight. So the store makes do with
//! 16 MiB of block cache, into which indexes and filters count, and at most 32 MiB of memtables. That is enough for
//! hundreds of millions of documents: filters and indexes are partitioned, and what the cache drops the kernel's page
//! cache still has.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBufferManager,
};

/// Bytes of the block cache that all column families share.
const BLOCK_CACHE: usize = 16 << 20;

/// Bytes of all memtables together, those being flushed included.
const MEMTABLES: usize = 32 << 20;

/// Bytes of one memtable of `live` or `ids`; each has at most [`BUFFERS`] of them.
const LARGE_MEMTABLE: usize = 7 << 20;

/// Bytes of one memtable of a family with few records.
const SMALL_MEMTABLE: usize = 256 << 10;

/// How many memtables a family has at most; writers wait when all are full.
const BUFFERS: i32 = 2;

/// Bytes of write-ahead log that may be replayed when the store is opened.
const WAL: u64 = 48 << 20;

/// The kinds of records, a column family each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Schema version and follower id.
    Meta,
    /// Index name → [`crate::Definition`].
    Definitions,
    /// Alias → [`crate::LeaderAlias`].
    Leaders,
    /// Alias and name → [`crate::AutoFollowRule`].
    AutoFollow,
    /// Name of a setting → its value.
    Switches,
    /// Shard → [`crate::ShardProgress`].
    Progress,
    /// Shard, sequence number and id → routing.
    Live,
    /// Shard and id → sequence number.
    Ids,
}

impl Family {
    pub(crate) const ALL: [Family; 8] = [
        Family::Meta,
        Family::Definitions,
        Family::Leaders,
        Family::AutoFollow,
        Family::Switches,
        Family::Progress,
        Family::Live,
        Family::Ids,
    ];

    /// The column family's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::Definitions => "definitions",
            Family::Leaders => "leaders",
            Family::AutoFollow => "autofollow",
            Family::Switches => "switches",
            Family::Progress => "progress",
            Family::Live => "live",
            Family::Ids => "ids",
        }
    }
}

/// Options of the whole database. `create` allows a new one where there is none; an existing store is never opened so,
/// or a lost file would pass for an empty store.
pub(crate) fn database(create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A record cut off at the end of the newest log is what our own death leaves; anything else that does not check out was
    // there once, and going on without it would forget documents that the target has.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);

    options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(MEMTABLES, false));
    options.set_max_total_wal_size(WAL);
    options.set_max_background_jobs(2);
    // Who waits for another's write sleeps: spinning takes the processor from the engine beside this agent.
    options.set_enable_write_thread_adaptive_yield(false);
    options.set_compaction_readahead_size(256 << 10);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_open_files(256);
    options.set_max_file_opening_threads(2);

    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(1 << 20);
    options.set_keep_log_file_num(3);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// For a store that was last used in another life of the host. What was not synced by then may have reached the disk in part and in any
/// order, so the log counts up to the first record that does not check out.
pub(crate) fn after_another_life(options: &mut Options) {
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
}

/// The block cache that the column families share.
pub(crate) fn cache() -> Cache {
    Cache::new_lru_cache(BLOCK_CACHE)
}

/// Options of a column family; `None` for RocksDB's own default family and for those of a later release.
pub(crate) fn family(family: Option<Family>, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_format_version(6);

    let mut options = Options::default();
    options.set_max_write_buffer_number(BUFFERS);
    options.set_target_file_size_base(32 << 20);
    options.set_max_bytes_for_level_base(64 << 20);
    options.set_compression_type(DBCompressionType::None);
    match family {
        Some(Family::Live) => {
            options.set_write_buffer_size(LARGE_MEMTABLE);
            // Read in order and in stretches, so it may be packed where nearly all of it lies.
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
            // A document that changes often leaves a trail of deletes, which scans would step over one by one.
            options.add_compact_on_deletion_collector_factory(4096, 2048, 0.5);
        }
        Some(Family::Ids) => {
            options.set_write_buffer_size(LARGE_MEMTABLE);
            // Most ids that are asked for are new ones, and in neither tables nor memtables.
            table.set_bloom_filter(10.0, false);
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.05);
        }
        _ => options.set_write_buffer_size(SMALL_MEMTABLE),
    }
    options.set_block_based_table_factory(&table);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memtables_together_stay_within_their_budget() {
        // Eight families and RocksDB's default one.
        let small = Family::ALL.len() + 1 - 2;
        let most = (2 * LARGE_MEMTABLE + small * SMALL_MEMTABLE) * BUFFERS as usize;
        assert!(most <= MEMTABLES, "{most}");
    }
}
