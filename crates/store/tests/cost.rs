//! What remembering costs, in time and memory. Ignored, for it measures rather than decides:
//! `cargo test -p slipstream-store --test cost -- --ignored --nocapture`

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::fs;
use std::time::{Duration, Instant};

use slipstream_model::{Checkpoint, DocRef, IndexName, SeqNo, SeqRange, ShardId};
use slipstream_store::Store;

const DOCUMENTS: u64 = 1_000_000;
const BATCH: u64 = 5_000;

/// A field of `/proc/self/status`, in MB.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Nanoseconds that this thread has been running on a processor: other work on the machine does not count.
fn on_cpu() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

/// As engines make ids: 20 characters, and without order here.
fn id_of(document: u64) -> String {
    let hash = document.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{hash:016x}{:04x}", hash >> 7 & 0xFFFF)
}

fn percentiles(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    format!("p50 {:.1?}, p99 {:.1?}, most {:.1?}", at(0.5), at(0.99), at(1.0))
}

#[test]
#[ignore = "a measurement"]
fn remembering_a_million_documents() {
    let folder = tempfile::Builder::new()
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    let store = Store::open(folder.path()).unwrap();
    let shard = store.shard(&IndexName::from("logs-2026.11"), ShardId(0));
    println!("open and idle: {} MB", memory("VmRSS"));

    let run = |what: &str, seqs: std::ops::Range<u64>, document: &dyn Fn(u64) -> u64| {
        let (mut took, mut cpu) = (Vec::new(), Vec::new());
        let mut at = seqs.start;
        let begun = Instant::now();
        while at < seqs.end {
            let docs: Vec<_> = (at..at + BATCH)
                .map(|seq| {
                    (
                        SeqNo::new(seq),
                        DocRef {
                            id: id_of(document(seq)),
                            routing: None,
                        },
                    )
                })
                .collect();
            let docs: Vec<_> = docs.iter().map(|(seq, doc)| (*seq, doc)).collect();
            let (start, before) = (Instant::now(), on_cpu());
            shard.remember(&docs).unwrap();
            cpu.push(Duration::from_nanos(on_cpu() - before));
            took.push(start.elapsed());
            at += BATCH;
        }
        println!(
            "{what}, {BATCH} a call: {}; of it computing: {}; all {:.1?}; now {} MB, at most {} MB",
            percentiles(took),
            percentiles(cpu),
            begun.elapsed(),
            memory("VmRSS"),
            memory("VmHWM")
        );
    };
    run("new documents", 0..DOCUMENTS, &|seq| seq);
    run("updates anywhere", DOCUMENTS..DOCUMENTS + 200_000, &|seq| {
        seq.wrapping_mul(7919) % DOCUMENTS
    });
    run(
        "one hot document in 5,000",
        DOCUMENTS * 2..DOCUMENTS * 2 + 200_000,
        &|seq| seq % BATCH,
    );

    let start = Instant::now();
    let total = shard.count_buckets().unwrap().total();
    println!("count_buckets over {total}: {:.1?}", start.elapsed());
    let start = Instant::now();
    let found = shard
        .live_in(
            SeqRange::new(Checkpoint::new(500_000), Checkpoint::new(i64::MAX)),
            10_000,
        )
        .unwrap();
    println!("live_in, {} documents: {:.1?}", found.len(), start.elapsed());

    let small = DocRef {
        id: "one".to_owned(),
        routing: None,
    };
    let took = (0..500).map(|n| {
        let start = Instant::now();
        shard
            .remember(&[(SeqNo::new(DOCUMENTS * 4 + n), &small)])
            .unwrap();
        start.elapsed()
    });
    println!("one document a call: {}", percentiles(took.collect()));
    let took = (0..500).map(|_| {
        let start = Instant::now();
        shard.save_progress(&shard.progress().unwrap()).unwrap();
        start.elapsed()
    });
    println!("save_progress: {}", percentiles(took.collect()));

    let size: u64 = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    drop((shard, store));
    let start = Instant::now();
    let store = Store::open(folder.path()).unwrap();
    println!(
        "{} MB on disk; reopened in {:.1?}; {} MB",
        size >> 20,
        start.elapsed(),
        memory("VmRSS")
    );
    let start = Instant::now();
    store.remove_index(&IndexName::from("logs-2026.11")).unwrap();
    let size: u64 = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    println!(
        "remove_index in {:.1?}; {} MB on disk",
        start.elapsed(),
        size >> 20
    );
}
