//! What a crash of the host takes from what was not synced: the end, and nothing before the last synced write (I2).
//!
//! A disk that lost its power is played by a copy of the folder in which the log ends early, or has a hole where a page was not written.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::fs;
use std::path::{Path, PathBuf};

use slipstream_model::{Checkpoint, DocRef, DurableCheckpoint, IndexName, SeqNo, ShardId};
use slipstream_store::{HostLife, Remember, Run, ShardProgress, ShardStore, Store, StoreError, Trail};
use tempfile::TempDir;

/// Documents remembered before the place is saved, and as many after it.
const DOCUMENTS: u64 = 2_000;

fn open(folder: &Path, name: &str) -> Result<ShardStore, StoreError> {
    Ok(Store::open_in(folder, Some(HostLife::new(name)))?.shard(&IndexName::from("i"), ShardId(0)))
}

fn remember(shard: &ShardStore, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        let doc = DocRef {
            id: format!("document-{seq}"),
            routing: None,
        };
        let docs = [(SeqNo::new(seq), &doc)];
        let part = Remember {
            shard,
            docs: &docs,
            newer: true,
        };
        ShardStore::remember_all(&[part]).unwrap();
    }
}

fn progress(name: &str) -> ShardProgress {
    ShardProgress {
        checkpoint: DurableCheckpoint::claim(Checkpoint::new(DOCUMENTS as i64 - 1)),
        trail: Some(Trail {
            run: Some(Run::new(name)),
            above: Checkpoint::new(77),
        }),
        ..ShardProgress::default()
    }
}

/// A store that is in use: half of its documents were remembered before the place was saved. The length of its log then.
fn in_use() -> (TempDir, ShardStore, u64) {
    let folder = tempfile::tempdir().unwrap();
    let shard = open(folder.path(), "one").unwrap();
    remember(&shard, 0..DOCUMENTS);
    shard.save_progress(&progress("one")).unwrap();
    let synced = log(folder.path()).metadata().unwrap().len();
    remember(&shard, DOCUMENTS..DOCUMENTS * 2);
    (folder, shard, synced)
}

fn log(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|file| file.extension().is_some_and(|end| end == "log"));
    logs.max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}

fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// How many documents are known: all from the first to some last one, in both directions.
fn known(shard: &ShardStore) -> u64 {
    let ids: Vec<String> = (0..DOCUMENTS * 2).map(|seq| format!("document-{seq}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let known = shard.seqs_of(&ids).unwrap();
    let count = known.iter().take_while(|seq| seq.is_some()).count();
    assert!(
        known[count..].iter().all(Option::is_none),
        "a hole behind {count}"
    );
    assert_eq!(shard.count_buckets().unwrap().total(), count as u64);
    count as u64
}

#[test]
fn i2_a_crash_of_the_host_takes_the_end_of_what_was_not_synced() {
    let (folder, shard, synced) = in_use();
    let all = log(folder.path()).metadata().unwrap().len();
    for tenth in 0..=10 {
        let crashed = copy(folder.path());
        let end = synced + (all - synced) * tenth / 10;
        let file = fs::File::options().write(true).open(log(crashed.path())).unwrap();
        file.set_len(end).unwrap();
        let shard = open(crashed.path(), "two").unwrap();
        let known = known(&shard);
        assert!(known >= DOCUMENTS, "{known} at {tenth}");
        assert_eq!(known == DOCUMENTS * 2, tenth == 10, "{known} at {tenth}");
        // The session sees that it was another run, and what may be gone.
        assert_eq!(shard.progress().unwrap(), progress("one"));
        assert_ne!(shard.run(), &Run::new("one"));
    }
    drop(shard);
}

#[test]
fn a_page_that_a_crash_of_the_host_did_not_write_is_an_end_and_in_the_same_life_damage() {
    let (folder, shard, synced) = in_use();
    let mut bytes = fs::read(log(folder.path())).unwrap();
    let at = synced as usize + 8_192;
    bytes[at..at + 4_096].fill(0);
    let with_hole = || {
        let crashed = copy(folder.path());
        fs::write(log(crashed.path()), &bytes).unwrap();
        crashed
    };
    let crashed = with_hole();
    let shard_then = open(crashed.path(), "two").unwrap();
    let known_then = known(&shard_then);
    assert!((DOCUMENTS..DOCUMENTS * 2).contains(&known_then), "{known_then}");
    // It goes on from there, and the next time is in the same life.
    remember(&shard_then, known_then..DOCUMENTS * 2);
    drop(shard_then);
    assert_eq!(known(&open(crashed.path(), "two").unwrap()), DOCUMENTS * 2);

    let damaged = with_hole();
    assert!(matches!(
        open(damaged.path(), "one"),
        Err(StoreError::Corrupt { .. })
    ));
    drop(shard);
}

#[test]
fn where_the_system_does_not_tell_its_life_none_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let shard = Store::open_in(folder.path(), None)
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0));
    remember(&shard, 0..10);
    drop(shard);
    // As from a release that noted no life: nothing is forgiven.
    assert!(!folder.path().join("SLIPSTREAM.host").exists());
}
