//! `[limits]`: how much a follower agent takes on. The defaults suit most targets.

use slipstream_follower::FollowerConfig;

use super::document::ConfigError;
use super::section::Section;

/// Bytes of received and not yet applied operations, in MiB, that all indices share.
const MEMORY_MB: i64 = 64;
/// Bulks in flight a shard.
const LANES: i64 = 4;

pub(super) fn read(mut section: Section) -> Result<FollowerConfig, ConfigError> {
    let config = FollowerConfig {
        memory_bytes: section
            .integer("memory_mb", 8..=65_536, MEMORY_MB)?
            .cast_unsigned()
            << 20,
        lanes_per_shard: section.integer("lanes_per_shard", 1..=64, LANES)? as usize,
        refresh_millis: section.integer("refresh_ms", 0..=60_000, 0)? as u32,
    };
    section.finish()?;
    Ok(config)
}
