//! A damaged or foreign folder is an error in words: never a panic, and never an empty store in place of a full one.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use slipstream_model::{Checkpoint, DocRef, IndexName, SeqNo, SeqRange, ShardId};
use slipstream_store::{Store, StoreError};
use tempfile::TempDir;

/// A closed store with documents both in a table file and in the log.
fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..60_000);
    // What was replayed when it was opened again went into table files.
    fill(folder.path(), 60_000..60_100);
    folder
}

fn fill(folder: &Path, seqs: std::ops::Range<u64>) {
    let shard = Store::open(folder)
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0));
    let docs: Vec<_> = seqs
        .map(|seq| {
            (
                SeqNo::new(seq),
                DocRef {
                    id: format!("document-{seq}"),
                    routing: None,
                },
            )
        })
        .collect();
    for docs in docs.chunks(5_000) {
        shard
            .remember(&docs.iter().map(|(seq, doc)| (*seq, doc)).collect::<Vec<_>>())
            .unwrap();
    }
}

/// Opens the store and reads all of it.
fn read_all(folder: &Path) -> Result<usize, StoreError> {
    let store = Store::open(folder)?;
    store.definitions()?;
    let shard = store.shard(&IndexName::from("i"), ShardId(0));
    shard.progress()?;
    shard.count_buckets()?;
    let live = shard.live_in(
        SeqRange::new(Checkpoint::NONE, Checkpoint::new(i64::MAX)),
        usize::MAX,
    )?;
    let ids: Vec<_> = live.iter().map(|(_, doc)| doc.id.as_str()).collect();
    Ok(shard.seqs_of(&ids)?.into_iter().flatten().count())
}

fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    found.sort();
    found
}

fn largest(folder: &Path, suffix: &str) -> PathBuf {
    let found = files(folder, |name| name.ends_with(suffix));
    found
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

fn manifest(folder: &Path) -> PathBuf {
    files(folder, |name| name.starts_with("MANIFEST-")).pop().unwrap()
}

fn flip(file: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(file).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x55;
    fs::write(file, bytes).unwrap();
}

fn assert_damage_is_told(what: &str, folder: &Path) {
    match read_all(folder) {
        Err(error @ StoreError::Corrupt { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(folder.to_str().unwrap()) && text.contains("check the disk"),
                "{what}: {text}"
            );
            assert!(error.source().is_some(), "{what}: {text}");
        }
        other => panic!("{what}: {other:?}"),
    }
    // Telling did not make it worse: it is told again, and nothing was put in place of what is lost.
    assert!(
        matches!(read_all(folder), Err(StoreError::Corrupt { .. })),
        "{what}, second try"
    );
}

#[test]
fn an_undamaged_store_reads_completely() {
    assert_eq!(read_all(filled().path()).unwrap(), 60_100);
}

#[test]
fn damaged_files_are_told_and_not_replaced() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 12] = [
        ("CURRENT missing", |f| fs::remove_file(f.join("CURRENT")).unwrap()),
        ("CURRENT empty", |f| fs::write(f.join("CURRENT"), "").unwrap()),
        ("CURRENT garbled", |f| {
            fs::write(f.join("CURRENT"), "\u{1}\u{2}zzz\n").unwrap();
        }),
        ("CURRENT naming a file that is not there", |f| {
            fs::write(f.join("CURRENT"), "MANIFEST-999999\n").unwrap();
        }),
        ("MANIFEST missing", |f| fs::remove_file(manifest(f)).unwrap()),
        ("MANIFEST garbled", |f| flip(&manifest(f), |len| len / 2)),
        ("table missing", |f| fs::remove_file(largest(f, ".sst")).unwrap()),
        ("table cut short", |f| {
            let table = largest(f, ".sst");
            let bytes = fs::read(&table).unwrap();
            fs::write(&table, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("table with a flipped byte", |f| {
            flip(&largest(f, ".sst"), |len| len / 3);
        }),
        ("table with a garbled footer", |f| {
            flip(&largest(f, ".sst"), |len| len - 1);
        }),
        ("log with a flipped byte", |f| {
            flip(&largest(f, ".log"), |len| len / 2);
        }),
        ("marker garbled", |f| {
            fs::write(f.join("SLIPSTREAM"), "\u{0}\u{0}\u{0}").unwrap();
        }),
    ];
    for (what, harm) in harms {
        let folder = filled();
        harm(folder.path());
        assert_damage_is_told(what, folder.path());
    }
}

#[test]
fn a_log_cut_short_by_a_crash_is_no_damage() {
    let folder = filled();
    let log = largest(folder.path(), ".log");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 100]).unwrap();
    // The batch that was being written is gone as a whole, all before it is there.
    assert_eq!(read_all(folder.path()).unwrap(), 60_000);
}

#[test]
fn a_strangers_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
    fs::write(folder.path().join("MANIFEST-000001"), "theirs").unwrap();
    match Store::open(folder.path()) {
        Err(error @ StoreError::Foreign { .. }) => {
            assert!(error.to_string().contains("point `store.path`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(files(folder.path(), |_| true).len(), 2);
    assert_eq!(
        fs::read_to_string(folder.path().join("MANIFEST-000001")).unwrap(),
        "theirs"
    );
}

#[test]
fn a_path_that_is_no_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Io { .. })));
    assert!(matches!(
        Store::open(&file.join("below")),
        Err(StoreError::Io { .. })
    ));
}
