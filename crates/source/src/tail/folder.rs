//! The translog folder of one shard copy, as somebody may read it who must not write there.
//!
//! The engine removes a generation as soon as a flush has made it needless, whether or not we have read it; an open
//! descriptor keeps it readable. So generations are opened when they appear (by the watcher, which never waits for
//! anybody) and kept until the tail has gone past them. What is kept pins the leader's disk, so there is a limit: beyond
//! it the oldest are let go, which the tail notices as a gap and the window reader fills.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use slipstream_translog::{CHECKPOINT_LENGTH, Checkpoint, FormatError, Header, names};
use tokio::sync::Notify;

/// Generations that are held open for one shard, at most.
const MOST_HELD: usize = 64;
/// And at most this many bytes of them that nothing but our descriptor keeps on the leader's disk.
const MOST_PINNED: u64 = 1 << 30;
/// How often a checkpoint that was caught in the middle of being written is read again, and how long after.
const TORN_READS: u32 = 50;
const TORN_PAUSE: Duration = Duration::from_micros(100);

/// File systems keep times in steps of some milliseconds.
const SETTLED: Duration = Duration::from_secs(1);

/// A state of the checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    written: SystemTime,
    file: u64,
}

/// Which file a name stood for: device and inode. Another file cannot have the same while this one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    fn of(about: &Metadata) -> Identity {
        Identity(about.dev(), about.ino())
    }
}

/// One shard copy's translog.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Of the checkpoint file.
    checkpoint: PathBuf,
    /// Told whenever something in the folder changed.
    pub(super) changed: Notify,
    /// The checkpoint file as it was last opened. The engine writes it in place, so each look needs only make sure that the name still
    /// stands for it.
    current: Mutex<Option<(Identity, File)>>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    generations: BTreeMap<u64, Arc<Generation>>,
    /// Last checkpoints of generations that were closed; told by `translog-G.ckp`, which goes together with `G`.
    closed: BTreeMap<u64, Checkpoint>,
    /// What lies before this was let go of for good. The engine closes such a file later, which the kernel tells like news.
    from: u64,
}

/// One generation, open.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    file: File,
    identity: Identity,
}

/// What stands at the head of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GenerationHeader {
    pub(super) uuid: String,
    /// Operations in this and earlier generations have at most this primary term.
    pub(super) term: u64,
    /// Where the first frame begins.
    pub(super) length: u64,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Folder {
            checkpoint: path.join(names::CHECKPOINT),
            path,
            changed: Notify::new(),
            current: Mutex::default(),
            held: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current checkpoint, and which file it is in. The engine writes it in place, so a reader may catch it half written: its CRC
    /// tells, and then it is read again.
    #[expect(
        clippy::disallowed_methods,
        reason = "for a write of a few bytes that is under way, which takes microseconds"
    )]
    pub(super) fn checkpoint(&self) -> io::Result<(Checkpoint, Identity)> {
        until_whole(|| self.read_current(), || std::thread::sleep(TORN_PAUSE))
    }

    fn read_current(&self) -> io::Result<Result<(Checkpoint, Identity), FormatError>> {
        let named = Identity::of(&std::fs::metadata(&self.checkpoint)?);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, file) = match current.take() {
            Some(open) if open.0 == named => current.insert(open),
            _ => {
                let file = File::open(&self.checkpoint)?;
                current.insert((Identity::of(&file.metadata()?), file))
            }
        };
        Ok(read_checkpoint(file)?.map(|checkpoint| (checkpoint, *identity)))
    }

    /// When the checkpoint was last written, and which file it is: tells cheaply that nothing has happened. `None` if it is not
    /// there, or was written so lately that another write could have left the same time.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let about = std::fs::metadata(&self.checkpoint).ok()?;
        let written = about.modified().ok()?;
        let settled = written.elapsed().is_ok_and(|age| age > SETTLED);
        settled.then_some(Stamp {
            written,
            file: about.ino(),
        })
    }

    /// Takes hold of what is in the folder now.
    pub(super) fn hold_all(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            if let Some(name) = entry?.file_name().to_str() {
                self.appeared(name);
            }
        }
        Ok(())
    }

    /// Something by this name was made or written to the end: takes hold of it if it is a generation, and keeps what a
    /// closed generation's checkpoint says.
    pub(super) fn appeared(&self, name: &str) {
        if let Some(number) = names::parse_generation(name) {
            let _ = self.generation(number);
        } else if let Some(number) = closed_generation(name) {
            let _ = self.closed(number);
        }
    }

    /// A generation, opened now if it is not held yet.
    pub(super) fn generation(&self, number: u64) -> io::Result<Arc<Generation>> {
        if let Some(generation) = self.held().generations.get(&number) {
            return Ok(Arc::clone(generation));
        }
        let file = File::open(self.path.join(names::generation(number)))?;
        let generation = Arc::new(Generation {
            number,
            identity: Identity::of(&file.metadata()?),
            file,
        });
        let mut held = self.held();
        if number >= held.from {
            held.generations.insert(number, Arc::clone(&generation));
            held.limit();
        }
        Ok(generation)
    }

    /// The checkpoint with which a generation was closed; `None` if nobody can tell any more.
    pub(super) fn closed(&self, number: u64) -> Option<Checkpoint> {
        if let Some(checkpoint) = self.held().closed.get(&number) {
            return Some(*checkpoint);
        }
        let path = self.path.join(names::generation_checkpoint(number));
        let checkpoint = read_checkpoint(&File::open(path).ok()?).ok()?.ok()?;
        if checkpoint.generation != number {
            return None;
        }
        let mut held = self.held();
        if number >= held.from {
            held.closed.insert(number, checkpoint);
        }
        Some(checkpoint)
    }

    /// Lets go of everything before a generation.
    pub(super) fn release_before(&self, number: u64) {
        let mut held = self.held();
        held.generations = held.generations.split_off(&number);
        held.closed = held.closed.split_off(&number);
        held.from = held.from.max(number);
    }

    /// How many generations are held open.
    #[cfg(test)]
    pub(super) fn held_generations(&self) -> usize {
        self.held().generations.len()
    }

    /// Whether the file by this generation's name is still the one that is open, not another of a folder made anew.
    pub(super) fn is_current(&self, generation: &Generation) -> io::Result<bool> {
        let named = std::fs::metadata(self.path.join(names::generation(generation.number)))?;
        Ok(Identity::of(&named) == generation.identity)
    }
}

impl Held {
    /// Keeps to the limits. Lengths are asked of the files, for a generation grows until the next one begins.
    fn limit(&mut self) {
        if self.generations.len() < 3 {
            return;
        }
        let length = |g: &Generation| g.file.metadata().map_or(0, |about| about.len());
        let mut pinned: u64 = self.generations.values().map(|g| length(g)).sum();
        // The newest is the engine's own, and costs nothing.
        while self.generations.len() > MOST_HELD || (pinned > MOST_PINNED && self.generations.len() > 1) {
            let Some((_, oldest)) = self.generations.pop_first() else {
                return;
            };
            pinned = pinned.saturating_sub(length(&oldest));
        }
    }
}

impl Generation {
    /// What stands at its head.
    pub(super) fn header(&self) -> io::Result<GenerationHeader> {
        let head = self.read(0, Header::MAX_LENGTH)?;
        let header = Header::parse(&head).map_err(|error| invalid(&error))?;
        Ok(GenerationHeader {
            uuid: header.uuid.to_owned(),
            term: header.primary_term,
            length: header.length as u64,
        })
    }

    /// Whether it was not removed. Much cheaper than to ask by its path.
    pub(super) fn has_a_name(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() > 0)
    }

    /// Up to `length` bytes from an offset; fewer at the end of the file.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(buffer.into())
    }
}

/// `G` of `translog-G.ckp`.
fn closed_generation(name: &str) -> Option<u64> {
    name.strip_prefix("translog-")?.strip_suffix(".ckp")?.parse().ok()
}

/// A checkpoint that is being written is read again, not for ever.
fn until_whole<T>(
    mut read: impl FnMut() -> io::Result<Result<T, FormatError>>,
    mut pause: impl FnMut(),
) -> io::Result<T> {
    let mut tries = 0;
    loop {
        match read()? {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(error @ FormatError::Unsupported { .. }) => return Err(invalid(&error)),
            Err(error) if tries == TORN_READS => return Err(invalid(&error)),
            Err(_) => {
                tries += 1;
                pause();
            }
        }
    }
}

fn read_checkpoint(file: &File) -> io::Result<Result<Checkpoint, FormatError>> {
    // One byte more than it should have, so that a longer file is not taken for a good one, and so that one read is enough: it comes
    // back short of what was asked for where the file ends.
    let mut bytes = [0; CHECKPOINT_LENGTH + 1];
    let filled = loop {
        match file.read_at(&mut bytes, 0) {
            Ok(filled) => break filled,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    Ok(Checkpoint::parse(&bytes[..filled]))
}

/// A file that is there and makes no sense.
pub(super) fn invalid(error: &FormatError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use slipstream_translog::encode;

    use super::*;

    #[test]
    fn a_checkpoint_that_is_being_written_is_read_again_but_not_for_ever() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(names::CHECKPOINT);
        let folder = Folder::new(place.path().to_owned());
        let checkpoint = Checkpoint {
            offset: 55,
            ops: 0,
            generation: 1,
            min_seq_no: -1,
            max_seq_no: -1,
            global_checkpoint: -1,
            min_generation: 1,
            trimmed_above: -2,
        };
        let whole = encode::checkpoint(&checkpoint, encode::Version::V4);
        let mut torn = whole.clone();
        torn[20..40].fill(0xff);
        std::fs::write(&path, &torn).unwrap();

        let mut pauses = 0;
        let error = until_whole(|| folder.read_current(), || pauses += 1).unwrap_err();
        assert_eq!((error.kind(), pauses), (io::ErrorKind::InvalidData, TORN_READS));

        let written_now = || std::fs::write(&path, &whole).unwrap();
        assert!(until_whole(|| folder.read_current(), written_now).is_ok());
    }
}
