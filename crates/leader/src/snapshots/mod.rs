//! Snapshots for followers that begin: taken of some indices, streamed file by file, and gone when no follower needs them.
//!
//! What is guaranteed to who restores one: everything in it is acknowledged history (I1), for all of it is told only after
//! every shard's global checkpoint has passed what the snapshot may hold, in the same primary term and history; before that files
//! may be fetched and not be restored. And the places told with it were read before it was begun, so changes that go on from
//! there leave nothing out.
//!
//! [`group`] is who shares a snapshot and how long it is needed, [`making`] takes it, [`taking`] tells one follower of it, [`reading`]
//! sends files, [`clearing`] removes it, and what a crash left when the agent starts. [`repository`] is its folder.

mod clearing;
mod group;
mod making;
mod reading;
mod repository;
mod taking;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slipstream_model::{IndexName, IndexUuid};
use slipstream_wire::{chunk, v1};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::authorise::Caller;
use crate::cause;
use crate::server::Agent;
use group::{Group, Membership, Stage};
use reading::{Part, Sums};
use repository::Repository;

/// Between two looks at what is under way: an eighth of the time that it has taken so far, within these. So what is waited too
/// long stays small against the whole.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// Chunks of a file that wait for the connection: memory of this agent (I8). A follower agent fetches a dozen at once.
const CHUNKS: usize = 4;

/// The snapshots of an agent. Cheap to clone; all clones share them.
#[derive(Clone, Default)]
pub(crate) struct Snapshots(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `None`: this agent has no folder for snapshots.
    repository: Option<Arc<Repository>>,
    groups: Mutex<Vec<Arc<Group>>>,
    sums: Sums,
    /// Taking a snapshot, removing one, and removing the repository take turns.
    turn: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

impl Snapshots {
    /// Snapshots in a folder under `path`, which all nodes of the cluster share. `agent` tells this agent's from those of others
    /// there, in every life.
    pub(crate) fn new(path: Option<PathBuf>, agent: &str) -> Self {
        Snapshots(Arc::new(Inner {
            repository: path.map(|path| Arc::new(Repository::new(&path, agent))),
            ..Inner::default()
        }))
    }

    /// A follower needs its snapshot of an index no more: it says so, or follows the index's changes, should its word have been lost.
    pub(crate) fn release(&self, caller: &Caller, index: &IndexName, uuid: &IndexUuid) {
        let caller = caller.to_string();
        for group in self.groups().iter() {
            group.release(&caller, index, uuid);
        }
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Arc<Group>>> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in a snapshot of the index: one that is there, one that will be taken, or a new one.
    fn join(
        &self,
        agent: &Agent,
        repository: &Arc<Repository>,
        caller: &str,
        index: &IndexName,
        uuid: &IndexUuid,
    ) -> Option<Membership> {
        let mut groups = self.groups();
        if let Some(found) = groups.iter().find_map(|group| group.join(caller, index, uuid)) {
            return Some(found);
        }
        let name = format!("slipstream-{:016x}", rand::random::<u64>());
        let group = Arc::new(Group::new(name, caller.to_owned()));
        let joined = group.join(caller, index, uuid);
        groups.push(Arc::clone(&group));
        let (agent, repository) = (agent.clone(), Arc::clone(repository));
        self.0.tasks.spawn(async move {
            making::run(&agent, &repository, &group).await;
        });
        joined
    }

    /// Clears up what an earlier life of this agent left, beside everything else.
    pub(crate) fn sweep(&self, agent: &Agent) {
        if let Some(repository) = self.0.repository.clone() {
            let (snapshots, agent) = (self.clone(), agent.clone());
            self.0.tasks.spawn(async move {
                tokio::select! {
                    () = clearing::sweep(&snapshots, &agent, &repository) => {}
                    () = agent.shutdown.cancelled() => {}
                }
            });
        }
    }

    /// Waits until everything is cleared up; after the agent's end was announced.
    pub(crate) async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// Takes snapshots and hands out their files.
pub(crate) struct SnapshotsService(pub(crate) Agent);

impl SnapshotsService {
    /// The index, if the caller may read it and it is the one that he means.
    async fn index(&self, caller: &Caller, index: String, uuid: &str) -> Result<IndexName, Status> {
        let index = IndexName::new(index);
        self.0.access.check(caller, &index)?;
        let state = self.0.watch.cluster().index_state(&index).await;
        let state = state.map_err(|error| cause::of_cluster(&error))?;
        match state {
            Some(state) if state.uuid.as_str() == uuid => Ok(index),
            _ => Err(Status::failed_precondition(format!(
                "the leader index [{index}] was deleted, or is another one by now"
            ))),
        }
    }

    /// Why there is no snapshot of an index with so many bytes.
    fn unavailable(&self, bytes: u64) -> Option<String> {
        let Some(repository) = &self.0.snapshots.0.repository else {
            return Some("the leader agent has no folder for snapshots (snapshot_path)".to_owned());
        };
        let free = repository.free().filter(|free| *free < bytes)?;
        Some(making::no_room(bytes, free))
    }
}

#[tonic::async_trait]
impl v1::snapshots_server::Snapshots for SnapshotsService {
    type TakeStream = ReceiverStream<Result<v1::TakeReply, Status>>;
    type FetchStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn survey(&self, request: Request<v1::SurveyRequest>) -> Result<Response<v1::SurveyReply>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let index = self.index(&caller, request.index, &request.index_uuid).await?;
        let sizes = self
            .0
            .watch
            .cluster()
            .primary_bytes(std::slice::from_ref(&index))
            .await;
        let sizes = sizes.map_err(|error| cause::of_cluster(&error))?;
        let bytes = sizes.get(&index).copied().unwrap_or_default();
        Ok(Response::new(v1::SurveyReply {
            unavailable: self.unavailable(bytes).unwrap_or_default(),
            bytes,
        }))
    }

    async fn take(&self, request: Request<v1::TakeRequest>) -> Result<Response<Self::TakeStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let uuid = IndexUuid::new(request.index_uuid.clone());
        let index = self.index(&caller, request.index, &request.index_uuid).await?;
        let snapshots = &self.0.snapshots;
        let Some(repository) = &snapshots.0.repository else {
            return Err(Status::failed_precondition(
                "the leader agent has no folder for snapshots: set [cluster] snapshot_path in leader.toml",
            ));
        };
        let joined = snapshots.join(&self.0, repository, &caller.to_string(), &index, &uuid);
        let membership = joined.ok_or_else(cause::shutting_down)?;
        tracing::info!(identity = %caller, %index, snapshot = membership.group.name, "a follower agent asks for a snapshot");
        let (replies, answered) = mpsc::channel(2);
        let agent = self.0.clone();
        snapshots.0.tasks.spawn(async move {
            taking::take(&agent, membership, &caller, replies).await;
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let index = IndexName::new(request.index);
        self.0.access.check(&caller, &index)?;
        let gone = || {
            Status::not_found(format!(
                "there is no snapshot [{}] (any more) with a file [{}] of [{index}]",
                request.name, request.path
            ))
        };
        let snapshots = &self.0.snapshots;
        let group = snapshots
            .groups()
            .iter()
            .find(|group| group.name == request.name)
            .cloned();
        let view = group.and_then(|group| group.view(&index)).ok_or_else(gone)?;
        let repository = snapshots.0.repository.clone().ok_or_else(gone)?;
        // Only what was found in the repository can be asked for, so no path leads anywhere else.
        let length = *view.blobs.get(&request.path).ok_or_else(gone)?;
        let begin = request.offset.min(length);
        let end = match request.length {
            0 => length,
            most => length.min(begin.saturating_add(most)),
        };
        let last = view.stage == Stage::Complete && end == length;
        let (chunks, answered) = mpsc::channel(CHUNKS);
        if let Some(kept) = view.kept.get(&request.path) {
            let mut chunk = chunk::plain(Bytes::copy_from_slice(&kept[begin as usize..end as usize]));
            chunk.file_crc32 = last.then(|| crc32fast::hash(kept));
            let _ = chunks.try_send(Ok(chunk));
            return Ok(Response::new(ReceiverStream::new(answered)));
        }
        let snapshots = snapshots.clone();
        self.0.snapshots.0.tasks.spawn_blocking(move || {
            let file = repository.folder().join(&request.path);
            let part = Part {
                file: &file,
                path: &request.path,
                range: begin..end,
                last,
            };
            snapshots.0.sums.send(&part, &chunks);
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseReply>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (index, uuid) = (IndexName::new(request.index), IndexUuid::new(request.index_uuid));
        self.0.access.check(&caller, &index)?;
        self.0.snapshots.release(&caller, &index, &uuid);
        Ok(Response::new(v1::ReleaseReply {}))
    }
}

/// How long to wait before looking again at what has begun then.
fn pause(begun: Instant) -> Duration {
    (begun.elapsed() / 8).clamp(LOOK.0, LOOK.1)
}
