//! From the leader's snapshot to all of its files here: they are fetched while the snapshot is taken, and whatever breaks in
//! between, what has come is gone on with.
//!
//! One sitting is a stream that tells of the snapshot, with the fetches beside it. When any of them breaks, the next sitting asks for
//! the snapshot again. The leader agent keeps it for a while, so it is the same one; if it is another, it has most files in common with
//! the one before, as long as that is still in the repository.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use slipstream_wire::v1;
use slipstream_wire::v1::take_reply::Reply;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, Streaming};

use super::fetch::{Source, Wanted};
use super::{Progress, RestoreError, Restoring, Stage};
use crate::backoff::Backoff;
use crate::index::describe::{DescribeError, Description, describe};
use crate::leaders::LeaderLink;

/// Parts of an index's files on their way at once.
const AT_ONCE: usize = 4;
/// The leader agent says that it is there every five seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// A leader agent that answers, and of whose files nothing comes for this long, will not bring them.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long giving the snapshot back may take; the leader agent removes it by itself in the end.
const RELEASE: Duration = Duration::from_secs(3);

type Files = BTreeMap<String, Wanted>;

/// All files, and where changes go on; the snapshot is kept for us as long as this lives.
pub(super) struct Copied {
    pub(super) snapshot: v1::Snapshot,
    _kept: Streaming<v1::TakeReply>,
}

impl Restoring<'_> {
    /// The leader index as it is, as soon as an agent of the leader's answers: nothing else could be done without one.
    pub(super) async fn described(&self, progress: &Progress) -> Result<Description, RestoreError> {
        let link = self.context.leaders.link(&self.definition.leader_alias)?;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            match describe(&link, &self.definition.leader_index).await {
                Err(DescribeError::Leader(error)) => progress.wait_for(Some(crate::chain(&error))),
                done => {
                    progress.wait_for(None);
                    return Ok(done?);
                }
            }
            sleep(backoff.next()).await;
        }
    }

    /// Takes a snapshot and fetches its files.
    pub(super) async fn copy(
        &self,
        leader: &Description,
        progress: &Progress,
    ) -> Result<Copied, RestoreError> {
        let link = self.context.leaders.link(&self.definition.leader_alias)?;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let (mut moved, mut before) = (Instant::now(), progress.fetched());
        loop {
            let begun = Instant::now();
            let error = match self.sitting(&link, leader, progress).await {
                Ok(copied) => {
                    progress.wait_for(None);
                    return Ok(copied);
                }
                Err(error) => error,
            };
            let now = progress.fetched();
            // A snapshot may take long, and nothing comes meanwhile.
            if now > before || begun.elapsed() > SILENCE {
                before = now;
                moved = Instant::now();
                backoff.reset();
            }
            match &error {
                // Nothing else could be done without it either.
                RestoreError::Leader(_) => moved = Instant::now(),
                error if passes(error) && moved.elapsed() < PATIENCE => {}
                _ => return Err(error),
            }
            let reason = crate::chain(&error);
            tracing::debug!(index = %self.definition.follower_index, reason, "the copying of files is gone on with");
            progress.wait_for(Some(reason));
            sleep(backoff.next()).await;
        }
    }

    async fn sitting(
        &self,
        link: &Arc<LeaderLink>,
        leader: &Description,
        progress: &Progress,
    ) -> Result<Copied, RestoreError> {
        let connected = link.connect().await?;
        let index = self.definition.leader_index.to_string();
        let request = v1::TakeRequest {
            index: index.clone(),
            index_uuid: leader.uuid.to_string(),
        };
        let mut told = connected.snapshots().take(request).await?.into_inner();
        let share = self.context.transfers.share();
        let mut name = Arc::<str>::from("");
        let (mut wanted, mut snapshot) = (Files::new(), None);
        let mut busy = HashSet::new();
        let mut parts: FuturesUnordered<BoxFuture<'_, (String, Result<(), RestoreError>)>> =
            FuturesUnordered::new();
        // The smallest first: what is short is not kept waiting by what is long.
        let mut missing = BTreeSet::<(u64, String)>::new();
        loop {
            while busy.len() < AT_ONCE
                && let Some((_, path)) = missing.pop_first()
                && let Some(want) = wanted.get(&path).copied()
            {
                busy.insert(path.clone());
                let (connected, name, index, share) = (&connected, Arc::clone(&name), &index, &share);
                parts.push(Box::pin(async move {
                    let source = Source {
                        leader: connected,
                        snapshot: &name,
                        index,
                        share,
                    };
                    let done = self.files.part(&source, &path, want, progress).await;
                    (path, done)
                }));
            }
            if busy.is_empty()
                && let Some(snapshot) = snapshot.take()
            {
                self.files.leave_only(&wanted).await?;
                return Ok(Copied {
                    snapshot,
                    _kept: told,
                });
            }
            let news = tokio::select! {
                reply = next(&mut told) => Some(reply?),
                Some((path, done)) = parts.next() => {
                    busy.remove(&path);
                    done?;
                    if let Some(want) = wanted.get(&path) && !self.files.has(&path, want) {
                        missing.insert((want.length, path));
                    } else {
                        progress.files(self.files.count(&wanted));
                    }
                    None
                }
            };
            let blobs = match news {
                None | Some(Reply::Alive(_)) => continue,
                Some(Reply::Growing(growing)) => {
                    name = growing.name.into();
                    listed(&mut wanted, &growing.blobs, false);
                    growing.blobs
                }
                Some(Reply::Snapshot(told)) => {
                    self.has_all_places(leader, &told)?;
                    name = told.name.as_str().into();
                    wanted.clear();
                    listed(&mut wanted, &told.blobs, true);
                    snapshot.insert(told).blobs.clone()
                }
            };
            progress.wait_for(None);
            self.files.expect(&name, &wanted, &share.room).await?;
            let total: u64 = wanted.values().map(|want| want.length).sum();
            progress.at(self.files.bytes(&wanted), self.files.count(&wanted));
            if snapshot.is_some() {
                missing.clear();
                progress.enter(Stage::Transfer(total, wanted.len() as u64));
            }
            let fresh = blobs.into_iter().filter(|blob| !busy.contains(&blob.path));
            missing.extend(fresh.filter_map(|blob| {
                let want = wanted.get(&blob.path)?;
                (!self.files.has(&blob.path, want)).then_some((blob.length, blob.path))
            }));
        }
    }

    fn has_all_places(&self, leader: &Description, snapshot: &v1::Snapshot) -> Result<(), RestoreError> {
        let told: HashSet<u32> = snapshot.places.iter().map(|place| place.shard).collect();
        if (0..leader.shards).all(|shard| told.contains(&shard)) {
            return Ok(());
        }
        Err(RestoreError::Changed(format!(
            "a shard of [{}] has no place to go on from",
            self.definition.leader_index
        )))
    }

    /// Tells the leader agent that its snapshot is not needed any more. It finds out by itself, only later.
    pub(super) async fn release(&self) {
        let told = async {
            let link = self.context.leaders.link(&self.definition.leader_alias)?;
            let connected = link.connect().await?;
            let uuid = self.definition.leader_index_uuid.as_ref();
            let request = v1::ReleaseRequest {
                index: self.definition.leader_index.to_string(),
                index_uuid: uuid.map(ToString::to_string).unwrap_or_default(),
            };
            connected.snapshots().release(request).await?;
            Ok::<_, RestoreError>(())
        };
        match timeout(RELEASE, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let reason = crate::chain(&error);
                tracing::debug!(index = %self.definition.leader_index, reason, "the leader's snapshot could not be given back");
            }
            Err(_) => {
                tracing::debug!(index = %self.definition.leader_index, after = ?RELEASE, "the leader agent does not take its snapshot back");
            }
        }
    }
}

fn listed(wanted: &mut Files, blobs: &[v1::Blob], whole: bool) {
    wanted.extend(blobs.iter().map(|blob| {
        let want = Wanted {
            length: blob.length,
            crc32: blob.crc32.filter(|_| whole),
            whole,
        };
        (blob.path.clone(), want)
    }));
}

/// Whether going on may help.
fn passes(error: &RestoreError) -> bool {
    match error {
        RestoreError::Silent | RestoreError::Chunk(_) | RestoreError::Short(_) => true,
        RestoreError::Agent(status) => matches!(
            status.code(),
            Code::Unavailable
                | Code::NotFound
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
                | Code::DeadlineExceeded
        ),
        _ => false,
    }
}

async fn next(told: &mut Streaming<v1::TakeReply>) -> Result<Reply, RestoreError> {
    loop {
        let reply = timeout(SILENCE, told.message())
            .await
            .map_err(|_| RestoreError::Silent)??;
        match reply {
            Some(v1::TakeReply { reply: Some(reply) }) => return Ok(reply),
            Some(v1::TakeReply { reply: None }) => {}
            None => return Err(Status::unavailable("it ended the snapshot").into()),
        }
    }
}
