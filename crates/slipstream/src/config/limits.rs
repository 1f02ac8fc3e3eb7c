//! `[limits]`: how much an agent takes on. The defaults suit most clusters.

use slipstream_follower::FollowerConfig;

use super::document::ConfigError;
use super::section::Section;

/// Bytes of received and not yet applied operations, in MiB, that all indices share.
const MEMORY_MB: i64 = 64;
/// Bulks in flight a shard.
const LANES: i64 = 4;

/// MiB from which on an index begins with its files rather than its documents, where it can: below, the fixed cost of a snapshot and a
/// restore is more than what they save.
const SNAPSHOT_FROM_MB: i64 = 8;

/// Streams that a leader agent serves at once, one a shard and follower. An idle one costs next to nothing.
const STREAMS: i64 = 4_096;

/// A leader agent's: how many streams it serves at once.
pub(super) fn read_leader(mut section: Section) -> Result<usize, ConfigError> {
    let streams = section.integer("max_streams", 1..=1_000_000, STREAMS)? as usize;
    section.finish()?;
    Ok(streams)
}

/// A follower agent's.
pub(super) fn read(mut section: Section) -> Result<FollowerConfig, ConfigError> {
    let config = FollowerConfig {
        memory_bytes: section
            .integer("memory_mb", 8..=65_536, MEMORY_MB)?
            .cast_unsigned()
            << 20,
        lanes_per_shard: section.integer("lanes_per_shard", 1..=64, LANES)? as usize,
        refresh_millis: section.integer("refresh_ms", 0..=60_000, 0)? as u32,
        snapshot_path: None,
        file_server: None,
        snapshot_from_bytes: section
            .integer("snapshot_from_mb", 0..=1_048_576, SNAPSHOT_FROM_MB)?
            .cast_unsigned()
            << 20,
        snapshot_bytes_per_s: section
            .integer("snapshot_mb_per_s", 0..=1_048_576, 0)?
            .cast_unsigned()
            << 20,
        restore_mb_per_s: section
            .integer("restore_mb_per_s", 0..=1_048_576, 0)?
            .cast_unsigned(),
    };
    section.finish()?;
    Ok(config)
}
