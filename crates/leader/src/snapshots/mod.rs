//! Snapshots for followers that begin: taken of one index, streamed file by file, and gone when the follower is.
//!
//! What is guaranteed to who restores one: everything in it is acknowledged history (I1), for it is handed out only after
//! every shard's global checkpoint has passed what the snapshot may hold, in the same primary term and history. And the places told
//! with it were read before it was begun, so changes that go on from there leave nothing out.
//!
//! A snapshot lives as long as the stream that asked for it. [`taking`] makes it and clears up, however that stream ends;
//! what a crash left is cleared up when the agent starts. [`repository`] is its folder.

mod repository;
mod taking;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipstream_model::IndexName;
use slipstream_wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::authorise::Caller;
use crate::cause;
use crate::server::Agent;
use repository::Repository;

/// Chunks of a file that wait for the connection: memory of this agent (I8).
const CHUNKS: usize = 4;

/// The snapshots of an agent. Cheap to clone; all clones share them.
#[derive(Clone, Default)]
pub(crate) struct Snapshots(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `None`: this agent has no folder for snapshots.
    repository: Option<Arc<Repository>>,
    alive: Mutex<BTreeMap<String, Alive>>,
    /// Registering the repository for a snapshot, and removing it after the last one, take turns.
    registering: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

/// A snapshot that is there to be fetched.
#[derive(Debug, Clone)]
struct Alive {
    index: IndexName,
    /// Path → length.
    blobs: Arc<BTreeMap<String, u64>>,
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

    fn alive(&self) -> MutexGuard<'_, BTreeMap<String, Alive>> {
        self.0.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears up what an earlier life of this agent left, beside everything else.
    pub(crate) fn sweep(&self, agent: &Agent) {
        if self.0.repository.is_some() {
            let (snapshots, agent) = (self.clone(), agent.clone());
            self.0.tasks.spawn(async move {
                tokio::select! {
                    () = taking::sweep(&snapshots, &agent) => {}
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
}

#[tonic::async_trait]
impl v1::snapshots_server::Snapshots for SnapshotsService {
    type TakeStream = ReceiverStream<Result<v1::TakeReply, Status>>;
    type FetchStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn survey(&self, request: Request<v1::SurveyRequest>) -> Result<Response<v1::SurveyReply>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let index = self.index(&caller, request.index, &request.index_uuid).await?;
        let unavailable = match &self.0.snapshots.0.repository {
            None => "the leader agent has no folder for snapshots (snapshot_path)".to_owned(),
            Some(_) => String::new(),
        };
        let bytes = self.0.watch.cluster().primary_bytes(&index).await;
        Ok(Response::new(v1::SurveyReply {
            unavailable,
            bytes: bytes.map_err(|error| cause::of_cluster(&error))?,
        }))
    }

    async fn take(&self, request: Request<v1::TakeRequest>) -> Result<Response<Self::TakeStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let index = self.index(&caller, request.index, &request.index_uuid).await?;
        if self.0.snapshots.0.repository.is_none() {
            return Err(Status::failed_precondition(
                "the leader agent has no folder for snapshots: set [cluster] snapshot_path in leader.toml",
            ));
        }
        tracing::info!(identity = %caller, %index, "a follower agent asks for a snapshot");
        let (replies, answered) = mpsc::channel(2);
        let agent = self.0.clone();
        self.0.snapshots.0.tasks.spawn(async move {
            taking::take(&agent, index, &caller, replies).await;
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let caller = Caller::of(&request)?;
        let v1::FetchRequest { name, path, offset } = request.into_inner();
        let gone = || {
            Status::not_found(format!(
                "there is no snapshot [{name}] (any more) with a file [{path}]"
            ))
        };
        let found = self.0.snapshots.alive().get(&name).cloned();
        let (Some(alive), Some(repository)) = (found, &self.0.snapshots.0.repository) else {
            return Err(gone());
        };
        self.0.access.check(&caller, &alive.index)?;
        // Only what was found in the repository can be asked for, so no path leads anywhere else.
        let length = *alive.blobs.get(&path).ok_or_else(gone)?;
        let (chunks, answered) = mpsc::channel(CHUNKS);
        let file = repository.folder().join(&path);
        self.0.snapshots.0.tasks.spawn_blocking(move || {
            repository::read(&file, offset..length, &chunks);
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }
}
