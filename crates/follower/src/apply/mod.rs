//! Applying operations to the target: lanes that keep each document's order with bulks in flight in parallel.
//!
//! - **I3** operations of one document always go through the same lane, and a lane sends one bulk at a time.
//! - **I2** an operation counts as applied only when its own item of the bulk's answer said so; the follower index runs
//!   with `translog.durability: request`, so an acknowledged item is durable.
//! - **I4** every write is idempotent: a document at its leader version with `external_gte`, or a delete.
//! - Few writes go together with those of other lanes ([`crate::together`]), so that many indices with little to write do not cost the target a
//!   request for each operation.
//! - A bulk whose outcome is unknown may still be running on the target: its lane does nothing until the target says
//!   that it is gone, for an index operation that lands late would undo a delete.

mod bulks;
mod conflict;
mod gate;
mod lane;
mod outcome;
#[cfg(test)]
mod tests;

pub(crate) use bulks::Bulks;
pub(crate) use lane::{Applied, AppliedPortion, Lane, LaneContext, Portion, settle};

use std::hash::{DefaultHasher, Hash, Hasher};

use gate::Gate;
use slipstream_cluster::{BulkItem, ClusterError, fits_bulk};
use slipstream_model::{Change, DocRef, Op, SeqNo, ShardKey};
use thiserror::Error;

/// One write to the target.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// What the leader's stream carried.
    Op(Op),
    /// A document that the search for deletes found gone; it was last seen at this sequence number.
    Gone(SeqNo, DocRef),
    /// A document that the target has and the leader never had under this id, as far as is known here.
    Foreign(DocRef),
}

impl Write {
    pub(crate) fn doc(&self) -> &DocRef {
        match self {
            Write::Op(op) => &op.doc,
            Write::Gone(_, doc) | Write::Foreign(doc) => doc,
        }
    }

    pub(crate) fn weight(&self) -> usize {
        match self {
            Write::Op(op) => op.weight(),
            Write::Gone(_, doc) | Write::Foreign(doc) => doc.id.len() + 64,
        }
    }

    fn item(&self) -> BulkItem<'_> {
        match self {
            Write::Op(op) if matches!(op.change, Change::Index { .. }) => BulkItem::Index { op },
            Write::Op(op) => BulkItem::Delete { doc: &op.doc },
            Write::Gone(_, doc) | Write::Foreign(doc) => BulkItem::Delete { doc },
        }
    }

    /// A bulk is lines: a source with a raw newline cannot go in one and stay byte-exact.
    fn needs_own_request(&self) -> bool {
        match self {
            Write::Op(op) => matches!(&op.change, Change::Index { source } if !fits_bulk(source)),
            Write::Gone(..) | Write::Foreign(_) => false,
        }
    }

    /// The sequence number of its operation, if it has one.
    pub(crate) fn seq_no(&self) -> Option<SeqNo> {
        match self {
            Write::Op(op) => Some(op.seq_no),
            Write::Gone(seq_no, _) => Some(*seq_no),
            Write::Foreign(_) => None,
        }
    }

    /// Which of `lanes` lanes the document's operations go through.
    pub(crate) fn lane(&self, lanes: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        self.doc().id.hash(&mut hasher);
        (hasher.finish() % lanes as u64) as usize
    }
}

/// An operation's place, in words.
fn place(seq_no: Option<SeqNo>) -> String {
    seq_no.map_or_else(
        || "not the leader's".to_owned(),
        |seq_no| format!("seq_no {seq_no}"),
    )
}

/// Why applying cannot go on by itself.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// The target will not have this document, now or later.
    #[error(
        "the target rejected document [{id}] of {shard} ({}), mend the cause and resume: {reason}",
        place(*.seq_no)
    )]
    Rejected {
        /// The shard.
        shard: ShardKey,
        /// The document.
        id: String,
        /// Its operation, if it has one.
        seq_no: Option<SeqNo>,
        /// What the target said.
        reason: String,
    },
    /// The follower index is not there any more.
    #[error("the follower index of {0} was deleted on the target; stop it, then start again")]
    IndexMissing(ShardKey),
    /// It was written to, and is another one.
    #[error(
        "the follower index of {0} was deleted or replaced on the target while it was being written to, and what is there now may have been made \
         by the last write; stop the replication, delete the index, then start again"
    )]
    IndexReplaced(ShardKey),
    /// The target answered in a way that trying again does not mend.
    #[error("writing {shard} to the target failed")]
    Target {
        /// The shard.
        shard: ShardKey,
        /// What it said.
        #[source]
        source: ClusterError,
    },
}
