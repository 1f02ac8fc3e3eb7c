//! Beginning with the leader's files: a snapshot there, its files here, a restore, and changes from the places that were read
//! before the snapshot was begun.
//!
//! Why the follower is exact after that: what is restored is acknowledged history (the leader agent sees to it), and everything above the
//! places comes again. What the snapshot holds already of that is known by sequence number, for [`known`] puts all restored
//! documents into the map: as long as nothing was written to the restored index, its sequence numbers are the leader's. So an operation
//! that is older than what was restored is dropped, and a document that the leader deleted while the snapshot was taken is
//! found gone like any other.
//!
//! Whatever happens in the middle, [`Restoring::clear`] leaves nothing of it, on the target or on disk, and an attempt begins anew. What
//! cannot be done this way is done by documents; [`choice`] says which, and why. [`way`] is how the files get to the target.

mod choice;
mod fetch;
mod known;
mod progress;
mod serve;
mod throttle;
mod way;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use slipstream_cluster::{ClusterError, Restore, RestoreState};
use slipstream_model::ident::fingerprint;
use slipstream_model::settings::{Settings, difference, left_out_of_a_restore, while_following};
use slipstream_model::{Checkpoint, DurableCheckpoint, HistoryUuid, IndexUuid, ShardId};
use slipstream_store::{Definition, ShardProgress, StoreError};
use slipstream_wire::v1;
use slipstream_wire::v1::take_reply::Reply;
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use super::describe::{DescribeError, Description, describe};
use super::task::TaskContext;
use crate::leaders::{Connected, LeaderError};
use crate::lock;

pub(super) use choice::{Choice, choose};
pub(crate) use progress::{Progress, Stage};
pub use serve::FileServer;
pub(crate) use throttle::Throttle;
pub(super) use way::Way;
pub use way::{NoWay, check_folder};

/// The leader agent says that it is there every five seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two looks at the restore; grows from the first to the second.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
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
    #[error("the leader agent was silent for {SILENCE:?}")]
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
    /// A file did not arrive as it was.
    #[error("the file [{0}] of the snapshot did not arrive as it was read")]
    Damaged(String),
    /// A path that leads out of the folder, or is none.
    #[error("the leader agent names a file [{0}], which no repository holds")]
    Path(String),
    /// The folder is too small.
    #[error(
        "the snapshot has {needed} bytes, and there are {free} free in the folder of this agent's snapshots"
    )]
    Full {
        /// What the files take.
        needed: u64,
        /// What is free.
        free: u64,
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
    /// The agent's own store.
    #[error("the store of this agent failed")]
    Store(#[from] StoreError),
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
    folder: PathBuf,
    way: Way,
    /// The index that was begun, in this life or an earlier one. A target that dies in the middle does not remember where it came
    /// from, so we do.
    begun: Mutex<Option<IndexUuid>>,
}

/// A snapshot that the leader agent keeps for us.
struct Taken {
    connected: Connected,
    snapshot: v1::Snapshot,
    alive: Streaming<v1::TakeReply>,
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
            folder: folder.join(&repository),
            way: Way::through(context, folder),
            repository,
            begun: Mutex::new(definition.restored_index_uuid.clone()),
        }
    }

    /// From nothing to a follower index whose changes can follow. Returns it, and the leader index as it was copied.
    ///
    /// May be dropped at any moment, if [`Restoring::clear`] is called before anything else is done with the index.
    pub(super) async fn run(&self, progress: &Progress) -> Result<(Description, IndexUuid), RestoreError> {
        self.clear().await?;
        let definition = self.definition;
        progress.enter(Stage::Snapshot);
        let link = self.context.leaders.link(&definition.leader_alias)?;
        let leader = describe(&link, &definition.leader_index).await?;
        let mut taken = self.take(&leader, link.connect().await?).await?;
        let length = taken.snapshot.blobs.iter().map(|blob| blob.length).sum();
        progress.enter(Stage::Transfer(length));
        let fetched = fetch::all(&taken.connected, &taken.snapshot, &self.folder, progress);
        tokio::select! {
            fetched = fetched => fetched?,
            lost = listen(&mut taken.alive) => return Err(lost),
        }
        progress.enter(Stage::Restore);
        let lifted = self.context.throttle.lift();
        self.restore(&leader, &taken.snapshot, progress).await?;
        drop(lifted);
        progress.enter(Stage::Map);
        let uuid = self.remember(&leader, &taken.snapshot).await?;
        self.remove_files().await?;
        progress.enter(Stage::Done);
        Ok((leader, uuid))
    }

    async fn take(&self, leader: &Description, connected: Connected) -> Result<Taken, RestoreError> {
        let request = v1::TakeRequest {
            index: self.definition.leader_index.to_string(),
            index_uuid: leader.uuid.to_string(),
        };
        let mut alive = connected.snapshots().take(request).await?.into_inner();
        loop {
            if let Reply::Snapshot(snapshot) = next(&mut alive).await? {
                let told: HashMap<u32, &v1::Place> =
                    snapshot.places.iter().map(|place| (place.shard, place)).collect();
                if (0..leader.shards).any(|shard| !told.contains_key(&shard)) {
                    return Err(RestoreError::Changed(
                        "a shard of it has no place to go on from".to_owned(),
                    ));
                }
                return Ok(Taken {
                    connected,
                    snapshot,
                    alive,
                });
            }
        }
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
        self.remember_begun().await?;
        let (mut pause, mut stuck) = (LOOK.0, None);
        loop {
            match cluster.restore_state(name).await? {
                RestoreState::Complete => return Ok(()),
                RestoreState::InProgress(bytes) => {
                    progress.restored(bytes);
                    stuck = None;
                }
                RestoreState::Stuck(why) => {
                    let since = *stuck.get_or_insert_with(tokio::time::Instant::now);
                    if since.elapsed() > STUCK {
                        return Err(RestoreError::Stuck(why));
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    /// Keeps in mind which index is being restored, so that a later life knows it for its own.
    async fn remember_begun(&self) -> Result<(), RestoreError> {
        let index = &self.definition.follower_index;
        let state = self.context.cluster.index_state(index).await?;
        let uuid = state.map(|state| state.uuid);
        lock(&self.begun).clone_from(&uuid);
        let definition = Definition {
            restored_index_uuid: uuid,
            ..self.definition.clone()
        };
        let store = self.context.store.clone();
        Ok(crate::blocking(move || store.put_definition(&definition)).await?)
    }

    /// The index that was begun, for the definition of a state that clears it up.
    pub(super) fn begun(&self) -> Option<IndexUuid> {
        lock(&self.begun).clone()
    }

    /// Whether the target has an index of that name that this restore has made.
    async fn is_ours(&self) -> Result<bool, RestoreError> {
        let (cluster, index) = (&self.context.cluster, &self.definition.follower_index);
        let begun = self.begun();
        let state = cluster.index_state(index).await?;
        if state.is_some_and(|state| Some(state.uuid) == begun) {
            return Ok(true);
        }
        Ok(cluster.is_restored_from(index, &self.repository).await?)
    }

    /// Puts all restored documents into the map, and every shard where its changes go on.
    async fn remember(
        &self,
        leader: &Description,
        snapshot: &v1::Snapshot,
    ) -> Result<IndexUuid, RestoreError> {
        let (cluster, index) = (&self.context.cluster, &self.definition.follower_index);
        let mut stats = cluster.seq_stats(std::slice::from_ref(index)).await?;
        let changed = |why: &str| RestoreError::Changed(why.to_owned());
        let stats = stats
            .remove(index)
            .filter(|stats| stats.shards.len() == leader.shards as usize)
            .ok_or_else(|| changed("the restored index has not as many shards"))?;
        for place in &snapshot.places {
            let shard = ShardId(place.shard);
            let stats = stats
                .shards
                .get(&shard)
                .ok_or_else(|| changed("it has not as many shards"))?;
            let store = self.context.store.shard(index, shard);
            known::remember_all(cluster, index, shard, stats, &store).await?;
            let progress = ShardProgress {
                // The engine has synced what it restored, and it holds all of this.
                checkpoint: DurableCheckpoint::claim(Checkpoint::new(place.global_checkpoint)),
                history: Some(HistoryUuid::new(place.history_uuid.clone())),
                ..ShardProgress::default()
            };
            crate::blocking(move || store.save_progress(&progress)).await?;
        }
        Ok(stats.uuid)
    }

    /// Leaves nothing of an attempt: on the target only an index that this restore has made is deleted.
    pub(super) async fn clear(&self) -> Result<(), RestoreError> {
        let (cluster, index) = (&self.context.cluster, &self.definition.follower_index);
        if self.is_ours().await? {
            cluster.delete_index(index).await?;
        }
        self.remove_files().await?;
        let (store, index, shards) = (self.context.store.clone(), index.clone(), self.definition.shards);
        let cleared = move || (0..shards).try_for_each(|shard| store.shard(&index, ShardId(shard)).clear());
        Ok(crate::blocking(cleared).await?)
    }

    async fn remove_files(&self) -> Result<(), RestoreError> {
        self.context.cluster.remove_repository(&self.repository).await?;
        let folder = self.folder.clone();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&folder)).await;
        match removed {
            Ok(Err(source)) if source.kind() != std::io::ErrorKind::NotFound => Err(RestoreError::File {
                path: self.folder.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }
}

async fn next(alive: &mut Streaming<v1::TakeReply>) -> Result<Reply, RestoreError> {
    loop {
        let reply = timeout(SILENCE, alive.message())
            .await
            .map_err(|_| RestoreError::Silent)??;
        match reply {
            Some(v1::TakeReply { reply: Some(reply) }) => return Ok(reply),
            Some(v1::TakeReply { reply: None }) => {}
            None => return Err(Status::unavailable("it ended the snapshot").into()),
        }
    }
}

/// Listens until the snapshot is lost.
async fn listen(alive: &mut Streaming<v1::TakeReply>) -> RestoreError {
    loop {
        if let Err(lost) = next(alive).await {
            return lost;
        }
    }
}
