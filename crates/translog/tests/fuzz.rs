//! Damages real translogs at random for `FUZZ_SECONDS` (2), with their checksums left wrong or made right again, and
//! looks at what the parser makes of them: never a panic, nothing outside of the input, nothing larger than it, and no
//! operation of a frame in which a few bits flipped.
//!
//! Each case is determined by the seed and its number. A failure names both: `FUZZ_SEED=S FUZZ_START=N` begins with it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "whatever is missing is a failure, and the seed belongs into the test's output"
)]

#[path = "fixtures/folder.rs"]
mod folder;
#[path = "fuzz/mutate.rs"]
mod mutate;

use std::borrow::Cow;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, Instant};

use folder::folders;
use mutate::mutate;
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use slipstream_translog::encode::{self, Version};
use slipstream_translog::{CHECKPOINT_LENGTH, Checkpoint, FormatError, Frame, Header, Op};

/// A CRC32 finds every three flipped bits in blocks up to this length, in bytes.
const SURELY_FOUND: usize = 11_000;
/// More than all input and less than a length that was believed.
const MEMORY_LIMIT_KIB: u64 = 512 * 1024;

/// Real files, and what is in them.
struct Corpus {
    checkpoints: Vec<Vec<u8>>,
    headers: Vec<Vec<u8>>,
    files: Vec<File>,
}

struct File {
    bytes: Vec<u8>,
    frames: Vec<Range<usize>>,
}

impl Corpus {
    fn load() -> Self {
        let (mut checkpoints, mut headers, mut files) = (vec![], vec![], vec![]);
        for folder in folders() {
            checkpoints.push(folder.checkpoint);
            for generation in folder.generations {
                checkpoints.extend(generation.checkpoint);
                let bytes = generation.bytes;
                let mut at = Header::parse(&bytes).unwrap().length;
                headers.push(bytes[..at].to_vec());
                let mut frames = Vec::new();
                while let Ok(frame) = Frame::parse(&bytes[at..]) {
                    frames.push(at..at + frame.length);
                    at += frame.length;
                }
                if !frames.is_empty() {
                    files.push(File { bytes, frames });
                }
            }
        }
        Self {
            checkpoints,
            headers,
            files,
        }
    }

    fn file(&self, random: &mut impl Rng) -> &File {
        &self.files[random.random_range(0..self.files.len())]
    }

    fn frame(&self, random: &mut impl Rng) -> &[u8] {
        let file = self.file(random);
        let frame = file.frames[random.random_range(0..file.frames.len())].clone();
        &file.bytes[frame]
    }
}

/// What is true of everything that is parsed. Tells whether it was accepted.
fn frame(bytes: &[u8]) -> bool {
    let place = Frame::place(bytes);
    match Frame::parse(bytes) {
        Ok(frame) => {
            assert!(frame.length <= bytes.len());
            let (place, length) = place.expect("a place");
            assert_eq!(length, frame.length);
            assert_eq!(
                (place.seq_no, place.primary_term),
                (frame.op.seq_no(), frame.op.primary_term())
            );
            let within = bytes[..frame.length].as_ptr_range();
            let inside = |slice: &[u8]| {
                let slice = slice.as_ptr_range();
                assert!(
                    within.start <= slice.start && slice.end <= within.end,
                    "a slice outside"
                );
            };
            let text = |text: &Cow<'_, str>| match text {
                Cow::Borrowed(text) => inside(text.as_bytes()),
                Cow::Owned(text) => assert!(text.capacity() <= frame.length, "a string with room for more"),
            };
            match &frame.op {
                Op::Index {
                    id, routing, source, ..
                } => {
                    text(id);
                    routing.iter().for_each(text);
                    inside(source);
                }
                Op::Delete { id, .. } => text(id),
                Op::Noop { reason, .. } => text(reason),
            }
            // What was understood can be written and is then understood as the same.
            let again = encode::frame(&frame.op, Version::V4);
            assert_eq!(Frame::parse(&again).expect("a frame of ours").op, frame.op);
            true
        }
        Err(error) => {
            // An unpaired surrogate keeps from being parsed, not from being placed, if there is nothing else to it.
            let surrogate = matches!(
                error,
                FormatError::Unsupported {
                    found: 0xd800..0xe000,
                    ..
                }
            );
            match place {
                Ok((_, length)) => assert!(surrogate && length <= bytes.len(), "{error}"),
                Err(other) => assert!(surrogate || other == error, "{error}, {other}"),
            }
            refused(error, bytes.len());
            false
        }
    }
}

fn refused(error: FormatError, given: usize) {
    assert!(!error.to_string().is_empty());
    if let FormatError::Incomplete { needed } = error {
        assert!(needed > given && needed <= (1 << 31) + 3, "{needed} of {given}");
    }
}

fn header(bytes: &[u8]) -> bool {
    match Header::parse(bytes) {
        Ok(header) => {
            assert!(header.length <= bytes.len() && header.length <= Header::MAX_LENGTH);
            assert!(header.uuid.len() < header.length && i64::try_from(header.primary_term).is_ok());
            true
        }
        Err(error) => {
            refused(error, bytes.len());
            false
        }
    }
}

fn checkpoint(bytes: &[u8]) -> bool {
    match Checkpoint::parse(bytes) {
        Ok(checkpoint) => {
            assert_eq!(bytes.len(), CHECKPOINT_LENGTH);
            assert!(i64::try_from(checkpoint.offset.max(checkpoint.generation)).is_ok());
            assert!(checkpoint.min_generation <= checkpoint.generation);
            assert!(-1 <= checkpoint.min_seq_no && checkpoint.min_seq_no <= checkpoint.max_seq_no);
            assert!(-2 <= checkpoint.trimmed_above && checkpoint.trimmed_above <= checkpoint.max_seq_no);
            true
        }
        Err(error) => {
            refused(error, bytes.len());
            false
        }
    }
}

/// Frame after frame until one is refused.
fn walk(bytes: &[u8]) -> bool {
    let (mut rest, mut any) = (bytes, false);
    while frame(rest) {
        any = true;
        let length = Frame::parse(rest).map_or(rest.len(), |frame| frame.length);
        rest = &rest[length..];
    }
    any
}

/// One case; tells which kind it was and whether the damaged bytes were accepted.
fn case(corpus: &Corpus, random: &mut ChaCha8Rng) -> (&'static str, bool) {
    match random.random_range(0..10) {
        // The checksum right again, so that the fields are what is looked at.
        0..=4 => {
            let bytes = corpus.frame(random);
            let mut body = bytes[4..bytes.len() - 4].to_vec();
            let other = corpus.frame(random);
            mutate(&mut body, other, random);
            ("body", frame(&encode::seal(&body)))
        }
        // A piece of a file.
        5 | 6 => {
            let file = corpus.file(random);
            let first = random.random_range(0..file.frames.len());
            let last = (first + random.random_range(0..8)).min(file.frames.len() - 1);
            let mut bytes = file.bytes[file.frames[first].start..file.frames[last].end].to_vec();
            let other = corpus.frame(random);
            mutate(&mut bytes, other, random);
            ("file", walk(&bytes))
        }
        // Few flips behind an intact length: found for sure.
        7 => {
            let mut bytes = corpus.frame(random).to_vec();
            if bytes.len() > SURELY_FOUND {
                return ("flips", false);
            }
            let mut flips = [0; 3].map(|_| random.random_range(32..bytes.len() * 8));
            let count = random.random_range(1..=3);
            flips.sort_unstable();
            for at in 0..count {
                bytes[flips[at] / 8] ^= 1 << (flips[at] % 8);
            }
            let undone = count > 1 && flips[..count].windows(2).any(|pair| pair[0] == pair[1]);
            let accepted = frame(&bytes);
            assert!(undone || !accepted, "flips at {flips:?} of which {count} count");
            ("flips", accepted)
        }
        8 => {
            let mut bytes = corpus.headers[random.random_range(0..corpus.headers.len())].clone();
            let other = corpus.frame(random);
            mutate(&mut bytes, other, random);
            if random.random_bool(0.7) && bytes.len() >= 4 {
                let end = bytes.len() - 4;
                let checksum = crc32fast::hash(&bytes[..end]).to_be_bytes();
                bytes[end..].copy_from_slice(&checksum);
            }
            ("header", header(&bytes))
        }
        _ => {
            let mut bytes = corpus.checkpoints[random.random_range(0..corpus.checkpoints.len())].clone();
            let other = corpus.frame(random);
            mutate(&mut bytes, other, random);
            if random.random_bool(0.7) && bytes.len() >= 16 {
                bytes.resize(
                    if random.random_bool(0.9) {
                        CHECKPOINT_LENGTH
                    } else {
                        bytes.len()
                    },
                    0,
                );
                let end = bytes.len() - 8;
                if random.random_bool(0.9) {
                    bytes[end - 8..end].copy_from_slice(&[0xc0, 0x28, 0x93, 0xe8, 0, 0, 0, 0]);
                }
                let checksum = u64::from(crc32fast::hash(&bytes[..end])).to_be_bytes();
                bytes[end..].copy_from_slice(&checksum);
            }
            ("checkpoint", checkpoint(&bytes))
        }
    }
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let Ok(value) = value.parse() else {
        panic!("{name}={value} is not a number");
    };
    Some(value)
}

/// The most address space this process ever had; `None` where the system does not tell.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Names the case that is under way when something panics.
struct Under {
    seed: u64,
    number: u64,
}

impl Drop for Under {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "repeat it with FUZZ_SEED={} FUZZ_START={}",
                self.seed, self.number
            );
        }
    }
}

#[test]
fn damaged_translogs_are_refused_or_understood_but_never_misread() {
    let seconds = setting("FUZZ_SECONDS").unwrap_or(2);
    let seed = setting("FUZZ_SEED").unwrap_or_else(rand::random);
    let start = setting("FUZZ_START").unwrap_or(0);
    println!("FUZZ_SEED={seed} FUZZ_SECONDS={seconds}");

    let corpus = Corpus::load();
    let before = peak_kib();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut under = Under { seed, number: start };
    let mut counts = std::collections::BTreeMap::<&str, (u64, u64)>::new();
    // The clock is looked at now and then only.
    while !under.number.is_multiple_of(256) || under.number == start || Instant::now() < deadline {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(under.number);
        let (kind, accepted) = case(&corpus, &mut random);
        let count = counts.entry(kind).or_default();
        count.0 += 1;
        count.1 += u64::from(accepted);
        under.number += 1;
    }
    println!(
        "{} cases; of each kind, and accepted: {counts:?}",
        under.number - start
    );
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(
            after - before < MEMORY_LIMIT_KIB,
            "the address space grew by {} KiB",
            after - before
        );
    }
}
