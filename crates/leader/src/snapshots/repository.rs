//! The folder of an agent's snapshots: a repository of its own in the cluster, which holds nothing but them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use slipstream_model::IndexName;
use slipstream_model::ident::fingerprint;
use thiserror::Error;

use super::group::Blobs;

/// What data files' names begin with.
const DATA: &str = "__";
/// The file that says which `index-N` counts.
const LATEST: &str = "index.latest";
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

/// What restoring an index takes.
#[derive(Debug)]
pub(super) struct Files {
    /// All files.
    pub(super) blobs: Blobs,
    /// Those that the next snapshot writes anew or removes, as they are now.
    pub(super) kept: BTreeMap<String, Bytes>,
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

    /// The data files of all snapshots, as long as they are now: path → length. Waits for the disk.
    pub(super) fn data_blobs(&self) -> Result<Blobs, RepositoryError> {
        let mut blobs = Blobs::new();
        self.walk_all(&mut blobs, &|path| name_of(path).starts_with(DATA))?;
        Ok(blobs)
    }

    /// Whether a file belongs to the index with this id. Shard folders may lie elsewhere than under `indices/ID`, by the
    /// engine's release, but always under the id.
    pub(super) fn is_of(path: &str, id: &str) -> bool {
        path.split('/').any(|part| part.contains(id))
    }

    /// The files that restoring each of these indices from a snapshot takes. Waits for the disk. No other snapshot may be taken
    /// or removed meanwhile.
    pub(super) fn files(&self, snapshot: &str, indices: &[IndexName]) -> Result<Vec<Files>, RepositoryError> {
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
        let mut common = Blobs::new();
        for name in [format!("snap-{uuid}.dat"), format!("meta-{uuid}.dat")] {
            self.add(&mut common, Path::new(&name))?;
        }
        let mut kept = BTreeMap::from([(latest.clone(), Bytes::from(bytes))]);
        kept.insert(LATEST.to_owned(), self.small(LATEST)?.into());
        common.extend(
            kept.iter()
                .map(|(name, bytes)| (name.clone(), bytes.len() as u64)),
        );
        let of_snapshot = format!("snap-{uuid}.dat");
        let mut found = Blobs::new();
        self.walk_all(&mut found, &|path| {
            let name = name_of(path);
            // The next snapshot writes a shard's list of files anew, and a restore does without.
            !name.starts_with("index-") && (!name.starts_with("snap-") || name == of_snapshot)
        })?;
        let files = indices.iter().map(|index| {
            let entry = contents.indices.get(index.as_str());
            let id = &entry
                .ok_or_else(|| unknown(format!("it does not name [{index}]")))?
                .id;
            let mut blobs = common.clone();
            let of_index = found.iter().filter(|(path, _)| Self::is_of(path, id));
            blobs.extend(of_index.map(|(path, length)| (path.clone(), *length)));
            self.leave_out_others(&mut blobs, &of_snapshot)?;
            Ok(Files {
                blobs,
                kept: kept.clone(),
            })
        });
        files.collect()
    }

    /// Takes away the data files of a shard that only other snapshots have. A shard's part of a snapshot names its own; what cannot
    /// be read of it speaks for keeping all.
    fn leave_out_others(&self, blobs: &mut Blobs, of_snapshot: &str) -> Result<(), RepositoryError> {
        let lists: Vec<String> = blobs
            .keys()
            .filter(|path| path.ends_with(&format!("/{of_snapshot}")))
            .cloned()
            .collect();
        for list in lists {
            let folder = &list[..list.len() - of_snapshot.len()];
            let names: Vec<String> = blobs
                .keys()
                .filter(|path| {
                    path.strip_prefix(folder)
                        .is_some_and(|name| name.starts_with(DATA))
                })
                .cloned()
                .collect();
            let bytes = self.small(&list)?;
            let others: BTreeSet<&String> = names
                .iter()
                .filter(|path| !is_named(&bytes, name_of(path)))
                .collect();
            if others.len() < names.len() {
                blobs.retain(|path, _| !others.contains(path));
            }
        }
        Ok(())
    }

    fn walk_all(&self, blobs: &mut Blobs, wanted: &dyn Fn(&str) -> bool) -> Result<(), RepositoryError> {
        // Shard folders need not lie under `indices/ID`: OpenSearch 3 puts a hash in front of that.
        self.walk(blobs, Path::new(""), wanted)
    }

    /// Bytes that are free where the folder is; `None` where that is not known.
    pub(super) fn free(&self) -> Option<u64> {
        let place = self.folder.ancestors().find(|folder| folder.exists())?;
        let about = rustix::fs::statvfs(place).ok()?;
        Some(about.f_bavail.saturating_mul(about.f_frsize))
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

    fn add(&self, blobs: &mut Blobs, path: &Path) -> Result<(), RepositoryError> {
        let full = self.folder.join(path);
        let about = fs::metadata(&full).map_err(|error| unreadable(&full, error))?;
        blobs.insert(path.to_string_lossy().into_owned(), about.len());
        Ok(())
    }

    fn walk(
        &self,
        blobs: &mut Blobs,
        folder: &Path,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), RepositoryError> {
        let full = self.folder.join(folder);
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            // Folders come and go while other snapshots are taken and removed.
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

/// The last name of a path.
fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Whether a shard's part of a snapshot names a data file. Names are texts of one length in it, a file in parts has one.
fn is_named(list: &[u8], file: &str) -> bool {
    let name = file.split_once(".part").map_or(file, |(name, _)| name).as_bytes();
    list.windows(name.len()).any(|bytes| bytes == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Two snapshots of an index, and one of another, in one repository.
    #[test]
    fn only_the_files_of_one_index_in_one_snapshot_are_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::new(folder.path(), "agent");
        let at = |path: &str, text: &str| put(repository.folder(), path, text);
        at(
            "index-3",
            r#"{"snapshots":[{"name":"old","uuid":"u1"},{"name":"new","uuid":"u2"}],"indices":{"a":{"id":"ida"},"b":{"id":"idb"}}}"#,
        );
        at("index.latest", "3");
        for root in ["snap-u1.dat", "snap-u2.dat", "meta-u1.dat", "meta-u2.dat"] {
            at(root, "x");
        }
        at("indices/ida/meta-m.dat", "x");
        at("indices/ida/0/index-g", "x");
        at("indices/ida/0/snap-u1.dat", "..__gone..__both");
        at("indices/ida/0/snap-u2.dat", "..__both..__fresh");
        for data in ["__gone", "__both", "__fresh.part0", "__fresh.part1"] {
            at(&format!("indices/ida/0/{data}"), "data");
        }
        at("indices/idb/0/__other", "data");
        let files = repository.files("new", &["a".into()]).unwrap().remove(0);
        let paths: Vec<&str> = files.blobs.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "index-3",
                "index.latest",
                "indices/ida/0/__both",
                "indices/ida/0/__fresh.part0",
                "indices/ida/0/__fresh.part1",
                "indices/ida/0/snap-u2.dat",
                "indices/ida/meta-m.dat",
                "meta-u2.dat",
                "snap-u2.dat"
            ]
        );
        assert_eq!(files.kept["index.latest"], "3");
        assert_eq!(repository.data_blobs().unwrap().len(), 5);
        assert!(repository.files("new", &["c".into()]).is_err());
    }
}
