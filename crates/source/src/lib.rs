//! Readers of a leader shard: from "everything up to N is durable" to a stream of acknowledged operations.
//!
//! A [`ShardReader`] serves one shard of one index under one history. Whatever its means, its events obey the same
//! contract, so that the session on the other side does not know which reader it talks to:
//!
//! - **I1** no event carries an operation above the shard's global checkpoint;
//! - operations of one document are emitted in the order of their sequence numbers (I3);
//! - [`Event::Sealed`] says that everything up to its checkpoint has been emitted, deletes included or asked for;
//! - emitting takes credit from the [`Link`], so that what is on its way is bounded (I8);
//! - when the identity of what is read changes, the reader ends with an error that says so (I5).
//!
//! [`window`] reads through the REST API and works with any engine. [`tail`] reads the translog files of a copy on the same
//! host, within a moment of the acknowledgement. [`relay`] is what a session gets: the tail where it can, windows where
//! it cannot, changing over without a gap.

pub mod error;
pub mod link;
mod nudge;
pub mod relay;
mod stir;
pub mod tail;
pub mod watch;
pub mod window;

pub use error::ReadError;
pub use link::{Credit, Event, Evidence, Link, Probe, Question};
pub use relay::RelayReader;
pub use tail::{TailConfig, Tails};
pub use watch::Watch;

use async_trait::async_trait;
use slipstream_model::{Checkpoint, GlobalCheckpoint, HistoryUuid, IndexUuid, PrimaryTerm, ShardKey};

/// What a reader is asked for: which shard, under which identity, from where.
#[derive(Debug, Clone)]
pub struct Start {
    /// The shard to read.
    pub shard: ShardKey,
    /// The index that the checkpoint belongs to (I5).
    pub index_uuid: IndexUuid,
    /// The history that the checkpoint belongs to; `None` at the first start, when there is no checkpoint.
    pub history: Option<HistoryUuid>,
    /// Everything up to here is durable on the target.
    pub checkpoint: Checkpoint,
    /// How far an unfinished scan had come, and the term it was made in. Good only while that term rules.
    pub scan: Option<(Checkpoint, PrimaryTerm)>,
    /// The follower may hold documents that this history never had, or missed some: everything has to be counted before the
    /// operations alone can be trusted to lead to the same state.
    pub reconciling: bool,
    /// How often to refresh the leader when there is something new; `None` follows the index's own rhythm.
    pub refresh_every: Option<std::time::Duration>,
}

/// What a reader found when it opened its shard.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The shard's history.
    pub history: HistoryUuid,
    /// The term of its primary.
    pub term: PrimaryTerm,
    /// What the shard had acknowledged at the opening: a bootstrap is over when this is sealed.
    pub global_checkpoint: GlobalCheckpoint,
}

/// Which means a reader uses; the name is what status, metrics and the wire show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderKind {
    /// Windows of sequence numbers over the REST API.
    Window,
    /// The translog files of a copy on this host.
    Translog,
}

impl ReaderKind {
    /// The name outside.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReaderKind::Window => "window",
            ReaderKind::Translog => "translog",
        }
    }
}

/// One reader of one shard.
#[async_trait]
pub trait ShardReader: Send {
    /// Which means it uses now.
    fn kind(&self) -> ReaderKind;

    /// Why it uses these means, in words for an operator.
    fn why(&self) -> String;

    /// What it found when it opened the shard.
    fn opening(&self) -> &Opening;

    /// Reads until the other side of the link is gone (`Ok`) or reading cannot go on.
    ///
    /// Dropping the future is safe at any await: a reader keeps nothing that a later one, started from the follower's
    /// checkpoint, would not read again.
    async fn run(&mut self, link: &mut Link) -> Result<(), ReadError>;
}
