//! The files of a snapshot from the leader agent into a folder, some at a time, each checked chunk by chunk and gone on with where
//! a connection broke.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures::future::try_join_all;
use slipstream_wire::v1;
use tokio::fs::{File, create_dir_all};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Progress, RestoreError};
use crate::backoff::Backoff;
use crate::leaders::Connected;

/// Files on their way at once.
const AT_ONCE: usize = 4;
/// A connection that brings nothing for this long is broken.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a file is gone on with after it brought nothing.
const TRIES: u32 = 8;

/// Fetches all files.
pub(super) async fn all(
    leader: &Connected,
    snapshot: &v1::Snapshot,
    folder: &Path,
    progress: &Progress,
) -> Result<(), RestoreError> {
    let needed: u64 = snapshot.blobs.iter().map(|blob| blob.length).sum();
    room(folder, needed).await?;
    let turns = Semaphore::new(AT_ONCE);
    let mut files = Vec::with_capacity(snapshot.blobs.len());
    for blob in &snapshot.blobs {
        let path = place(folder, &blob.path)?;
        let turns = &turns;
        files.push(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            one(leader, &snapshot.name, blob, &path, progress).await
        });
    }
    try_join_all(files).await.map(drop)
}

/// Makes the folder, if there is room for the files in it.
async fn room(folder: &Path, needed: u64) -> Result<(), RestoreError> {
    let unwritable = |source| RestoreError::File {
        path: folder.to_owned(),
        source,
    };
    create_dir_all(folder).await.map_err(unwritable)?;
    let about = rustix::fs::statvfs(folder).map_err(|error| unwritable(error.into()))?;
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    if free < needed {
        return Err(RestoreError::Full { needed, free });
    }
    Ok(())
}

/// Where a file goes; never outside of the folder.
fn place(folder: &Path, path: &str) -> Result<PathBuf, RestoreError> {
    let relative = Path::new(path);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !inside {
        return Err(RestoreError::Path(path.to_owned()));
    }
    Ok(folder.join(relative))
}

async fn one(
    leader: &Connected,
    snapshot: &str,
    blob: &v1::Blob,
    path: &Path,
    progress: &Progress,
) -> Result<(), RestoreError> {
    let file = |source: io::Error| RestoreError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        create_dir_all(parent).await.map_err(file)?;
    }
    let mut into = File::create(path).await.map_err(file)?;
    let (mut written, mut tries) = (0, 0);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    while written < blob.length {
        let before = written;
        let end = portion(leader, snapshot, blob, &mut written, &mut into, progress).await;
        match end {
            Ok(()) => {}
            Err(Broken::File(source)) => return Err(file(source)),
            Err(Broken::Link(error)) => {
                tries = if written > before { 0 } else { tries + 1 };
                // A file that grew shorter, or a snapshot that is gone, stays so.
                if tries == TRIES
                    || matches!(&error, RestoreError::Agent(status) if status.code() == tonic::Code::NotFound)
                {
                    return Err(error);
                }
                tracing::debug!(
                    path = blob.path,
                    written,
                    error = crate::chain(&error),
                    "a file is gone on with"
                );
                sleep(backoff.next()).await;
            }
        }
    }
    into.flush().await.map_err(file)
}

/// Why a portion ended early.
enum Broken {
    /// Here.
    File(io::Error),
    /// On the way.
    Link(RestoreError),
}

/// Fetches what is missing of a file, until the connection breaks.
async fn portion(
    leader: &Connected,
    snapshot: &str,
    blob: &v1::Blob,
    written: &mut u64,
    into: &mut File,
    progress: &Progress,
) -> Result<(), Broken> {
    let link = |error: RestoreError| Broken::Link(error);
    let request = v1::FetchRequest {
        name: snapshot.to_owned(),
        path: blob.path.clone(),
        offset: *written,
    };
    let mut snapshots = leader.snapshots();
    let opened = timeout(SILENCE, snapshots.fetch(request)).await;
    let opened = opened.map_err(|_| link(RestoreError::Silent))?;
    let mut chunks = opened.map_err(|status| link(status.into()))?.into_inner();
    while *written < blob.length {
        let chunk = timeout(SILENCE, chunks.message()).await;
        let chunk = chunk.map_err(|_| link(RestoreError::Silent))?;
        let Some(v1::Chunk { data, crc32 }) = chunk.map_err(|status| link(status.into()))? else {
            return Err(link(RestoreError::Damaged(blob.path.clone())));
        };
        let fits = data.len() as u64 <= blob.length - *written;
        if !fits || data.is_empty() || crc32fast::hash(&data) != crc32 {
            return Err(link(RestoreError::Damaged(blob.path.clone())));
        }
        into.write_all(&data).await.map_err(Broken::File)?;
        *written += data.len() as u64;
        progress.received(data.len() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_goes_outside_of_the_folder() {
        let folder = Path::new("/repo/own");
        for path in ["", "/etc/passwd", "../other", "indices/../../x", "indices/.."] {
            assert!(place(folder, path).is_err(), "{path}");
        }
        assert_eq!(
            place(folder, "indices/a/0/__b").unwrap(),
            Path::new("/repo/own/indices/a/0/__b")
        );
    }
}
