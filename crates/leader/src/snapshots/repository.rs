//! The folder of an agent's snapshots: a repository of its own in the cluster, which holds nothing but them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use slipstream_model::IndexName;
use slipstream_model::ident::fingerprint;
use slipstream_wire::v1;
use thiserror::Error;
use tokio::sync::mpsc;
use tonic::Status;

/// Bytes in a chunk.
const CHUNK: u64 = 512 * 1024;
/// The list of a repository's contents is small, for few snapshots are in it at once.
const INDEX_BYTES: u64 = 64 << 20;

/// Why a snapshot's files cannot be handed out.
#[derive(Debug, Error)]
pub(super) enum RepositoryError {
    /// The agent cannot read what the cluster wrote.
    #[error("cannot read {path}: the agent must be able to read the folder that snapshot_path names")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What the cluster wrote is not understood.
    #[error("{path} is not what an engine that is known writes: {why}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Where it is, for the cluster and in the file system.
#[derive(Debug)]
pub(super) struct Repository {
    name: String,
    folder: PathBuf,
}

/// `index-N`: what is in a repository, as far as is needed to tell one snapshot's files from others'.
#[derive(Deserialize)]
struct Contents {
    snapshots: Vec<SnapshotEntry>,
    indices: BTreeMap<String, IndexEntry>,
}

#[derive(Deserialize)]
struct SnapshotEntry {
    name: String,
    uuid: String,
}

#[derive(Deserialize)]
struct IndexEntry {
    id: String,
}

impl Repository {
    pub(super) fn new(parent: &Path, agent: &str) -> Self {
        let name = format!("slipstream-{:016x}", fingerprint(agent));
        Repository {
            folder: parent.join(&name),
            name,
        }
    }

    /// Its name in the cluster.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files that restoring one index from one snapshot takes: path → length. Waits for the disk.
    pub(super) fn blobs(
        &self,
        snapshot: &str,
        index: &IndexName,
    ) -> Result<BTreeMap<String, u64>, RepositoryError> {
        let latest = self.latest()?;
        let bytes = self.small(&latest)?;
        let unknown = |why: String| RepositoryError::Unknown {
            path: self.folder.join(&latest),
            why,
        };
        let contents: Contents =
            serde_json::from_slice(&bytes).map_err(|error| unknown(error.to_string()))?;
        let entry = contents.snapshots.iter().find(|entry| entry.name == snapshot);
        let uuid = &entry
            .ok_or_else(|| unknown(format!("it does not name [{snapshot}]")))?
            .uuid;
        let id = &contents
            .indices
            .get(index.as_str())
            .ok_or_else(|| unknown(format!("it does not name [{index}]")))?
            .id;
        let mut blobs = BTreeMap::new();
        let wanted = [
            "index.latest".to_owned(),
            format!("snap-{uuid}.dat"),
            format!("meta-{uuid}.dat"),
            latest.clone(),
        ];
        for name in wanted {
            self.add(&mut blobs, Path::new(&name))?;
        }
        self.walk(&mut blobs, Path::new(""), &|path| {
            // Shard folders need not lie under `indices/ID`: OpenSearch 3 puts a hash in front of that. But always under the id.
            path.split('/').any(|part| part.contains(id.as_str()))
        })?;
        Ok(blobs)
    }

    /// The newest `index-N`.
    fn latest(&self) -> Result<String, RepositoryError> {
        let entries = fs::read_dir(&self.folder).map_err(|error| unreadable(&self.folder, error))?;
        let numbers = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("index-")?.parse::<u64>().ok()
        });
        let newest = numbers.max().ok_or_else(|| RepositoryError::Unknown {
            path: self.folder.clone(),
            why: "there is no index-N".to_owned(),
        })?;
        Ok(format!("index-{newest}"))
    }

    fn small(&self, name: &str) -> Result<Vec<u8>, RepositoryError> {
        let path = self.folder.join(name);
        let read = || {
            let mut bytes = Vec::new();
            File::open(&path)?.take(INDEX_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| unreadable(&path, error))
    }

    fn add(&self, blobs: &mut BTreeMap<String, u64>, path: &Path) -> Result<(), RepositoryError> {
        let full = self.folder.join(path);
        let about = fs::metadata(&full).map_err(|error| unreadable(&full, error))?;
        blobs.insert(path.to_string_lossy().into_owned(), about.len());
        Ok(())
    }

    fn walk(
        &self,
        blobs: &mut BTreeMap<String, u64>,
        folder: &Path,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), RepositoryError> {
        let full = self.folder.join(folder);
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            // Not every release has every folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&full, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&full, error))?;
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                self.walk(blobs, &path, wanted)?;
            } else if wanted(&path.to_string_lossy()) {
                self.add(blobs, &path)?;
            }
        }
        Ok(())
    }

    /// Removes what is left in the folder, as far as the agent may: the cluster's files need not be its own. Waits for the disk.
    pub(super) fn clear(&self) {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let folder = self.folder.display();
                tracing::debug!(%folder, %error, "a few small files of the repository stay, they are used again");
            }
            _ => {}
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> RepositoryError {
    RepositoryError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

/// Sends a range of a file, chunk by chunk, until the receiver has it or is gone. Waits for both.
pub(super) fn read(path: &Path, range: Range<u64>, chunks: &mpsc::Sender<Result<v1::Chunk, Status>>) {
    let send = || -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut left = range.end.saturating_sub(range.start);
        while left > 0 {
            let mut data = vec![0; left.min(CHUNK) as usize];
            file.read_exact(&mut data)?;
            left -= data.len() as u64;
            let crc32 = crc32fast::hash(&data);
            let chunk = v1::Chunk {
                data: data.into(),
                crc32,
            };
            if chunks.blocking_send(Ok(chunk)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    };
    if let Err(error) = send() {
        let words = format!("cannot read {}: {error}", path.display());
        let _ = chunks.blocking_send(Err(Status::unavailable(words)));
    }
}
