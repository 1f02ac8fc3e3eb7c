//! The notions that every other crate speaks in, as types that keep the invariants of `ARCHITECTURE.md`.
//!
//! Nothing here does IO, waits, or knows who uses it: what a sequence number is, what a checkpoint promises, which
//! shard a document belongs to, how holes in a sequence are accounted for, and which index settings travel.

pub mod bootstrap;
pub mod census;
pub mod event;
pub mod ident;
pub mod moment;
pub mod op;
pub mod pattern;
pub mod readiness;
pub mod routing;
pub mod seq;
pub mod settings;
pub mod size;
pub mod state;
pub mod words;

pub use bootstrap::Bootstrap;
pub use census::{Buckets, Census, CensusVerdict};
pub use ident::{ClusterUuid, HistoryUuid, IndexName, IndexUuid, ShardId, ShardKey};
pub use op::{Change, DocRef, Op};
pub use pattern::Pattern;
pub use seq::{Checkpoint, DurableCheckpoint, GlobalCheckpoint, PrimaryTerm, SeqNo, SeqRange, Version};
pub use state::{Phase, Reason};
