//! What a call returned must be there after the process was killed (I2), whatever it was in the middle of.
//!
//! The test binary starts itself again as the writer, reads what that says it has stored, and kills it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use slipstream_model::{Checkpoint, DocRef, DurableCheckpoint, IndexName, SeqNo, SeqRange, ShardId};
use slipstream_store::{Remember, ShardProgress, ShardStore, Store};

/// Names the store's folder to the writer.
const FOLDER: &str = "SLIPSTREAM_STORE_CRASH_TEST";

/// Documents that the writer remembers with each call.
const BATCH: u64 = 200;

fn shard(folder: &Path) -> ShardStore {
    Store::open(folder)
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0))
}

fn id_of(seq: u64) -> String {
    // Every third document is a new version of an earlier one.
    let document = if seq.is_multiple_of(3) { seq / 3 } else { seq };
    format!("document-{document}")
}

#[test]
#[ignore = "the writer that the other test kills"]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let shard = shard(Path::new(&folder));
    let mut at = shard.progress().unwrap().checkpoint.get().next().get();
    loop {
        let docs: Vec<_> = (at..at + BATCH)
            .map(|seq| {
                (
                    SeqNo::new(seq),
                    DocRef {
                        id: id_of(seq),
                        routing: None,
                    },
                )
            })
            .collect();
        let docs: Vec<_> = docs.iter().map(|(seq, doc)| (*seq, doc)).collect();
        // Not synced: the kernel has it all the same.
        let part = Remember {
            shard: &shard,
            docs: &docs,
            newer: true,
        };
        ShardStore::remember_all(&[part]).unwrap();
        at += BATCH;
        println!("remembered {at}");
        let checkpoint = DurableCheckpoint::claim(Checkpoint::new(at as i64 - 1));
        shard
            .save_progress(&ShardProgress {
                checkpoint,
                ..ShardProgress::default()
            })
            .unwrap();
        println!("saved {at}");
    }
}

#[test]
fn i2_what_was_returned_before_a_kill_is_there_after_it() {
    let folder = tempfile::tempdir().unwrap();
    // At last enough for memtables to have been flushed and logs deleted in between.
    for lines in [1, 2, 7, 40, 41, 2000] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut remembered, mut saved, mut seen) = (0, 0, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((_, at)) = line.split_once("remembered ") {
                remembered = at.parse().unwrap();
            } else if let Some((_, at)) = line.split_once("saved ") {
                saved = at.parse().unwrap();
            } else {
                continue;
            }
            seen += 1;
            if seen == lines {
                // What it still wrote to the pipe before it died is read, and counts, too.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= lines, "the writer ended by itself");

        let shard = shard(folder.path());
        let checkpoint = shard.progress().unwrap().checkpoint.get();
        assert!(
            checkpoint >= Checkpoint::new(saved - 1),
            "{checkpoint} of {saved}"
        );
        let all = SeqRange::new(Checkpoint::NONE, Checkpoint::new(i64::MAX));
        let live = shard.live_in(all, usize::MAX).unwrap();
        let highest = live.last().unwrap().0.get();
        assert!(highest + 1 >= remembered, "{highest} of {remembered}");
        assert_eq!((highest + 1) % BATCH, 0, "a batch is there in part");
        // A batch is in both directions of the map, and replaced versions are in neither.
        let newest: HashMap<_, _> = (0..=highest).map(|seq| (id_of(seq), seq)).collect();
        assert_eq!(live.len(), newest.len());
        assert_eq!(shard.count_buckets().unwrap().total(), newest.len() as u64);
        let ids: Vec<_> = live.iter().map(|(_, doc)| doc.id.as_str()).collect();
        for ((seq, doc), known) in live.iter().zip(shard.seqs_of(&ids).unwrap()) {
            assert_eq!(Some(*seq), known);
            assert_eq!(newest[&doc.id], seq.get());
        }
    }
}
