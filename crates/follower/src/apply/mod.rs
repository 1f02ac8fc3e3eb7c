//! Applying operations to the target: lanes that keep each document's order with bulks in flight in parallel.
//!
//! - **I3** operations of one document always go through the same lane, and a lane sends one bulk at a time.
//! - **I2** an operation counts as applied only when its own item of the bulk's answer said so; the follower index runs
//!   with `translog.durability: request`, so an acknowledged item is durable.
//! - **I4** every write is idempotent: a document at its leader version with `external_gte`, or a delete.
//! - A bulk whose outcome is unknown may still be running on the target: its lane does nothing until the target says
//!   that it is gone, for an index operation that lands late would undo a delete.

mod conflict;
mod gate;
mod lane;
mod outcome;

pub(crate) use gate::Gate;
pub(crate) use lane::{Applied, Lane, LaneContext, Portion};

use std::hash::{DefaultHasher, Hash, Hasher};

use slipstream_cluster::{BulkItem, ClusterError};
use slipstream_model::{Change, DocRef, Op, SeqNo, ShardKey};
use thiserror::Error;

/// One write to the target.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// What the leader's stream carried.
    Op(Op),
    /// A document that the search for deletes found gone; it was last seen at this sequence number.
    Gone(SeqNo, DocRef),
}

impl Write {
    pub(crate) fn doc(&self) -> &DocRef {
        match self {
            Write::Op(op) => &op.doc,
            Write::Gone(_, doc) => doc,
        }
    }

    pub(crate) fn weight(&self) -> usize {
        match self {
            Write::Op(op) => op.weight(),
            Write::Gone(_, doc) => doc.id.len() + 64,
        }
    }

    fn item(&self) -> BulkItem<'_> {
        match self {
            Write::Op(op) if matches!(op.change, Change::Index { .. }) => BulkItem::Index { op },
            Write::Op(op) => BulkItem::Delete { doc: &op.doc },
            Write::Gone(_, doc) => BulkItem::Delete { doc },
        }
    }

    /// Which of `lanes` lanes the document's operations go through.
    pub(crate) fn lane(&self, lanes: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        self.doc().id.hash(&mut hasher);
        (hasher.finish() % lanes as u64) as usize
    }
}

/// Why applying cannot go on by itself.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// The target will not have this document, now or later.
    #[error(
        "the target rejected document [{id}] of {shard} (seq_no {seq_no}), mend the cause and resume: {reason}"
    )]
    Rejected {
        /// The shard.
        shard: ShardKey,
        /// The document.
        id: String,
        /// Its operation.
        seq_no: SeqNo,
        /// What the target said.
        reason: String,
    },
    /// The follower index is not there any more.
    #[error("the follower index of {0} was deleted on the target; stop it, then start again")]
    IndexMissing(ShardKey),
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
