//! One operation of a shard as it travels from the leader's reader to the follower's applier.

use bytes::Bytes;

use crate::seq::{PrimaryTerm, SeqNo, Version};

/// A document within a shard: its id, and the routing it was indexed with if that was not the id.
///
/// Within one shard an id is unique whatever its routing; the routing is kept because a later delete must be sent
/// with it to reach the same shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocRef {
    /// The document's `_id`.
    pub id: String,
    /// The document's `_routing`, where it had one.
    pub routing: Option<String>,
}

/// What an operation does to its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The document now has this source: the exact bytes that the leader stores.
    Index {
        /// The bytes of `_source`, byte for byte.
        source: Bytes,
    },
    /// The document is gone.
    Delete,
    /// The sequence number was used up without touching a document.
    Noop,
}

/// One acknowledged operation (I1: a reader never makes one from anything above the global checkpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Its place in the shard's history.
    pub seq_no: SeqNo,
    /// The term of the primary that gave the sequence number.
    pub term: PrimaryTerm,
    /// The document's version after it.
    pub version: Version,
    /// The document; empty id for [`Change::Noop`].
    pub doc: DocRef,
    /// What happened to it.
    pub change: Change,
}

impl Op {
    /// Bytes of memory that this operation holds, near enough for budgets.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 96;
        let source = match &self.change {
            Change::Index { source } => source.len(),
            Change::Delete | Change::Noop => 0,
        };
        FIXED + self.doc.id.len() + self.doc.routing.as_ref().map_or(0, String::len) + source
    }
}
