//! Beginning with the leader's files: a snapshot there, its files here, a restore, and changes from the places that were read
//! before the snapshot was begun.
//!
//! Why the follower is exact after that: what is restored is acknowledged history (the leader agent sees to it), and everything above the
//! places comes again. What the snapshot holds already of that is known by sequence number, for [`known`] puts it into the map: as
//! long as nothing was written to the restored index, its sequence numbers are the leader's. So an operation
//! that is older than what was restored is dropped. A document that the leader deleted while the snapshot was taken is
//! found gone like any other: what lies below the places gets into the map before the first census, while everything else
//! goes on without (`shard/session/fill.rs`).
//!
//! Whatever happens in the middle, an attempt begins anew on the target, and goes on with the files that have come ([`copying`], [`fetch`]).
//! [`Restoring::clear`] leaves nothing of any, on the target, on disk or at the leader. What cannot be done this way is done by
//! documents; [`choice`] says which, and why. What indices share of the link and the target is in [`pace`],
//! how the files get to the target in [`way`].

mod choice;
mod copying;
mod fetch;
mod folder;
mod known;
mod pace;
mod progress;
mod room;
mod serve;
mod throttle;
mod way;

use std::path::PathBuf;
use std::time::Duration;

use futures::future::try_join_all;
use slipstream_cluster::{ClusterError, ErrorKind, Restore, RestoreState};
use slipstream_model::ident::fingerprint;
use slipstream_model::settings::{Settings, difference, left_out_of_a_restore, while_following};
use slipstream_model::{IndexUuid, ShardId};
use slipstream_store::{Definition, StoreError};
use slipstream_wire::chunk::ChunkError;
use slipstream_wire::v1;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::describe::{DescribeError, Description, created_at};
use super::prepare::PrepareError;
use super::task::TaskContext;
use crate::backoff::Backoff;
use crate::leaders::LeaderError;

use known::Restored;

pub(super) use choice::{Choice, choose};
pub(crate) use pace::Transfers;
pub(crate) use progress::{Progress, Stage};
pub use serve::FileServer;
pub(crate) use throttle::Throttle;
pub(super) use way::Way;
pub use way::{NoWay, check_folder};

use fetch::Files;

/// How long a look at the restore waits for its end.
const LOOK: Duration = Duration::from_millis(200);
/// A restore none of whose shards is being worked on for this long will not go on.
const STUCK: Duration = Duration::from_secs(15);

/// What cannot be set anew in a restore, and comes with the snapshot.
const FIXED: [&str; 3] = [
    "index.number_of_shards",
    "index.soft_deletes.enabled",
    "index.routing_partition_size",
];

/// Why an attempt came to nothing.
#[derive(Debug, Error)]
pub(super) enum RestoreError {
    /// No leader agent answers.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// The leader index cannot be described.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The leader agent could not take a snapshot, or lost it.
    #[error("the leader agent: {}", .0.message())]
    Agent(#[source] Box<Status>),
    /// It said nothing for a while.
    #[error("the leader agent was silent for too long")]
    Silent,
    /// A file could not be written here.
    #[error("cannot write {path}: this agent must be able to write the folder of its snapshots")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A piece of a file did not arrive as it was.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A file ended early.
    #[error("the leader agent did not send all of the file [{0}]")]
    Short(String),
    /// A file is another one each time.
    #[error(
        "the file [{0}] of the snapshot did not arrive as it was read, again and again: look at the disks of both agents"
    )]
    Damaged(String),
    /// A path that leads out of the folder, or is none.
    #[error("the leader agent names a file [{0}], which no repository holds")]
    Path(String),
    /// The folder is too small.
    #[error(
        "{needed} bytes of the snapshot are still to come, and {free} are free in the folder of this agent's snapshots, of which other indices \
         wait for {others}"
    )]
    Full {
        /// What the files still take.
        needed: u64,
        /// What is free.
        free: u64,
        /// What of it is promised to others.
        others: u64,
    },
    /// The target does not do what it takes.
    #[error("the target cluster does not restore the snapshot")]
    Target(#[from] ClusterError),
    /// It began to and does not go on.
    #[error("the target cluster does not go on with the restore: {0}")]
    Stuck(String),
    /// The leader index is another one by now.
    #[error("the leader index was changed while its files were copied: {0}")]
    Changed(String),
    /// The target does not know a setting that was asked for.
    #[error(transparent)]
    Settings(#[from] PrepareError),
    /// The agent's own store.
    #[error("the store of this agent failed")]
    Store(#[from] StoreError),
}

impl RestoreError {
    /// Whether nobody answers at the target, so that nothing can be said of the restore.
    pub(super) fn target_is_away(&self) -> bool {
        matches!(self, RestoreError::Target(error)
            if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Unknown) || error.status() == Some(503))
    }
}

impl From<Status> for RestoreError {
    fn from(status: Status) -> Self {
        RestoreError::Agent(Box::new(status))
    }
}

/// One index that begins with its files.
pub(super) struct Restoring<'a> {
    context: &'a TaskContext,
    definition: &'a Definition,
    /// The repository's name on the target, and its folder under the one that the operator gave.
    repository: String,
    files: Files,
    way: Way,
}

impl<'a> Restoring<'a> {
    /// The restore of an index whose files go through `folder`.
    pub(super) fn new(
        context: &'a TaskContext,
        definition: &'a Definition,
        folder: &std::path::Path,
    ) -> Self {
        let key = format!("{} {}", context.store.follower_id(), definition.follower_index);
        let repository = format!("slipstream-{:016x}", fingerprint(&key));
        Restoring {
            context,
            definition,
            files: Files::new(folder.join(&repository)),
            way: Way::through(context, folder),
            repository,
        }
    }

    /// From nothing to a follower index whose changes can follow. Returns it, and the leader index as it was copied.
    ///
    /// May be dropped at any moment, if it is run again or [`Restoring::clear`] is called before anything else is done with the index.
    pub(super) async fn run(&self, progress: &Progress) -> Result<(Description, IndexUuid), RestoreError> {
        self.clear_target().await?;
        progress.enter(Stage::Snapshot);
        let leader = self.described(progress).await?;
        if leader.created_at() != self.definition.restored_created_at.as_deref() {
            return Err(RestoreError::Changed(
                "it is another index of that name".to_owned(),
            ));
        }
        let copied = self.copy(&leader, progress).await?;
        // The next attempt finds files and snapshot as they are, should this one fail.
        let turn = self.context.transfers.restore().await;
        progress.enter(Stage::Restore);
        let lifted = self.context.throttle.lift();
        let restored = self.restore(&leader, &copied.snapshot, progress).await;
        if restored.is_err() {
            // It may have found what no checksum on the way could: that a file is another one on disk.
            self.files.forget();
        }
        restored?;
        drop((lifted, turn));
        progress.enter(Stage::Map);
        let uuid = self.remember(&leader, &copied.snapshot).await?;
        self.remove_files().await?;
        self.release().await;
        progress.enter(Stage::Done);
        Ok((leader, uuid))
    }

    async fn restore(
        &self,
        leader: &Description,
        snapshot: &v1::Snapshot,
        progress: &Progress,
    ) -> Result<(), RestoreError> {
        let (cluster, name) = (&self.context.cluster, &self.definition.follower_index);
        let _registered = self.register(snapshot).await?;
        let wanted = while_following(&leader.settings, &self.definition.overrides);
        let mut settings: Settings = difference(&leader.settings, &wanted);
        settings.retain(|name, value| !value.is_null() && !FIXED.contains(&name.as_str()));
        cluster
            .begin_restore(&Restore {
                repository: &self.repository,
                snapshot: &snapshot.name,
                index: &self.definition.leader_index,
                name,
                settings: &settings,
                without: &left_out_of_a_restore(),
            })
            .await?;
        let mut stuck = None;
        let mut pause = Backoff::new(Duration::from_millis(5), LOOK);
        loop {
            let looked = Instant::now();
            match cluster.restore_state(name, leader.shards, LOOK).await? {
                RestoreState::Complete => return self.forget_unknown_settings().await,
                RestoreState::InProgress(bytes) => {
                    progress.restored(bytes);
                    stuck = None;
                }
                RestoreState::Stuck(why) => {
                    let since = *stuck.get_or_insert_with(Instant::now);
                    if since.elapsed() > STUCK {
                        return Err(RestoreError::Stuck(why));
                    }
                }
            }
            // It may answer at once: before it has given the shards to its nodes, and where replicas are what it has enough of.
            if looked.elapsed() < LOOK / 2 {
                sleep(pause.next()).await;
            } else {
                pause.reset();
            }
        }
    }

    /// What the target does not know, a restore keeps aside in the index. Of the leader's it is left out, as with documents; what the
    /// operator has asked for is not.
    async fn forget_unknown_settings(&self) -> Result<(), RestoreError> {
        let index = &self.definition.follower_index;
        let unknown = self.context.cluster.forget_archived_settings(index).await?;
        let (asked_for, unknown): (Vec<_>, Vec<_>) = unknown
            .into_iter()
            .partition(|name| self.definition.overrides.contains_key(name));
        if !asked_for.is_empty() {
            return Err(PrepareError::UnknownOverride(asked_for).into());
        }
        if !unknown.is_empty() {
            tracing::warn!(%index, ?unknown, "the target does not have these settings of the leader");
        }
        Ok(())
    }

    /// Whether the target has an index of that name that this restore has made. A target that dies in the middle does not remember where
    /// the index came from; but the index is as old as the leader's, which nothing else that makes an index gives it.
    async fn is_ours(&self) -> Result<bool, RestoreError> {
        let (cluster, index) = (&self.context.cluster, &self.definition.follower_index);
        let settings = match cluster.settings(index).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(false),
            settings => settings?,
        };
        let created_at = created_at(&settings);
        if created_at.is_some() && created_at == self.definition.restored_created_at.as_deref() {
            return Ok(true);
        }
        Ok(cluster.is_restored_from(index, &self.repository).await?)
    }

    /// Puts every shard where its changes go on.
    async fn remember(
        &self,
        leader: &Description,
        snapshot: &v1::Snapshot,
    ) -> Result<IndexUuid, RestoreError> {
        let (cluster, index) = (&self.context.cluster, &self.definition.follower_index);
        let mut stats = cluster.seq_stats(std::slice::from_ref(index)).await?;
        let fewer = || RestoreError::Changed("the restored index has not as many shards".to_owned());
        let stats = stats
            .remove(index)
            .filter(|stats| stats.shards.len() == leader.shards as usize)
            .ok_or_else(fewer)?;
        let shards = snapshot.places.iter().map(|place| {
            let restored = stats.shards.get(&ShardId(place.shard));
            let restored = restored.map(|stats| Restored {
                cluster,
                store: &self.context.store,
                budget: &self.context.budget,
                index,
                place,
                stats,
            });
            async move { restored.ok_or_else(fewer)?.remember().await }
        });
        try_join_all(shards).await?;
        Ok(stats.uuid)
    }

    /// Leaves nothing of any attempt: on the target only an index that this restore has made is deleted.
    pub(super) async fn clear(&self) -> Result<(), RestoreError> {
        self.release().await;
        self.clear_target().await?;
        self.remove_files().await
    }

    /// Leaves nothing of an attempt on the target; files that have come stay.
    async fn clear_target(&self) -> Result<(), RestoreError> {
        let (cluster, index) = (&self.context.cluster, &self.definition.follower_index);
        if self.is_ours().await? {
            cluster.delete_index(index).await?;
        }
        let (store, index, shards) = (self.context.store.clone(), index.clone(), self.definition.shards);
        let cleared = move || (0..shards).try_for_each(|shard| store.shard(&index, ShardId(shard)).clear());
        Ok(crate::blocking(cleared).await?)
    }

    async fn remove_files(&self) -> Result<(), RestoreError> {
        match self.context.cluster.remove_repository(&self.repository).await {
            // Who may not remove one could not make one either, and clearing up would never end.
            Err(error) if error.kind == ErrorKind::Forbidden => {
                tracing::debug!(repository = self.repository, %error, "there should be no repository to remove");
            }
            removed => removed?,
        }
        self.files.remove().await
    }
}
