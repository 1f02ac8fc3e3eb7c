//! Taking the snapshot of a group: the members' places first, then the snapshot, whose files are told as they grow.
//!
//! One at a time: engines before Elasticsearch 7.9 refuse a second one, and a running snapshot keeps the leader's indices from being
//! closed or deleted, so that few and short ones are wanted. Who asks while one is taken joins the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use slipstream_cluster::{ClusterError, ErrorKind, SnapshotState};
use slipstream_model::words::chain;
use slipstream_model::{IndexName, IndexUuid, ShardId};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use super::clearing::clear;
use super::group::{Group, Stage, Survey};
use super::pause;
use super::repository::{Repository, RepositoryError};
use crate::metrics;
use crate::server::Agent;

/// How long a snapshot waits for others that are asked for at about the same time.
const WINDOW: Duration = Duration::from_millis(20);
/// How long somebody else's snapshot may be in the way.
const TURN: Duration = Duration::from_mins(2);
/// How long clearing up is tried.
const CLEARING: Duration = Duration::from_mins(5);
/// Questions to the cluster at once.
const QUESTIONS: usize = 8;

#[derive(Debug, Error)]
pub(super) enum TakeError {
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

/// Takes a group's snapshot, keeps it as long as anybody needs it, removes it.
pub(super) async fn run(agent: &Agent, repository: &Arc<Repository>, group: &Arc<Group>) {
    let lived = async {
        sleep(WINDOW).await;
        let made = async {
            let _turn = agent.snapshots.0.turn.lock().await;
            make(agent, repository, group).await
        };
        tokio::select! {
            made = made => match made {
                Ok(indices) => {
                    metrics::snapshot(true);
                    tracing::info!(snapshot = group.name, indices, "a snapshot is there to be fetched");
                    group.reach(Stage::Complete);
                }
                Err(error) => {
                    metrics::snapshot(false);
                    tracing::warn!(snapshot = group.name, error = chain(&error), "no snapshot could be taken");
                    group.reach(Stage::Failed(chain(&error)));
                }
            },
            () = group.unused() => {}
        }
        group.unused().await;
    };
    tokio::select! {
        () = lived => {}
        () = agent.shutdown.cancelled() => {}
    }
    // From here on nobody joins; streams that are still open end.
    group.reach(Stage::Failed("the snapshot is being removed".to_owned()));
    if timeout(CLEARING, clear(agent, repository, group)).await.is_err() {
        tracing::warn!(
            snapshot = group.name,
            repository = repository.name(),
            "a snapshot could not be removed, it is tried again when the agent starts"
        );
    }
}

/// Takes the snapshot; returns of how many indices.
async fn make(agent: &Agent, repository: &Arc<Repository>, group: &Arc<Group>) -> Result<usize, TakeError> {
    let cluster = agent.watch.cluster();
    let asked = group.begin();
    register(agent, repository).await?;
    let before = listed(repository, Repository::data_blobs).await?;
    let before: BTreeSet<String> = before.into_keys().collect();
    let indices = begin(agent, repository, group, &asked).await?;
    if indices.is_empty() {
        return Ok(0);
    }
    let (begun, mut ids) = (Instant::now(), BTreeMap::new());
    loop {
        match cluster.snapshot_state(repository.name(), &group.name).await? {
            SnapshotState::Complete => break,
            SnapshotState::Failed(why) => return Err(TakeError::Failed(why)),
            SnapshotState::InProgress => {}
        }
        sleep(pause(begun)).await;
        if ids.is_empty() {
            ids = cluster.snapshot_ids(repository.name(), &group.name).await?;
        }
        let data = listed(repository, Repository::data_blobs).await?;
        for (index, id) in &ids {
            // What was there before is of another snapshot; whether it is of this one too is known at the end.
            let new = data.iter().filter(|(path, _)| !before.contains(*path));
            let grown = new.filter(|(path, _)| Repository::is_of(path, id));
            group.grown(
                index,
                grown.map(|(path, length)| (path.clone(), *length)).collect(),
            );
        }
    }
    let (snapshot, of) = (group.name.clone(), indices.clone());
    let files = listed(repository, move |repository| repository.files(&snapshot, &of)).await?;
    let count = indices.len();
    for (index, files) in indices.into_iter().zip(files) {
        group.listed(&index, files.blobs, files.kept);
    }
    Ok(count)
}

/// Registers the repository. While a snapshot runs in it that an earlier life of this agent has begun, engines refuse that.
async fn register(agent: &Agent, repository: &Repository) -> Result<(), ClusterError> {
    let cluster = agent.watch.cluster();
    let begun = Instant::now();
    loop {
        let registered = cluster.put_repository(repository.name(), repository.folder(), false);
        match registered.await {
            Err(error)
                if error.engine_type() == Some("illegal_state_exception") && begun.elapsed() < TURN =>
            {
                tracing::debug!(repository = repository.name(), %error, "registering the repository is tried again");
            }
            done => return done,
        }
        sleep(pause(begun)).await;
    }
}

/// Begins the snapshot of those members of which everything that it takes is known; tells the others.
async fn begin(
    agent: &Agent,
    repository: &Arc<Repository>,
    group: &Arc<Group>,
    asked: &[(IndexName, IndexUuid)],
) -> Result<Vec<IndexName>, TakeError> {
    let cluster = agent.watch.cluster();
    let (begun, mut wanted) = (Instant::now(), fitting(agent, repository, group, asked).await?);
    loop {
        // Read anew each time: what is acknowledged by then need not be sent again.
        let found = survey_all(agent, &wanted).await?;
        wanted.retain(|(index, _)| found.get(index).is_some_and(Result::is_ok));
        for (index, found) in found {
            group.surveyed(&index, found.map_err(|error| chain(&error)));
        }
        let indices: Vec<IndexName> = wanted.iter().map(|(index, _)| index.clone()).collect();
        if indices.is_empty() {
            return Ok(indices);
        }
        match cluster
            .begin_snapshot(repository.name(), &group.name, &indices)
            .await
        {
            Ok(()) => return Ok(indices),
            // An index went away since, or somebody else's snapshot is in the way.
            Err(error) if passes(&error) && begun.elapsed() < TURN => {
                tracing::debug!(snapshot = group.name, %error, "beginning a snapshot is tried again");
            }
            Err(error) => return Err(error.into()),
        }
        sleep(pause(begun)).await;
    }
}

/// Those members for whose files there is room in the folder beside those before them; tells the others. Files that a snapshot before
/// has left there are counted once more, so near its end the folder may take less than it could.
async fn fitting(
    agent: &Agent,
    repository: &Repository,
    group: &Group,
    asked: &[(IndexName, IndexUuid)],
) -> Result<Vec<(IndexName, IndexUuid)>, TakeError> {
    let names: Vec<IndexName> = asked.iter().map(|(index, _)| index.clone()).collect();
    let sizes = agent.watch.cluster().primary_bytes(&names).await?;
    let free = repository.free().unwrap_or(u64::MAX);
    Ok(within(free, group, asked, &sizes))
}

fn within(
    free: u64,
    group: &Group,
    asked: &[(IndexName, IndexUuid)],
    sizes: &BTreeMap<IndexName, u64>,
) -> Vec<(IndexName, IndexUuid)> {
    let (mut left, mut fit) = (free, asked.to_vec());
    fit.retain(|(index, _)| {
        let needed = sizes.get(index).copied().unwrap_or_default();
        let Some(rest) = left.checked_sub(needed) else {
            group.surveyed(index, Err(no_room(needed, left)));
            return false;
        };
        left = rest;
        true
    });
    fit
}

/// Why an index is not in a snapshot that has room for so many bytes.
pub(super) fn no_room(needed: u64, left: u64) -> String {
    format!(
        "the index has {} MiB, and in the leader agent's folder for snapshots {} MiB are free",
        needed >> 20,
        left >> 20
    )
}

fn passes(error: &ClusterError) -> bool {
    error.kind == ErrorKind::NotFound
        || error.engine_type() == Some("concurrent_snapshot_execution_exception")
}

async fn survey_all(
    agent: &Agent,
    wanted: &[(IndexName, IndexUuid)],
) -> Result<BTreeMap<IndexName, Result<Survey, TakeError>>, ClusterError> {
    let cluster = agent.watch.cluster();
    // Terms before numbers: a primary that changes in between shows later as another term.
    let states: Vec<_> = futures::stream::iter(wanted.to_vec())
        .map(|(index, uuid)| async move {
            let state = cluster.index_state(&index).await;
            (index, uuid, state)
        })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    let names: Vec<IndexName> = wanted.iter().map(|(index, _)| index.clone()).collect();
    let mut stats = cluster.seq_stats(&names).await?;
    let mut found = BTreeMap::new();
    for (index, uuid, state) in states {
        let state = state?.filter(|state| state.uuid == uuid);
        let surveyed = match (state, stats.remove(&index)) {
            (Some(state), Some(stats)) => whole(&index, Survey { state, stats }),
            _ => Err(no_primary(&index, ShardId(0))),
        };
        found.insert(index, surveyed);
    }
    Ok(found)
}

/// How an index stands now; in the order of [`survey_all`]. That its terms are the older part is why [`super::taking`] looks once more
/// before it believes them.
pub(super) async fn survey(agent: &Agent, index: &IndexName) -> Result<Survey, TakeError> {
    let cluster = agent.watch.cluster();
    let state = cluster.index_state(index).await?;
    let state = state.ok_or_else(|| no_primary(index, ShardId(0)))?;
    let mut stats = cluster.seq_stats(std::slice::from_ref(index)).await?;
    let stats = stats.remove(index).ok_or_else(|| no_primary(index, ShardId(0)))?;
    whole(index, Survey { state, stats })
}

fn whole(index: &IndexName, survey: Survey) -> Result<Survey, TakeError> {
    let missing = (0..survey.state.shards)
        .map(ShardId)
        .find(|shard| !survey.stats.shards.contains_key(shard));
    match missing {
        Some(shard) => Err(no_primary(index, shard)),
        None => Ok(survey),
    }
}

fn no_primary(index: &IndexName, shard: ShardId) -> TakeError {
    TakeError::NoPrimary {
        index: index.clone(),
        shard,
    }
}

/// What is found in the repository's folder, away from the runtime's threads.
async fn listed<T: Send + 'static>(
    repository: &Arc<Repository>,
    look: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
) -> Result<T, TakeError> {
    let repository = Arc::clone(repository);
    let found = tokio::task::spawn_blocking(move || look(&repository)).await;
    Ok(found.map_err(|error| TakeError::Broken(error.to_string()))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_index_takes_of_the_folder_is_not_there_for_the_next() {
        let group = Arc::new(Group::new("s".to_owned(), "one".to_owned()));
        let sizes = [("a", 60), ("b", 50), ("c", 40), ("d", 1)].map(|(name, mib)| (name.into(), mib << 20));
        let asked: Vec<_> = sizes
            .each_ref()
            .map(|(name, _)| (IndexName::clone(name), "u".into()))
            .into();
        let _members: Vec<_> = asked
            .iter()
            .map(|(index, uuid)| group.join("one", index, uuid))
            .collect();
        let fit = within(100 << 20, &group, &asked, &sizes.into());
        assert_eq!(fit, [asked[0].clone(), asked[2].clone()]);
        let Some(Stage::Failed(why)) = group.view(&"b".into()).map(|view| view.stage) else {
            panic!("it is told");
        };
        assert!(
            why.contains("has 50 MiB") && why.contains("40 MiB are free"),
            "{why}"
        );
        assert!(matches!(
            group.view(&"a".into()).map(|view| view.stage),
            Some(Stage::Asked)
        ));
    }
}
