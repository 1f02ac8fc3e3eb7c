//! Why a reader stopped, in words for the operator of the follower.

use slipstream_cluster::{ClusterError, ErrorKind};
use slipstream_model::{Checkpoint, HistoryUuid, IndexUuid, ShardKey};
use thiserror::Error;

/// Why a shard can't be read, or not any further.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The leader cluster did not answer as it should; most causes pass.
    #[error("reading {shard} from the leader cluster failed")]
    Cluster {
        /// The shard.
        shard: ShardKey,
        /// What the cluster said.
        #[source]
        source: ClusterError,
    },
    /// The index does not exist any more.
    #[error("the leader index of {0} was deleted; resume when it is back, or stop following it")]
    IndexGone(ShardKey),
    /// The index is closed.
    #[error("the leader index of {0} is closed; its follower goes on by itself once it is open")]
    IndexClosed(ShardKey),
    /// Another index has the name now (I5).
    #[error(
        "the leader index of {shard} was deleted and created again (its uuid was {expected}, now it is {found}): \
         stop, delete the follower index and start again to follow the new one"
    )]
    IndexReplaced {
        /// The shard.
        shard: ShardKey,
        /// The index that was followed.
        expected: IndexUuid,
        /// The index that has its name now.
        found: IndexUuid,
    },
    /// The index has fewer shards than asked for.
    #[error("the leader index of {0} has no such shard")]
    NoSuchShard(ShardKey),
    /// The shard's past was rewritten (I5).
    #[error(
        "the history of {shard} changed on the leader (from {expected} to {found}): acknowledged operations may have \
         been lost there, by a restore or a forced allocation"
    )]
    HistoryChanged {
        /// The shard.
        shard: ShardKey,
        /// The history that the checkpoint belongs to.
        expected: HistoryUuid,
        /// The shard's history now.
        found: HistoryUuid,
    },
    /// The follower is ahead of the leader: the leader lost operations without changing its history.
    #[error(
        "{shard} is at {max_seq_no} on the leader, behind the follower's checkpoint {checkpoint}: the leader lost \
         acknowledged operations"
    )]
    Regressed {
        /// The shard.
        shard: ShardKey,
        /// The follower's checkpoint.
        checkpoint: Checkpoint,
        /// The highest sequence number that the leader knows.
        max_seq_no: Checkpoint,
    },
    /// No primary is started.
    #[error("{0} has no started primary on the leader")]
    NoPrimary(ShardKey),
}

impl ReadError {
    /// What a failed question to the leader cluster means for a shard's reader.
    pub(crate) fn of_cluster(shard: ShardKey, source: ClusterError) -> ReadError {
        match source.kind {
            ErrorKind::NotFound => ReadError::IndexGone(shard),
            ErrorKind::IndexClosed => ReadError::IndexClosed(shard),
            _ => ReadError::Cluster { shard, source },
        }
    }

    /// Whether trying again can help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            ReadError::Cluster { source, .. } => source.is_transient(),
            ReadError::NoPrimary(_) => true,
            ReadError::IndexGone(_)
            | ReadError::IndexClosed(_)
            | ReadError::IndexReplaced { .. }
            | ReadError::NoSuchShard(_)
            | ReadError::HistoryChanged { .. }
            | ReadError::Regressed { .. } => false,
        }
    }
}
