//! The leader agent: serves the shards of one cluster to the follower agents that may read them.
//!
//! What it guarantees: nobody without a certificate of our CA gets in, and nobody reads an index that no rule allows;
//! what leaves is what the readers emit, acknowledged and in order; memory is bounded by the number of streams and the
//! credit of each; and a stream never just breaks off, its status says why it ended and whether to come again.
//!
//! [`Leader`] is the handle. A stream's way through the code: `changes` opens it, `session` runs it, `dialogue` says
//! whose turn it is, `frames` is where wire types stop.

pub mod config;
mod contents;
pub mod metrics;
pub mod server;

mod authorise;
mod catalog;
mod cause;
mod changes;
mod dialogue;
mod encoders;
mod exactness;
mod frames;
mod handshake;
mod session;
mod snapshots;

pub use config::{AllowRule, LeaderConfig};
pub use server::{Leader, LeaderError};
pub use slipstream_source::TailConfig;
