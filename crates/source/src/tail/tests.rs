//! The rule against folders that are written as the engines write them, and as crashes leave them.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use slipstream_model::{Change, Checkpoint as ModelCheckpoint, Op};
use slipstream_translog::{Checkpoint, Op as Logged, encode, names};

use super::files::{Files, Seen};
use super::folder::Folder;
use super::leave::Leave;
use super::watcher::Watcher;

const UUID: &str = "Zm9sZGVyIGZvciB0ZXN0";
const VERSION: encode::Version = encode::Version::V4;

/// A shard copy's translog, written by hand.
struct Engine {
    folder: tempfile::TempDir,
    uuid: String,
    generation: u64,
    oldest: u64,
    term: u64,
    bytes: Vec<u8>,
    ops: u32,
    highest: i64,
}

impl Engine {
    fn new() -> Engine {
        let mut engine = Engine {
            folder: tempfile::tempdir().unwrap(),
            uuid: UUID.to_owned(),
            generation: 0,
            oldest: 1,
            term: 1,
            bytes: Vec::new(),
            ops: 0,
            highest: -1,
        };
        engine.begin_generation();
        engine.sync(-1);
        engine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn watch(&self) -> Folder {
        Folder::new(self.folder.path().to_owned())
    }

    fn begin_generation(&mut self) {
        self.generation += 1;
        self.bytes = encode::header(&self.uuid, self.term);
        self.ops = 0;
        self.highest = -1;
        fs::write(self.path(&names::generation(self.generation)), &self.bytes).unwrap();
    }

    fn append(&mut self, op: &Logged<'_>) {
        self.append_bytes(op.seq_no(), &encode::frame(op, VERSION));
    }

    fn append_bytes(&mut self, seq_no: u64, frame: &[u8]) {
        self.bytes.extend(frame);
        self.ops += 1;
        self.highest = self.highest.max(seq_no as i64);
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.path(&names::generation(self.generation)))
            .unwrap();
        file.write_all(frame).unwrap();
    }

    /// A document under the present term.
    fn index(&mut self, seq_no: u64) {
        self.append(&indexed(
            seq_no,
            self.term,
            format!("{{\"seq\":{seq_no}}}").as_bytes(),
        ));
    }

    fn checkpoint(&self, global_checkpoint: i64) -> Checkpoint {
        Checkpoint {
            offset: self.bytes.len() as u64,
            ops: self.ops,
            generation: self.generation,
            min_seq_no: if self.ops == 0 { -1 } else { 0 },
            max_seq_no: self.highest,
            global_checkpoint,
            min_generation: self.oldest,
            trimmed_above: -2,
        }
    }

    fn sync(&self, global_checkpoint: i64) {
        let bytes = encode::checkpoint(&self.checkpoint(global_checkpoint), VERSION);
        fs::write(self.path(names::CHECKPOINT), bytes).unwrap();
    }

    fn roll(&mut self, global_checkpoint: i64) {
        self.sync(global_checkpoint);
        let closed = self.path(&names::generation_checkpoint(self.generation));
        fs::copy(self.path(names::CHECKPOINT), closed).unwrap();
        self.begin_generation();
        self.sync(global_checkpoint);
    }

    /// Removes all generations but the newest.
    fn trim(&mut self, global_checkpoint: i64) {
        for generation in self.oldest..self.generation {
            fs::remove_file(self.path(&names::generation(generation))).unwrap();
            fs::remove_file(self.path(&names::generation_checkpoint(generation))).unwrap();
        }
        self.oldest = self.generation;
        self.sync(global_checkpoint);
    }
}

fn indexed(seq_no: u64, primary_term: u64, source: &[u8]) -> Logged<'_> {
    Logged::Index {
        id: Cow::Owned(format!("id-{seq_no}")),
        routing: None,
        version: 1,
        seq_no,
        primary_term,
        source,
    }
}

/// Takes all that may be taken.
fn drain(files: &mut Files, folder: &Folder) -> Result<Vec<(u64, u64)>, Leave> {
    let mut out = Vec::new();
    loop {
        let seen = files.look(folder)?;
        loop {
            let ops = files.take(folder, 1 << 20)?;
            if ops.is_empty() {
                break;
            }
            out.extend(ops.iter().map(|op: &Op| (op.seq_no.get(), op.term.0)));
        }
        files.check()?;
        if seen == Seen::All {
            return Ok(out);
        }
    }
}

fn begin(engine: &Engine, folder: &Folder, next: u64) -> Files {
    Files::begin(folder, &engine.uuid, next).unwrap()
}

/// One document was written and taken.
fn at_the_first() -> (Engine, Folder, Files) {
    let mut engine = Engine::new();
    engine.index(0);
    engine.sync(0);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(0, 1)]);
    (engine, folder, files)
}

#[test]
fn i1_nothing_above_the_global_checkpoint_comes_out() {
    let mut engine = Engine::new();
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    (0..5).for_each(|seq| engine.index(seq));
    engine.sync(2);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(0, 1), (1, 1), (2, 1)]);
    assert!(files.is_behind());
    engine.sync(4);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(3, 1), (4, 1)]);
    assert!(!files.is_behind());
}

#[test]
fn i1_what_a_dead_primary_left_above_the_checkpoint_never_comes_out() {
    let mut engine = Engine::new();
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    (0..6).for_each(|seq| engine.index(seq));
    engine.sync(2);
    assert_eq!(drain(&mut files, &folder).unwrap().len(), 3);
    // Another primary: 3 and 4 are given to other operations, 5 never.
    engine.term = 2;
    engine.roll(2);
    engine.index(3);
    engine.index(4);
    engine.sync(4);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(3, 2), (4, 2)]);
}

#[test]
fn bytes_behind_the_offset_of_the_last_checkpoint_are_dead() {
    let mut engine = Engine::new();
    engine.index(0);
    engine.sync(0);
    let good = engine.bytes.len();
    // A crash: written, never synced, and then another generation.
    engine.index(1);
    engine.bytes.truncate(good);
    engine.ops = 1;
    engine.highest = 0;
    engine.term = 2;
    engine.roll(0);
    engine.index(1);
    engine.sync(1);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(0, 1), (1, 2)]);
}

#[test]
fn a_generation_that_is_held_can_be_read_after_a_flush_has_removed_it() {
    let mut engine = Engine::new();
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    engine.index(0);
    folder.hold_all().unwrap();
    engine.roll(0);
    // What the watcher does when the files appear.
    folder.appeared(&names::generation_checkpoint(1));
    folder.appeared(&names::generation(2));
    engine.index(1);
    engine.roll(1);
    folder.appeared(&names::generation_checkpoint(2));
    engine.trim(1);
    engine.index(2);
    engine.sync(2);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(0, 1), (1, 1), (2, 1)]);
}

/// On a busy host the flush has removed a generation and its last checkpoint before anybody has read the latter.
#[test]
fn a_generation_whose_last_checkpoint_was_never_seen_is_let_go_of_too() {
    let (mut engine, folder, mut files) = at_the_first();
    files.settle(&folder, ModelCheckpoint::new(0));
    assert_eq!(folder.held_generations(), 1);
    engine.roll(0);
    engine.trim(0);
    // Nothing is written any more, so nothing is settled either.
    assert_eq!(drain(&mut files, &folder).unwrap(), []);
    assert_eq!(folder.held_generations(), 1, "only the newest");
}

#[test]
fn what_was_read_and_settled_pins_nothing_on_the_leader_s_disk() {
    let mut engine = Engine::new();
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    engine.index(0);
    engine.roll(0);
    engine.index(1);
    engine.sync(1);
    assert_eq!(drain(&mut files, &folder).unwrap().len(), 2);
    // Neither the old generation nor the news that the engine has closed it.
    files.settle(&folder, ModelCheckpoint::new(1));
    folder.appeared(&names::generation(1));
    folder.appeared(&names::generation_checkpoint(1));
    assert_eq!(folder.held_generations(), 1);
}

#[test]
fn a_generation_that_was_missed_is_a_gap_and_never_a_guess() {
    let mut engine = Engine::new();
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    engine.index(0);
    engine.roll(0);
    engine.index(1);
    engine.roll(1);
    engine.trim(1);
    engine.index(2);
    engine.sync(2);
    // The first generation is held, but nobody read with which checkpoint it was closed: its end is not known.
    let gap = drain(&mut files, &folder).unwrap_err();
    assert_eq!(
        gap,
        Leave::Gap {
            next: 0,
            global_checkpoint: 2
        }
    );
    assert!(gap.may_pass_soon());
    let mut later = begin(&engine, &folder, 2);
    assert_eq!(drain(&mut later, &folder).unwrap(), [(2, 1)]);
}

#[test]
fn a_translog_that_begins_in_the_middle_serves_from_there_only() {
    let mut engine = Engine::new();
    engine.index(7);
    engine.index(9);
    engine.index(8);
    engine.sync(9);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 7);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(7, 1), (8, 1), (9, 1)]);
    let mut files = begin(&engine, &folder, 6);
    assert!(matches!(
        drain(&mut files, &folder),
        Err(Leave::Gap { next: 6, .. })
    ));
}

#[test]
fn a_checkpoint_file_that_was_replaced_is_found_by_its_name() {
    let (mut engine, folder, mut files) = at_the_first();
    // As the tool does it that cuts a damaged translog off, and unlike the engines, which write in place.
    fs::rename(engine.path(names::CHECKPOINT), engine.path("old")).unwrap();
    engine.index(1);
    engine.sync(1);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(1, 1)]);
    fs::remove_file(engine.path(names::CHECKPOINT)).unwrap();
    assert!(matches!(drain(&mut files, &folder), Err(Leave::Renewed(_))));
}

#[test]
fn a_folder_that_was_replaced_ends_the_tail() {
    let (mut engine, folder, mut files) = at_the_first();

    // The same file names, other files: as after a recovery from files.
    fs::remove_file(engine.path(&names::generation(1))).unwrap();
    engine.uuid = "YW5vdGhlciB1dWlkIGhlcmU".to_owned();
    engine.generation = 0;
    engine.begin_generation();
    engine.index(0);
    engine.index(1);
    engine.sync(1);
    assert!(matches!(drain(&mut files, &folder), Err(Leave::Renewed(_))));

    let mut files = begin(&engine, &folder, 0);
    fs::remove_file(engine.path(names::CHECKPOINT)).unwrap();
    assert!(matches!(drain(&mut files, &folder), Err(Leave::Renewed(_))));
}

#[test]
fn another_uuid_in_a_later_generation_ends_the_tail() {
    let mut engine = Engine::new();
    engine.index(0);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    engine.roll(0);
    engine.uuid = "YW5vdGhlciB1dWlkIGhlcmU".to_owned();
    engine.roll(0);
    assert!(matches!(drain(&mut files, &folder), Err(Leave::Renewed(_))));
}

#[test]
fn bytes_that_make_no_sense_end_the_tail_with_the_file_s_name() {
    let mut engine = Engine::new();
    engine.index(0);
    let flipped = engine.bytes.len() - 10;
    engine.bytes[flipped] ^= 1;
    fs::write(engine.path(&names::generation(1)), &engine.bytes).unwrap();
    engine.sync(0);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    let Err(Leave::Unreadable(why)) = drain(&mut files, &folder) else {
        panic!("a damaged frame was taken");
    };
    assert!(why.contains(engine.folder.path().to_str().unwrap()), "{why}");
}

#[test]
fn a_document_larger_than_any_read_comes_out_whole() {
    let mut engine = Engine::new();
    let mut source = vec![b' '; 3 * 1024 * 1024];
    source.extend(b"{}");
    engine.append(&indexed(0, 1, &source));
    engine.index(1);
    engine.sync(1);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    assert_eq!(files.look(&folder).unwrap(), Seen::More);
    let ops = files.take(&folder, 1).unwrap();
    let Change::Index { source: read } = &ops[0].change else {
        panic!("not a document")
    };
    assert_eq!(read.len(), source.len());
    assert_eq!(drain(&mut files, &folder).unwrap(), [(1, 1)]);
}

#[test]
fn what_was_not_sent_as_json_is_left_to_the_rest_api() {
    let mut engine = Engine::new();
    engine.index(0);
    engine.append(&indexed(1, 1, b"\xbf\x61a\x01\xff"));
    engine.append(&indexed(2, 1, b"// a comment\n{}"));
    engine.append(&indexed(3, 1, b"--- \na: 1\n"));
    engine.sync(3);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    files.look(&folder).unwrap();
    assert_eq!(files.take(&folder, 1 << 20).unwrap().len(), 1);
    assert!(matches!(
        files.take(&folder, 1 << 20),
        Err(Leave::Foreign { seq_no: 1, .. })
    ));
    let mut files = begin(&engine, &folder, 2);
    files.look(&folder).unwrap();
    assert_eq!(files.take(&folder, 1 << 20).unwrap().len(), 1);
    assert!(matches!(
        files.take(&folder, 1 << 20),
        Err(Leave::Foreign { seq_no: 3, .. })
    ));
}

/// Engines take half of a surrogate pair in an id or a routing, and log it.
#[test]
fn an_id_that_is_not_unicode_is_left_to_the_rest_api() {
    let mut engine = Engine::new();
    engine.index(0);
    let mut body = encode::frame(&indexed(1, 1, b"{}"), VERSION);
    // `id-1` becomes `?d-1` with a lone high surrogate, as the engines write it: three bytes for one unit.
    let at = body.windows(4).position(|four| four == b"id-1").unwrap();
    body.splice(at..=at, [0xed, 0xa0, 0xbe]);
    let body = encode::seal(&body[4..body.len() - 4]);
    engine.append_bytes(1, &body);
    engine.sync(1);
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    files.look(&folder).unwrap();
    assert_eq!(files.take(&folder, 1 << 20).unwrap().len(), 1);
    assert!(matches!(
        files.take(&folder, 1 << 20),
        Err(Leave::Foreign { seq_no: 1, .. })
    ));
}

#[test]
fn a_checkpoint_told_by_the_same_copy_counts_from_the_next_look_on() {
    let mut engine = Engine::new();
    let folder = engine.watch();
    let mut files = begin(&engine, &folder, 0);
    engine.index(0);
    engine.index(1);
    engine.sync(-1);
    assert_eq!(drain(&mut files, &folder).unwrap(), []);
    let term = files.term();
    files.raise(1, term);
    assert_eq!(drain(&mut files, &folder).unwrap(), [(0, 1), (1, 1)]);
    // Under another primary it is worth nothing.
    engine.index(2);
    engine.sync(-1);
    assert_eq!(drain(&mut files, &folder).unwrap(), []);
    files.raise(2, term);
    engine.term = 2;
    engine.roll(-1);
    assert_eq!(drain(&mut files, &folder).unwrap(), []);
}

#[tokio::test]
async fn the_kernel_tells_of_a_checkpoint_and_generations_are_held_as_they_appear() {
    let mut engine = Engine::new();
    let watcher = Watcher::new();
    let folder = Arc::new(watcher.watch(engine.folder.path().to_owned()));
    assert!(folder.is_told());
    let mut files = begin(&engine, &folder, 0);
    for seq in 0..20 {
        engine.index(seq);
        engine.sync(seq as i64);
        tokio::time::timeout(Duration::from_secs(30), folder.changed.notified())
            .await
            .expect("told of the change");
        while drain(&mut files, &folder).unwrap().is_empty() {
            tokio::time::timeout(Duration::from_secs(30), folder.changed.notified())
                .await
                .expect("told of the change");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the order of operations in the files, wherever generations end, primaries change and looks fall: every
    /// acknowledged operation comes out once, in order, in its final form.
    #[test]
    fn i1_i3_every_acknowledged_operation_comes_out_once_in_order(
        steps in prop::collection::vec((0u8..10, 1u64..6), 1..60),
    ) {
        let mut engine = Engine::new();
        let folder = engine.watch();
        let mut files = begin(&engine, &folder, 0);
        let (mut next, mut acknowledged) = (0_u64, -1_i64);
        let mut finals: Vec<u64> = Vec::new();
        let mut out = Vec::new();
        for (step, count) in steps {
            match step {
                0..=4 => {
                    // A bulk, written last to first.
                    for seq in (next..next + count).rev() {
                        engine.index(seq);
                    }
                    finals.extend((0..count).map(|_| engine.term));
                    next += count;
                    acknowledged = next as i64 - 1;
                    engine.sync(acknowledged);
                }
                5 => {
                    // Operations that nobody acknowledged, whose numbers the next primary gives away again.
                    for seq in next..next + count {
                        engine.index(seq);
                    }
                    engine.sync(acknowledged);
                    out.extend(drain(&mut files, &folder).unwrap());
                    engine.term += 1;
                    engine.roll(acknowledged);
                    for _ in 0..count {
                        engine.index(next);
                        finals.push(engine.term);
                        next += 1;
                    }
                    acknowledged = next as i64 - 1;
                    engine.sync(acknowledged);
                }
                6 | 7 => engine.roll(acknowledged),
                8 => out.extend(drain(&mut files, &folder).unwrap()),
                _ => {
                    out.extend(drain(&mut files, &folder).unwrap());
                    engine.trim(acknowledged);
                }
            }
        }
        out.extend(drain(&mut files, &folder).unwrap());
        let wanted: Vec<_> = finals.iter().enumerate().map(|(seq, term)| (seq as u64, *term)).collect();
        prop_assert_eq!(out, wanted);
    }
}
