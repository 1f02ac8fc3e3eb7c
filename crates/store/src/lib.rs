//! What a follower agent must not forget, on its own disk: which indices it follows, how far each shard is durable on
//! the target, and which documents the follower holds at which sequence number.
//!
//! This is the only crate that opens RocksDB. It promises three things. What a call marked *synced* returned is there
//! after any crash (I2 rests on it), and so is all that was written before; what another call returned is there unless the host itself
//! crashes, and what is gone then is the end, never a part in the middle. The two directions of a shard's map of documents, `seq → document` and
//! `id → seq`, always agree, whatever is replayed (I4). And a damaged or foreign folder is an error in words, never a
//! panic and never an empty store in place of a full one.
//!
//! All calls are synchronous. Point reads take microseconds, synced writes what the disk takes to sync, and
//! [`ShardStore::live_in`] and [`ShardStore::count_buckets`] grow with what they read: the caller decides where
//! blocking is fine.

mod claim;
mod engine;
mod error;
mod keys;
mod life;
mod records;
mod run;
mod schema;
mod shard;
mod store;
mod tuning;
mod value;

pub use error::{Result, StoreError};
pub use life::HostLife;
pub use records::{AutoFollowRule, Definition, LeaderAlias, Scan, ShardProgress, Trail, Unmapped};
pub use run::Run;
pub use shard::{Remember, ShardStore};
pub use store::Store;
