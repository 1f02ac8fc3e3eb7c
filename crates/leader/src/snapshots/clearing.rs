//! Removing snapshots, and the repository with the last one; also what an earlier life of the agent left.

use std::sync::Arc;
use std::time::Duration;

use slipstream_cluster::ClusterError;
use tokio::time::sleep;

use super::Snapshots;
use super::group::Group;
use super::repository::Repository;
use crate::server::Agent;

/// Between two tries; grows from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long snapshots of an earlier life are kept: a follower that begins again meanwhile gets a snapshot that has most of
/// its files in common with them, and need not have these sent again.
const EARLIER: Duration = Duration::from_secs(45);

/// Removes a group's snapshot, and the repository with the last one.
pub(super) async fn clear(agent: &Agent, repository: &Arc<Repository>, group: &Arc<Group>) {
    let (snapshots, cluster) = (&agent.snapshots, agent.watch.cluster());
    // Engines of old refuse to remove while they take another.
    let _turn = snapshots.0.turn.lock().await;
    let mut pause = PAUSE.0;
    while let Err(error) = cluster.remove_snapshot(repository.name(), &group.name).await {
        tracing::debug!(snapshot = group.name, %error, "removing a snapshot is tried again");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
    snapshots.groups().retain(|known| !Arc::ptr_eq(known, group));
    let groups = snapshots.groups().clone();
    snapshots
        .0
        .sums
        .retain(|path| groups.iter().any(|group| group.has(path)));
    forget(agent, repository).await;
}

/// Removes the repository, unless it is in use. The caller has the turn.
async fn forget(agent: &Agent, repository: &Arc<Repository>) {
    if !agent.snapshots.groups().is_empty() {
        return;
    }
    let cluster = agent.watch.cluster();
    // Nobody waits for anything now, so what an earlier life left is of no use either.
    let left = cluster.snapshots(repository.name()).await.unwrap_or_default();
    if let Err(error) = remove_left(agent, repository, &left).await {
        tracing::debug!(repository = repository.name(), %error, "a snapshot of an earlier life stays");
        return;
    }
    if let Err(error) = cluster.remove_repository(repository.name()).await {
        tracing::debug!(repository = repository.name(), %error, "the repository stays registered");
        return;
    }
    let repository = Arc::clone(repository);
    let cleared = tokio::task::spawn_blocking(move || repository.clear());
    let _ = cleared.await;
}

/// Removes what an earlier life left. Tried until the cluster answers.
pub(super) async fn sweep(snapshots: &Snapshots, agent: &Agent, repository: &Arc<Repository>) {
    let mut pause = Duration::from_secs(1);
    let mut left = None;
    loop {
        let swept = async {
            if left.is_none() {
                let mut found = agent.watch.cluster().snapshots(repository.name()).await?;
                found.retain(|name| !snapshots.groups().iter().any(|group| group.name == *name));
                left = Some(found);
            }
            let left = left.as_deref().unwrap_or_default();
            if !left.is_empty() {
                sleep(EARLIER).await;
            }
            leftovers(agent, repository, left).await
        };
        match swept.await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(%error, "looking for snapshots of an earlier life is tried again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_mins(1));
            }
        }
    }
}

async fn leftovers(agent: &Agent, repository: &Arc<Repository>, left: &[String]) -> Result<(), ClusterError> {
    let _turn = agent.snapshots.0.turn.lock().await;
    remove_left(agent, repository, left).await?;
    forget(agent, repository).await;
    Ok(())
}

/// Removes snapshots of an earlier life. The caller has the turn.
async fn remove_left(agent: &Agent, repository: &Repository, left: &[String]) -> Result<(), ClusterError> {
    let cluster = agent.watch.cluster();
    for name in left {
        cluster.remove_snapshot(repository.name(), name).await?;
        tracing::info!(
            snapshot = name,
            "removed a snapshot that an earlier life of this agent left"
        );
    }
    Ok(())
}
