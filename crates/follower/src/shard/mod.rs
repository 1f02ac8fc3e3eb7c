//! One shard: from the leader's stream to durable checkpoints.
//!
//! [`session`] speaks with the leader and decides; [`ledger`] knows what is on its way; [`deletes`] finds what is gone;
//! [`scribe`] has the map follow what is written, [`listing`] finds those that the target has and the map lacks; the lanes of [`crate::apply`] write. A session that ends for a passing reason is followed by another from the stored
//! place; what cannot pass ends the shard, and with it the index, with a [`ShardFailure`].

mod deletes;
mod ledger;
mod listing;
mod scribe;
mod session;

pub(crate) use listing::Listing;
pub(crate) use scribe::Scribe;
pub(crate) use session::{Repair, Repaired};

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{HistoryUuid, IndexUuid, ShardKey, event};
use slipstream_store::{ShardProgress, ShardStore, StoreError};
use slipstream_trace::Origin;
use slipstream_wire::cause;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::apply::{ApplyError, LaneContext};
use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::index::MetadataSync;
use crate::leaders::{LeaderBook, LeaderError};
use crate::status::ShardCell;

/// What a shard's sessions need.
pub(crate) struct ShardContext {
    /// The follower's shard.
    pub(crate) key: ShardKey,
    /// The leader's shard of the same number.
    pub(crate) leader: ShardKey,
    pub(crate) leader_alias: String,
    pub(crate) leader_index_uuid: IndexUuid,
    pub(crate) leaders: Arc<LeaderBook>,
    pub(crate) store: ShardStore,
    pub(crate) lanes: usize,
    pub(crate) scribe: Arc<Scribe>,
    /// Prefix of the lanes' names on the target.
    pub(crate) opaque_prefix: String,
    pub(crate) lane: LaneContext,
    pub(crate) metadata: Arc<MetadataSync>,
    pub(crate) budget: Budget,
    pub(crate) refresh_millis: u32,
    pub(crate) status: Arc<ShardCell>,
    /// Told when the leader's contents at the start have been copied.
    pub(crate) bootstrapped: Arc<tokio::sync::Notify>,
    /// What a comparison wants written again; taken by the session that has a stream.
    pub(crate) repairs: tokio::sync::Mutex<mpsc::Receiver<Repair>>,
    /// What the first stream belongs to; later ones are traces of their own.
    pub(crate) origin: Origin,
}

/// What ends a shard until somebody does something.
#[derive(Debug, Error)]
pub(crate) enum ShardFailure {
    /// The target does not take it.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The target does not take the metadata.
    #[error("{0}")]
    Metadata(String),
    /// The agent's own store.
    #[error("the store of this agent failed")]
    Store(#[from] StoreError),
    /// The leader cannot serve this shard any more; the word is one of [`cause`].
    #[error("{message}")]
    Leader {
        /// One of [`cause`].
        cause: String,
        /// In words.
        message: String,
    },
    /// The leader does not let us read.
    #[error("{0}")]
    Refused(String),
}

impl ShardFailure {
    /// Whether the leader says that the index was deleted.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, ShardFailure::Leader { cause, .. } if cause == cause::INDEX_GONE)
    }

    /// Whether the index is held rather than failed: the data is fine, somebody did something on the leader.
    pub(crate) fn pauses(&self) -> bool {
        matches!(self, ShardFailure::Leader { .. })
    }
}

/// Why one session ended.
#[derive(Debug)]
enum End {
    /// The index is being paused, stopped, or the agent shut down.
    Cancelled,
    /// Another session may do better.
    Passing(String),
    /// Another agent of the leader does better.
    Moving(String),
    /// No session can.
    Final(ShardFailure),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        End::Final(error.into())
    }
}

impl From<ApplyError> for End {
    fn from(error: ApplyError) -> Self {
        End::Final(error.into())
    }
}

impl From<LeaderError> for End {
    fn from(error: LeaderError) -> Self {
        // Registrations, certificates and rules can be mended while we try again.
        End::Passing(crate::chain(&error))
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        if let Some(error) = slipstream_wire::connect::HelloError::of_connection(&status) {
            return End::Passing(crate::chain(&error));
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::FailedPrecondition => {
                let cause = status
                    .metadata()
                    .get(cause::TRAILER)
                    .and_then(|v| v.to_str().ok());
                match cause.unwrap_or_default() {
                    // The leader's operator mends that, and then nobody here should have to do anything.
                    cause::LEADER_CLUSTER => End::Passing(format!("the leader agent: {message}")),
                    cause => End::Final(ShardFailure::Leader {
                        cause: cause.to_owned(),
                        message,
                    }),
                }
            }
            Code::PermissionDenied => End::Final(ShardFailure::Refused(message)),
            // What an agent says arrives without a source; this was found out on our side.
            _ if status.source().is_some() => End::Passing(format!(
                "the connection to the leader agent broke, connecting again: {message}"
            )),
            code => End::Passing(format!("the leader agent ({code:?}): {message}")),
        }
    }
}

/// What one session learns about the agents for the next one.
#[derive(Default)]
struct Route {
    /// An agent that did not open the shard when it was asked last.
    avoid: Option<String>,
    /// What the next stream belongs to.
    origin: Origin,
    /// How often another agent was moved to, and windows served there too.
    moves: u32,
}

/// A session that lived this long starts its successor's back-off anew.
const HEALTHY: Duration = Duration::from_secs(10);

/// Runs sessions until the token is cancelled (`Ok`) or no session can help.
pub(crate) async fn run(context: Arc<ShardContext>, cancel: CancellationToken) -> Result<(), ShardFailure> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    let mut route = Route {
        origin: context.origin.clone(),
        ..Route::default()
    };
    loop {
        let begun = Instant::now();
        let end = session::run(&context, &mut route, &cancel).await;
        context.status.closed();
        match end {
            End::Cancelled => return Ok(()),
            End::Final(failure) => return Err(failure),
            End::Passing(reason) => {
                context.status.read_failed();
                context.status.wait_for(event::SESSION_CUT, &reason);
            }
            End::Moving(agent) => {
                tracing::info!(shard = %context.key, agent, "another leader agent stands beside a copy");
                route.moves += 1;
                continue;
            }
        }
        if begun.elapsed() > HEALTHY {
            backoff.reset();
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = cancel.cancelled() => return Ok(()),
        }
    }
}

/// The history that a shard's progress is bound to changed to `found`, or reading missed documents: forget the place and
/// read everything again over what is there. The map of documents stays, and what is known to be missing in it, so that
/// what is gone is found.
pub(crate) fn reconcile(store: &ShardStore, history: Option<HistoryUuid>) -> Result<(), StoreError> {
    let before = store.progress()?;
    store.save_progress(&ShardProgress {
        history,
        reconciling: true,
        unmapped: before.unmapped,
        trail: before.trail,
        ..ShardProgress::default()
    })
}

#[cfg(test)]
mod tests {
    use slipstream_model::{Checkpoint, DurableCheckpoint, ShardId};
    use slipstream_store::{Run, Store, Trail, Unmapped};

    use super::*;

    #[test]
    fn i5_a_shard_that_is_read_again_still_knows_what_its_map_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap().shard(&"i".into(), ShardId(0));
        let before = ShardProgress {
            checkpoint: DurableCheckpoint::claim(Checkpoint::new(8)),
            bootstrapped: true,
            unmapped: Some(Unmapped {
                after: Checkpoint::new(3),
                through: Checkpoint::new(7),
            }),
            trail: Some(Trail {
                run: Some(Run::new("one")),
                above: Checkpoint::new(20),
            }),
            ..ShardProgress::default()
        };
        store.save_progress(&before).unwrap();
        reconcile(&store, Some("h".into())).unwrap();
        let after = store.progress().unwrap();
        assert_eq!(
            (after.checkpoint, after.unmapped, after.trail),
            (DurableCheckpoint::NONE, before.unmapped, before.trail)
        );
        assert!(after.reconciling);
    }
}
