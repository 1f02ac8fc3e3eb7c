//! One snapshot from its beginning to its removal.

use std::sync::Arc;
use std::time::Duration;

use slipstream_cluster::{ClusterError, IndexSeqStats, IndexState, SnapshotState};
use slipstream_model::words::chain;
use slipstream_model::{IndexName, ShardId};
use slipstream_wire::v1;
use slipstream_wire::v1::take_reply::Reply;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::repository::{Repository, RepositoryError};
use super::{Alive, Snapshots};
use crate::authorise::Caller;
use crate::server::Agent;

/// The follower hears from a snapshot at least this often.
const ALIVE: Duration = Duration::from_secs(5);
/// Between two looks at what is under way: an eighth of the time that it has taken so far, within these. So what is waited too
/// long stays small against the whole.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// Between two tries to clear up; grows from the first to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long what the snapshot holds may take to be acknowledged. The engines' slowest way, under `async` durability, is 30 s.
const ACKNOWLEDGED: Duration = Duration::from_mins(1);
/// How long clearing up is tried.
const CLEARING: Duration = Duration::from_mins(5);

#[derive(Debug, Error)]
enum TakeError {
    #[error("the leader cluster did not do what a snapshot takes")]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("the snapshot failed: {0}")]
    Failed(String),
    #[error("[{index}][{shard}] has no started primary")]
    NoPrimary { index: IndexName, shard: ShardId },
    #[error("the primary of [{index}][{shard}] changed while the snapshot was taken")]
    Moved { index: IndexName, shard: ShardId },
    #[error("what the snapshot holds of [{index}][{shard}] was not acknowledged within a minute")]
    Unacknowledged { index: IndexName, shard: ShardId },
    #[error("a fault in this agent: {0}")]
    Broken(String),
}

/// What a shard must still be when the snapshot is handed out.
struct Survey {
    state: IndexState,
    stats: IndexSeqStats,
}

/// Takes a snapshot, keeps it as long as anybody listens, removes it.
pub(super) async fn take(
    agent: &Agent,
    index: IndexName,
    caller: &Caller,
    replies: mpsc::Sender<Result<v1::TakeReply, Status>>,
) {
    let snapshots = agent.snapshots.clone();
    let Some(repository) = &snapshots.0.repository else {
        return;
    };
    let name = format!("slipstream-{:016x}", rand::random::<u64>());
    let taken = async {
        let taken = make(agent, repository, &name, &index).await?;
        tracing::info!(%index, snapshot = name, files = taken.blobs.len(), "a snapshot is there to be fetched");
        Ok::<_, TakeError>(taken)
    };
    let told = async {
        tokio::pin!(taken);
        let taken = loop {
            tokio::select! {
                taken = &mut taken => break taken,
                () = sleep(ALIVE) => replies.send(Ok(alive())).await.map_err(drop)?,
            }
        };
        let reply = match taken {
            Ok(taken) => Ok(v1::TakeReply {
                reply: Some(Reply::Snapshot(taken)),
            }),
            Err(error) => {
                tracing::warn!(identity = %caller, %index, error = chain(&error), "no snapshot could be taken");
                Err(Status::unavailable(chain(&error)))
            }
        };
        if reply.is_err() {
            return replies.send(reply).await.map_err(drop);
        }
        replies.send(reply).await.map_err(drop)?;
        loop {
            sleep(ALIVE).await;
            replies.send(Ok(alive())).await.map_err(drop)?;
        }
    };
    tokio::select! {
        _ = told => {}
        () = replies.closed() => {}
        () = agent.shutdown.cancelled() => {
            let _ = replies.try_send(Err(crate::cause::shutting_down()));
        }
    }
    drop(replies);
    if timeout(CLEARING, clear(agent, &snapshots, &name)).await.is_err() {
        tracing::warn!(%index, snapshot = name, repository = repository.name(), "a snapshot could not be removed, it is tried again when the agent starts");
    }
}

fn alive() -> v1::TakeReply {
    v1::TakeReply {
        reply: Some(Reply::Alive(v1::take_reply::Alive {})),
    }
}

async fn make(
    agent: &Agent,
    repository: &Arc<Repository>,
    name: &str,
    index: &IndexName,
) -> Result<v1::Snapshot, TakeError> {
    let cluster = agent.watch.cluster();
    let before = survey(agent, index).await?;
    {
        let _turn = agent.snapshots.0.registering.lock().await;
        // Known from here on, so that nobody clears it up as a leftover, nor the repository.
        let nothing = Alive {
            index: index.clone(),
            blobs: Arc::default(),
        };
        agent.snapshots.alive().insert(name.to_owned(), nothing);
        cluster
            .put_repository(repository.name(), repository.folder(), false)
            .await?;
    }
    cluster.begin_snapshot(repository.name(), name, index).await?;
    let begun = Instant::now();
    loop {
        match cluster.snapshot_state(repository.name(), name).await? {
            SnapshotState::Complete => break,
            SnapshotState::Failed(why) => return Err(TakeError::Failed(why)),
            SnapshotState::InProgress => {}
        }
        sleep(pause(begun)).await;
    }
    acknowledged(agent, index, &before).await?;
    let places = before.stats.shards.iter().map(|(shard, stats)| v1::Place {
        shard: shard.0,
        global_checkpoint: stats.global_checkpoint.0.get(),
        history_uuid: stats.history_uuid.to_string(),
    });
    let places = places.collect();
    let listing = {
        let (repository, name, index) = (Arc::clone(repository), name.to_owned(), index.clone());
        tokio::task::spawn_blocking(move || repository.blobs(&name, &index))
    };
    let blobs = listing
        .await
        .map_err(|error| TakeError::Broken(error.to_string()))??;
    let listed = blobs.iter().map(|(path, length)| v1::Blob {
        path: path.clone(),
        length: *length,
    });
    let listed = listed.collect();
    let alive = Alive {
        index: index.clone(),
        blobs: Arc::new(blobs),
    };
    agent.snapshots.alive().insert(name.to_owned(), alive);
    Ok(v1::Snapshot {
        name: name.to_owned(),
        blobs: listed,
        places,
    })
}

async fn survey(agent: &Agent, index: &IndexName) -> Result<Survey, TakeError> {
    let no_primary = |shard| TakeError::NoPrimary {
        index: index.clone(),
        shard,
    };
    let cluster = agent.watch.cluster();
    // Terms before numbers: a primary that changes in between shows later as another term.
    let state = cluster.index_state(index).await?;
    let state = state.ok_or_else(|| no_primary(ShardId(0)))?;
    let mut stats = cluster.seq_stats(std::slice::from_ref(index)).await?;
    let stats = stats.remove(index).ok_or_else(|| no_primary(ShardId(0)))?;
    let missing = (0..state.shards)
        .map(ShardId)
        .find(|shard| !stats.shards.contains_key(shard));
    match missing {
        Some(shard) => Err(no_primary(shard)),
        None => Ok(Survey { state, stats }),
    }
}

/// Waits until everything that the snapshot may hold is acknowledged, under the primaries of before. What a primary has written and
/// not yet replicated is in it too; had that primary died, other operations could have taken those sequence numbers, and nothing
/// that follows would ever have told.
async fn acknowledged(agent: &Agent, index: &IndexName, before: &Survey) -> Result<(), TakeError> {
    let after = survey(agent, index).await?;
    let begun = Instant::now();
    loop {
        let now = survey(agent, index).await?;
        let mut behind = None;
        for (shard, held) in &after.stats.shards {
            let same = |survey: &Survey| {
                let term = survey.state.primary_terms.get(shard);
                let history = survey.stats.shards.get(shard).map(|stats| &stats.history_uuid);
                term == before.state.primary_terms.get(shard)
                    && history == before.stats.shards.get(shard).map(|stats| &stats.history_uuid)
            };
            if !same(&now) || now.state.uuid != before.state.uuid {
                return Err(TakeError::Moved {
                    index: index.clone(),
                    shard: *shard,
                });
            }
            let stands = now.stats.shards.get(shard).map(|stats| stats.global_checkpoint.0);
            if stands.is_none_or(|stands| stands < held.max_seq_no) {
                behind = Some(*shard);
            }
        }
        let Some(shard) = behind else { return Ok(()) };
        if begun.elapsed() > ACKNOWLEDGED {
            return Err(TakeError::Unacknowledged {
                index: index.clone(),
                shard,
            });
        }
        // Under `async` durability it moves with the next action only.
        agent.watch.cluster().refresh(index).await?;
        sleep(pause(begun)).await;
    }
}

/// How long to wait before looking again at what has begun then.
fn pause(begun: Instant) -> Duration {
    (begun.elapsed() / 8).clamp(LOOK.0, LOOK.1)
}

/// Removes a snapshot, and the repository with the last one.
async fn clear(agent: &Agent, snapshots: &Snapshots, name: &str) {
    let Some(repository) = &snapshots.0.repository else {
        return;
    };
    let cluster = agent.watch.cluster();
    let mut pause = AGAIN.0;
    while let Err(error) = cluster.remove_snapshot(repository.name(), name).await {
        tracing::debug!(snapshot = name, %error, "removing a snapshot is tried again");
        sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
    }
    snapshots.alive().remove(name);
    forget(agent, snapshots, repository).await;
}

/// Removes the repository, unless it is in use.
async fn forget(agent: &Agent, snapshots: &Snapshots, repository: &Arc<Repository>) {
    let _turn = snapshots.0.registering.lock().await;
    if !snapshots.alive().is_empty() {
        return;
    }
    if let Err(error) = agent.watch.cluster().remove_repository(repository.name()).await {
        tracing::debug!(repository = repository.name(), %error, "the repository stays registered");
        return;
    }
    let repository = Arc::clone(repository);
    let cleared = tokio::task::spawn_blocking(move || repository.clear());
    let _ = cleared.await;
}

/// Removes what an earlier life left. Tried until the cluster answers.
pub(super) async fn sweep(snapshots: &Snapshots, agent: &Agent) {
    let Some(repository) = &snapshots.0.repository else {
        return;
    };
    let mut pause = Duration::from_secs(1);
    loop {
        match leftovers(snapshots, agent, repository).await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(%error, "looking for snapshots of an earlier life is tried again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_mins(1));
            }
        }
    }
}

async fn leftovers(
    snapshots: &Snapshots,
    agent: &Agent,
    repository: &Arc<Repository>,
) -> Result<(), ClusterError> {
    let cluster = agent.watch.cluster();
    for name in cluster.snapshots(repository.name()).await? {
        if !snapshots.alive().contains_key(&name) {
            cluster.remove_snapshot(repository.name(), &name).await?;
            tracing::info!(
                snapshot = name,
                "removed a snapshot that an earlier life of this agent left"
            );
        }
    }
    forget(agent, snapshots, repository).await;
    Ok(())
}
