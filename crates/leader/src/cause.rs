//! Why a stream was ended, as statuses of the wire: words for the operator, and a word for the follower agent.
//!
//! A follower agent decides by code whether to try again (`UNAVAILABLE`) or to hold the index (`FAILED_PRECONDITION`).
//! With the latter comes the trailer [`TRAILER`], one of the words of [`slipstream_wire::cause`], by which it tells an index that was
//! deleted from a history that changed without reading prose.

use slipstream_cluster::{ClusterError, ErrorKind};
use slipstream_model::words::chain;
use slipstream_source::ReadError;
use slipstream_wire::BatchError;
use slipstream_wire::cause::{
    HISTORY_CHANGED, INDEX_CLOSED, INDEX_GONE, INDEX_REPLACED, LEADER_CLUSTER, NO_SUCH_SHARD, REGRESSED,
    TRAILER,
};
use tonic::Status;
use tonic::metadata::MetadataValue;

/// The status that ends a stream whose reader stopped.
pub(crate) fn of_read(error: &ReadError) -> Status {
    if error.is_transient() {
        return Status::unavailable(chain(error));
    }
    let cause = match error {
        ReadError::IndexGone(_) => INDEX_GONE,
        ReadError::IndexClosed(_) => INDEX_CLOSED,
        ReadError::IndexReplaced { .. } => INDEX_REPLACED,
        ReadError::NoSuchShard(_) => NO_SUCH_SHARD,
        ReadError::HistoryChanged { .. } => HISTORY_CHANGED,
        ReadError::Regressed { .. } => REGRESSED,
        ReadError::Cluster { .. } | ReadError::NoPrimary(_) => LEADER_CLUSTER,
    };
    failed(chain(error), cause)
}

/// The status that ends a call whose question the leader cluster did not answer.
pub(crate) fn of_cluster(error: &ClusterError) -> Status {
    let words = format!("asking the leader cluster failed: {}", chain(error));
    if error.is_transient() {
        Status::unavailable(words)
    } else if error.kind == ErrorKind::NotFound {
        Status::not_found(words)
    } else {
        failed(words, LEADER_CLUSTER)
    }
}

/// The status that ends a stream whose operations could not be packed.
pub(crate) fn of_batch(error: &BatchError) -> Status {
    match error {
        BatchError::TooLarge { .. } => failed(chain(error), LEADER_CLUSTER),
        _ => Status::unavailable(chain(error)),
    }
}

/// The status of streams and calls that end because the agent does.
pub(crate) fn shutting_down() -> Status {
    Status::unavailable("leader agent is shutting down")
}

/// The status of a question about an index that the cluster itself says it does not have.
pub(crate) fn no_such_index(words: String) -> Status {
    with_cause(Status::not_found(words), INDEX_GONE)
}

fn failed(words: String, cause: &'static str) -> Status {
    with_cause(Status::failed_precondition(words), cause)
}

fn with_cause(mut status: Status, cause: &'static str) -> Status {
    status
        .metadata_mut()
        .insert(TRAILER, MetadataValue::from_static(cause));
    status
}

#[cfg(test)]
mod tests {
    use slipstream_model::{ShardId, ShardKey};
    use tonic::Code;

    use super::*;

    fn shard() -> ShardKey {
        ShardKey {
            index: "a".into(),
            shard: ShardId(0),
        }
    }

    #[test]
    fn what_can_pass_is_unavailable_and_names_every_cause() {
        let source = ClusterError::new(ErrorKind::Unreachable, "http://h:9200", "connection refused");
        let status = of_read(&ReadError::Cluster {
            shard: shard(),
            source,
        });
        assert_eq!(status.code(), Code::Unavailable);
        assert!(
            status
                .message()
                .starts_with("reading [a][0] from the leader cluster failed: "),
            "{status}"
        );
        assert!(status.message().contains("connection refused"), "{status}");
        assert!(status.metadata().get(TRAILER).is_none());
    }

    #[test]
    fn i5_a_changed_identity_is_told_by_code_word_and_words() {
        let history = ReadError::HistoryChanged {
            shard: shard(),
            expected: "h1".into(),
            found: "h2".into(),
        };
        let replaced = ReadError::IndexReplaced {
            shard: shard(),
            expected: "u1".into(),
            found: "u2".into(),
        };
        for (error, cause) in [
            (history, HISTORY_CHANGED),
            (replaced, INDEX_REPLACED),
            (ReadError::IndexGone(shard()), INDEX_GONE),
            (ReadError::IndexClosed(shard()), INDEX_CLOSED),
            (ReadError::NoSuchShard(shard()), NO_SUCH_SHARD),
        ] {
            let status = of_read(&error);
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(status.metadata().get(TRAILER).unwrap(), cause);
            assert_eq!(status.message(), error.to_string());
        }
    }
}
