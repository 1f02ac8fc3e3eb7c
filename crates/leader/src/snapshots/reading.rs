//! Reading files of a snapshot, chunk by chunk, with a checksum over the whole file that costs no second reading.
//!
//! A file is read once from its beginning to its end, most often in parts, and by one follower. So the checksums of its
//! beginnings are kept, sparsely: a part is gone on with from the nearest of them. Data files only ever grow; one that was made
//! anew in between is another file, of which nothing is known.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc32fast::Hasher;
use slipstream_wire::chunk::{self, CHUNK_BYTES};
use slipstream_wire::v1;
use tokio::sync::mpsc;
use tonic::Status;

/// Checksums are kept of beginnings that are so many bytes apart.
const STEP: u64 = 16 << 20;
/// A link that a chunk waits for longer than this, behind those of a dozen files, is slower than compressing.
const SLOW: Duration = Duration::from_millis(24);

/// What is known of files, by path.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<HashMap<String, Sum>>);

#[derive(Debug, Clone, Default)]
struct Sum {
    inode: u64,
    /// Checksums of beginnings, in the order of their lengths.
    marks: Vec<(u64, u32)>,
    /// The longest beginning that was read, and its checksum.
    longest: (u64, u32),
    /// Its first chunk did not become smaller.
    dense: bool,
}

/// A part of a file that is wanted.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Where it is.
    pub(super) file: &'a Path,
    /// By which name its checksums are kept.
    pub(super) path: &'a str,
    pub(super) range: Range<u64>,
    /// Whether the file ends there for good.
    pub(super) last: bool,
}

type Chunks = mpsc::Sender<Result<v1::Chunk, Status>>;

impl Sums {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Sum>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checksum of the first `length` bytes of a file, if they were read to their end.
    pub(super) fn of(&self, path: &str, length: u64) -> Option<u32> {
        let known = self.known();
        let (longest, crc) = known.get(path)?.longest;
        (longest == length).then_some(crc)
    }

    /// Forgets the files that are none of these.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.known().retain(|path, _| keep(path));
    }

    fn get(&self, path: &str, inode: u64) -> Sum {
        let known = self.known().get(path).cloned();
        known.filter(|sum| sum.inode == inode).unwrap_or_else(|| Sum {
            inode,
            ..Sum::default()
        })
    }

    /// Keeps what was learned, unless another reader has learned more meanwhile.
    fn put(&self, path: &str, sum: Sum) {
        let mut known = self.known();
        let longer = known
            .get(path)
            .is_some_and(|known| known.inode == sum.inode && known.longest.0 > sum.longest.0);
        if !longer {
            known.insert(path.to_owned(), sum);
        }
    }

    /// Sends a part, until the receiver has it or is gone. Waits for both and for the disk.
    pub(super) fn send(&self, part: &Part<'_>, chunks: &Chunks) {
        if let Err(error) = self.read(part, chunks) {
            let words = format!("cannot read {}: {error}", part.file.display());
            let _ = chunks.blocking_send(Err(Status::unavailable(words)));
        }
    }

    fn read(&self, part: &Part<'_>, chunks: &Chunks) -> io::Result<()> {
        let mut file = File::open(part.file)?;
        let mut sum = self.get(part.path, file.metadata()?.ino());
        let mut crc = sum.through(&mut file, part.range.start)?;
        let (mut at, mut waited) = (part.range.start, Duration::ZERO);
        while at < part.range.end || (part.last && at == part.range.start) {
            let wanted = (part.range.end - at).min(CHUNK_BYTES);
            let mut chunk = chunk::plain(read(&mut file, wanted)?);
            at += wanted;
            crc = chunk::joined(crc, chunk.crc32, wanted);
            sum.learn(at, crc);
            if waited > SLOW && !sum.dense {
                match chunk::compressed(&chunk.data, chunk.crc32) {
                    Some(smaller) => chunk = smaller,
                    None => sum.dense = true,
                }
            }
            if part.last && at == part.range.end {
                chunk.file_crc32 = Some(crc);
            }
            let begun = Instant::now();
            if chunks.blocking_send(Ok(chunk)).is_err() {
                break;
            }
            waited = begun.elapsed();
            if wanted == 0 {
                break;
            }
        }
        self.put(part.path, sum);
        Ok(())
    }
}

/// So many bytes of a file, or none.
fn read(file: &mut File, length: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(length as usize);
    // Into memory that nobody has cleared first.
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length {
        Ok(bytes.into())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Sum {
    /// The checksum of the first `offset` bytes; the file stands behind them then.
    fn through(&mut self, file: &mut File, offset: u64) -> io::Result<u32> {
        let known = self.marks.iter().rev().chain([&self.longest]);
        let nearest = known.filter(|(at, _)| *at <= offset).max();
        let (mut at, mut crc) = nearest.copied().unwrap_or_default();
        file.seek(SeekFrom::Start(at))?;
        while at < offset {
            let bytes = read(file, (offset - at).min(CHUNK_BYTES))?;
            let mut hasher = Hasher::new_with_initial(crc);
            hasher.update(&bytes);
            (at, crc) = (at + bytes.len() as u64, hasher.finalize());
            self.learn(at, crc);
        }
        Ok(crc)
    }

    /// Keeps the checksum of the first `at` bytes, if it may be of use.
    fn learn(&mut self, at: u64, crc: u32) {
        let last = self.marks.last().map_or(0, |(at, _)| *at);
        if at >= last + STEP {
            self.marks.push((at, crc));
        }
        if at > self.longest.0 {
            self.longest = (at, crc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(sums: &Sums, file: &Path, range: Range<u64>, last: bool) -> (Vec<u8>, Option<u32>) {
        let (sender, mut receiver) = mpsc::channel(10_000);
        sums.send(
            &Part {
                file,
                path: "p",
                range,
                last,
            },
            &sender,
        );
        drop(sender);
        let (mut all, mut crc) = (Vec::new(), None);
        while let Some(chunk) = receiver.blocking_recv() {
            let chunk = chunk.unwrap();
            crc = crc.or(chunk.file_crc32);
            all.extend_from_slice(&chunk::open(chunk).unwrap());
        }
        (all, crc)
    }

    #[test]
    fn the_checksum_of_the_whole_comes_with_its_end_in_whatever_parts_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blob");
        let whole: Vec<u8> = (0..STEP * 2 + 4_321).map(|n| (n * 7 / 3) as u8).collect();
        let crc = Some(crc32fast::hash(&whole));
        // It grows while it is read.
        std::fs::write(&file, &whole[..1_000_000]).unwrap();
        let sums = Sums::default();
        let (begin, none) = fetch(&sums, &file, 0..1_000_000, false);
        assert_eq!((begin.len(), none), (1_000_000, None));
        std::fs::write(&file, &whole).unwrap();
        let end = whole.len() as u64;
        let (rest, told) = fetch(&sums, &file, 1_000_000..end, true);
        assert_eq!((rest.len(), told), (whole.len() - 1_000_000, crc));
        assert_eq!(sums.of("p", end), crc);
        assert_eq!(fetch(&sums, &file, end..end, true), (Vec::new(), crc));
        // From anywhere, by a follower that lost some, and by an agent that knows nothing yet.
        for sums in [sums, Sums::default()] {
            for from in [0, 5, STEP, STEP + 1, STEP * 2, end] {
                let (rest, told) = fetch(&sums, &file, from..end, true);
                assert!(rest == whole[from as usize..] && told == crc, "from {from}");
            }
        }
    }

    #[test]
    fn a_file_that_is_made_anew_shows_in_the_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blob");
        std::fs::write(&file, [1; 1_000]).unwrap();
        let sums = Sums::default();
        fetch(&sums, &file, 0..500, false);
        std::fs::write(folder.path().join("new"), [2; 1_000]).unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
        let (_, told) = fetch(&sums, &file, 500..1_000, true);
        assert_eq!(told, Some(crc32fast::hash(&[2; 1_000])));
    }
}
