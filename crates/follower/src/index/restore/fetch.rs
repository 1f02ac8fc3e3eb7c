//! The files of a snapshot in a folder: what has come of each, whether it is what the leader agent read, and the parts that are missing.
//!
//! What has come stays, whatever breaks: another connection, another attempt and another life of this agent go on behind it, as
//! long as the leader names a file of that path. A file counts as come when its checksum is that of the leader's whole file; one that
//! is not is fetched once more from its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_wire::{chunk, v1};
use tokio::time::timeout;

use super::folder::{self, blocking, place, unwritable};
use super::pace::Share;
use super::room::Claim;
use super::{Progress, RestoreError};
use crate::leaders::Connected;
use crate::{lock, metrics};

/// A connection that brings nothing for this long is broken.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a file may turn out to be another one.
const MISTAKES: u32 = 2;

/// What the leader agent has told of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) length: u64,
    /// The checksum of all of it, if that is known already.
    pub(super) crc32: Option<u32>,
    /// It will not grow any more.
    pub(super) whole: bool,
}

/// What there is of a file.
#[derive(Debug, Clone, Copy, Default)]
struct Have {
    length: u64,
    /// Of so much.
    crc32: u32,
    /// It is all of it, and what the leader agent has read.
    checked: bool,
    mistakes: u32,
}

/// Where files come from.
pub(super) struct Source<'a> {
    pub(super) leader: &'a Connected,
    pub(super) snapshot: &'a str,
    pub(super) index: &'a str,
    pub(super) share: &'a Share,
}

/// The files in a folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// The snapshot that they were checked against: the lists of another have the same names, and may have the same lengths.
    snapshot: Mutex<String>,
    have: Mutex<BTreeMap<String, Have>>,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Files {
            folder,
            snapshot: Mutex::default(),
            have: Mutex::default(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether all that is wanted of a file has come.
    pub(super) fn has(&self, path: &str, wanted: &Wanted) -> bool {
        let have = lock(&self.have).get(path).copied().unwrap_or_default();
        have.length >= wanted.length && (have.checked || !wanted.whole)
    }

    /// Bytes that have come of these.
    pub(super) fn bytes(&self, wanted: &BTreeMap<String, Wanted>) -> u64 {
        let have = lock(&self.have);
        let of = |(path, wanted): (&String, &Wanted)| Some(have.get(path)?.length.min(wanted.length));
        wanted.iter().filter_map(of).sum()
    }

    /// How many of these have come.
    pub(super) fn count(&self, wanted: &BTreeMap<String, Wanted>) -> u64 {
        wanted
            .iter()
            .filter(|(path, wanted)| self.has(path, wanted))
            .count() as u64
    }

    /// Makes the folder, finds what an earlier life left of files that are new to this one, and whether there is room for the rest.
    pub(super) async fn expect(
        &self,
        snapshot: &str,
        wanted: &BTreeMap<String, Wanted>,
        room: &Claim,
    ) -> Result<(), RestoreError> {
        if std::mem::replace(&mut *lock(&self.snapshot), snapshot.to_owned()) != snapshot {
            for have in lock(&self.have).values_mut() {
                (have.checked, have.mistakes) = (false, 0);
            }
        }
        let mut unknown = Vec::new();
        for path in wanted.keys() {
            if !lock(&self.have).contains_key(path) {
                unknown.push((path.clone(), place(&self.folder, path)?));
            }
        }
        let found = blocking(&self.folder, {
            let folder = self.folder.clone();
            move || {
                std::fs::create_dir_all(&folder)?;
                let found = unknown
                    .into_iter()
                    .map(|(path, file)| Ok((path, Have::of(&file)?)));
                found.collect::<io::Result<Vec<_>>>()
            }
        })
        .await?;
        lock(&self.have).extend(found);
        let all: u64 = wanted.values().map(|wanted| wanted.length).sum();
        let needed = all.saturating_sub(self.bytes(wanted));
        let about =
            rustix::fs::statvfs(&self.folder).map_err(|error| unwritable(&self.folder, error.into()))?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        let full = |others| RestoreError::Full { needed, free, others };
        room.claim(needed, free).map_err(full)
    }

    /// Fetches a part of what is missing of a file.
    pub(super) async fn part(
        &self,
        source: &Source<'_>,
        path: &str,
        wanted: Wanted,
        progress: &Progress,
    ) -> Result<(), RestoreError> {
        let file = place(&self.folder, path)?;
        let mut have = lock(&self.have).get(path).copied().unwrap_or_default();
        if have.length > wanted.length || (wanted.whole && have.is_another(&wanted)) {
            return self.restart(path, &file, have, progress).await;
        }
        if wanted.whole && have.length == wanted.length && wanted.crc32 == Some(have.crc32) {
            have.checked = true;
            lock(&self.have).insert(path.to_owned(), have);
            return Ok(());
        }
        let missing = wanted.length - have.length;
        let turn = match missing {
            0 => None,
            missing => Some(source.share.turn(missing).await),
        };
        let asked = turn.as_ref().map_or(0, |turn| turn.bytes);
        let request = v1::FetchRequest {
            name: source.snapshot.to_owned(),
            path: path.to_owned(),
            offset: have.length,
            index: source.index.to_owned(),
            length: asked,
        };
        let into = blocking(&file, {
            let file = file.clone();
            move || folder::open(&file)
        });
        let into = Arc::new(into.await?);
        let mut snapshots = source.leader.snapshots();
        let opened = timeout(SILENCE, snapshots.fetch(request)).await;
        let mut chunks = opened.map_err(|_| RestoreError::Silent)??.into_inner();
        let (end, mut told) = (have.length + asked, None);
        loop {
            let next = timeout(SILENCE, chunks.message()).await;
            let Some(chunk) = next.map_err(|_| RestoreError::Silent)?? else {
                break;
            };
            let (wire, crc32, file_crc32) = (chunk.data.len() as u64, chunk.crc32, chunk.file_crc32);
            let data = chunk::open(chunk)?;
            let length = data.len() as u64;
            if length > end - have.length {
                return Err(RestoreError::Short(path.to_owned()));
            }
            let at = have.length;
            blocking(&file, {
                let into = Arc::clone(&into);
                move || into.write_all_at(&data, at)
            })
            .await?;
            have.length += length;
            have.crc32 = chunk::joined(have.crc32, crc32, length);
            lock(&self.have).insert(path.to_owned(), have);
            progress.received(length);
            source.share.room.came(length);
            metrics::fetched(length, wire);
            told = told.or(file_crc32);
        }
        if have.length < end {
            return Err(RestoreError::Short(path.to_owned()));
        }
        match told {
            Some(crc32) if crc32 == have.crc32 => {
                have.checked = true;
                lock(&self.have).insert(path.to_owned(), have);
                Ok(())
            }
            Some(_) => self.restart(path, &file, have, progress).await,
            None if wanted.whole && have.length == wanted.length => Err(RestoreError::Short(path.to_owned())),
            None => Ok(()),
        }
    }

    /// Begins with a file anew: what there is of it is not the leader's.
    async fn restart(
        &self,
        path: &str,
        file: &Path,
        have: Have,
        progress: &Progress,
    ) -> Result<(), RestoreError> {
        let mistakes = have.mistakes + 1;
        tracing::warn!(
            path,
            length = have.length,
            mistakes,
            "a file is not as the leader agent read it, and is fetched anew"
        );
        if mistakes > MISTAKES {
            return Err(RestoreError::Damaged(path.to_owned()));
        }
        blocking(file, {
            let file = file.to_owned();
            move || File::create(&file).map(drop)
        })
        .await?;
        progress.lost(have.length);
        let anew = Have {
            mistakes,
            ..Have::default()
        };
        lock(&self.have).insert(path.to_owned(), anew);
        Ok(())
    }

    /// What is there is read anew before it counts again.
    pub(super) fn forget(&self) {
        lock(&self.have).clear();
    }

    /// Removes all files but these: others would be taken for parts of the repository.
    pub(super) async fn leave_only(&self, wanted: &BTreeMap<String, Wanted>) -> Result<(), RestoreError> {
        let keep: BTreeSet<PathBuf> = wanted.keys().map(|path| self.folder.join(path)).collect();
        lock(&self.have).retain(|path, _| wanted.contains_key(path));
        blocking(&self.folder, {
            let folder = self.folder.clone();
            move || folder::remove_others(&folder, &keep)
        })
        .await
    }

    /// Removes all of them, and the folder.
    pub(super) async fn remove(&self) -> Result<(), RestoreError> {
        lock(&self.have).clear();
        blocking(&self.folder, {
            let folder = self.folder.clone();
            move || folder::remove(&folder)
        })
        .await
    }
}

impl Have {
    /// What an earlier life left.
    fn of(file: &Path) -> io::Result<Have> {
        let (length, crc32) = folder::read_through(file)?;
        Ok(Have {
            length,
            crc32,
            ..Have::default()
        })
    }

    /// Whether it cannot become the file that is wanted.
    fn is_another(&self, wanted: &Wanted) -> bool {
        self.length == wanted.length && wanted.crc32.is_some_and(|crc32| crc32 != self.crc32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::Room;
    use super::*;

    #[tokio::test]
    async fn what_an_earlier_life_left_counts_and_what_is_of_no_use_goes() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("repo"));
        std::fs::create_dir_all(folder.path().join("repo/indices/a/0")).unwrap();
        let at = |path: &str| folder.path().join("repo").join(path);
        std::fs::write(at("indices/a/0/__x"), "12345").unwrap();
        std::fs::write(at("index-7"), "old").unwrap();
        let wanted = |length| Wanted {
            length,
            crc32: None,
            whole: true,
        };
        let all = BTreeMap::from([
            ("indices/a/0/__x".to_owned(), wanted(9)),
            ("index-8".to_owned(), wanted(3)),
        ]);
        let room = Room::default();
        let claim = room.claim();
        files.expect("one", &all, &claim).await.unwrap();
        assert_eq!((files.bytes(&all), files.count(&all)), (5, 0));
        files.leave_only(&all).await.unwrap();
        assert!(at("indices/a/0/__x").exists() && !at("index-7").exists());
        let huge = BTreeMap::from([("index-9".to_owned(), wanted(1 << 60))]);
        assert!(matches!(
            files.expect("one", &huge, &room.claim()).await,
            // Four bytes of the one and three of the other are still to come.
            Err(RestoreError::Full { others: 7, .. })
        ));
        files.remove().await.unwrap();
        files.remove().await.unwrap();
        assert!(!at("").exists());
    }
}
