//! A shard's translog folder, read while its server runs but nobody writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use slipstream_testkit::client::{Es, eventually};
use slipstream_translog::{Checkpoint, Frame, Header, Op, names};

/// The files of a folder.
pub(crate) struct Folder {
    path: PathBuf,
    checkpoint: Checkpoint,
    generations: Vec<Generation>,
}

struct Generation {
    bytes: Vec<u8>,
    checkpoint: Checkpoint,
}

impl Folder {
    /// Finds the folder through the statistics of the server's shards, and reads it.
    pub(crate) async fn of(client: &Es, data: &Path, index: &str, shard: u32) -> Self {
        let (_, stats) = client.get(&format!("/{index}/_stats?level=shards")).await;
        let stats = &stats["indices"][index];
        let uuid = stats["uuid"].as_str().expect("the index has a uuid");
        let of_shard: &Value = &stats["shards"][shard.to_string()][0];
        let told = of_shard["shard_path"]["data_path"].as_str().expect("a data path");
        let path = Path::new(told).join(format!("indices/{uuid}/{shard}/translog"));
        assert!(
            path.starts_with(data),
            "{} is in {}",
            path.display(),
            data.display()
        );
        // The answer to a write comes some milliseconds before the checkpoint that has it acknowledged.
        eventually("all of it is acknowledged", Duration::from_secs(10), async || {
            let folder = Self::read(path.clone());
            let highest = folder
                .generations
                .iter()
                .map(|generation| generation.checkpoint.max_seq_no);
            if Some(folder.checkpoint.global_checkpoint) >= highest.max() {
                Ok(folder)
            } else {
                Err(format!("{:?}", folder.checkpoint))
            }
        })
        .await
    }

    fn read(path: PathBuf) -> Self {
        let read = |name: &str| {
            let path = path.join(name);
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let checkpoint = Checkpoint::parse(&read(names::CHECKPOINT)).expect("a checkpoint");
        let generations = (checkpoint.min_generation..=checkpoint.generation)
            .map(|number| {
                let own = if number == checkpoint.generation {
                    checkpoint
                } else {
                    Checkpoint::parse(&read(&names::generation_checkpoint(number))).expect("a checkpoint")
                };
                assert_eq!(own.generation, number);
                Generation {
                    bytes: read(&names::generation(number)),
                    checkpoint: own,
                }
            })
            .collect();
        Self {
            path,
            checkpoint,
            generations,
        }
    }

    /// The newest checkpoint.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether no generation holds an operation.
    pub(crate) fn is_empty(&self) -> bool {
        let headers = self.generations.iter().map(|generation| {
            let header = Header::parse(&generation.bytes).expect("a header");
            (header.length, generation.checkpoint)
        });
        self.operations().is_empty()
            && headers.into_iter().all(|(length, checkpoint)| {
                checkpoint.offset == length as u64
                    && (checkpoint.ops, checkpoint.min_seq_no, checkpoint.max_seq_no) == (0, -1, -1)
            })
    }

    /// All operations, in the order in which they were logged.
    pub(crate) fn operations(&self) -> Vec<Op<'_>> {
        let mut operations = Vec::new();
        let mut uuid = None;
        for generation in &self.generations {
            let header = Header::parse(&generation.bytes).expect("a header");
            assert_eq!(
                *uuid.get_or_insert(header.uuid),
                header.uuid,
                "one translog, one UUID"
            );
            let before = operations.len();
            let end = generation.checkpoint.offset as usize;
            let mut at = header.length;
            while at < end {
                let frame = Frame::parse(&generation.bytes[at..end]).expect("a frame");
                assert!(frame.op.primary_term() <= header.primary_term, "{:?}", frame.op);
                at += frame.length;
                operations.push(frame.op);
            }
            let seq_nos = || operations[before..].iter().map(|op| op.seq_no() as i64);
            let counted = (
                operations.len() - before,
                seq_nos().min().unwrap_or(-1),
                seq_nos().max().unwrap_or(-1),
            );
            let Checkpoint {
                ops,
                min_seq_no,
                max_seq_no,
                ..
            } = generation.checkpoint;
            assert_eq!(
                counted,
                (ops as usize, min_seq_no, max_seq_no),
                "as its checkpoint says"
            );
        }
        operations
    }

    /// Copies the files into a folder, and whatever else was there away.
    pub(crate) fn copy_to(&self, target: &Path) {
        let _ = fs::remove_dir_all(target);
        fs::create_dir_all(target).expect("a folder");
        for entry in fs::read_dir(&self.path).expect("the translog's folder") {
            let entry = entry.expect("an entry");
            let copied =
                fs::read(entry.path()).and_then(|bytes| fs::write(target.join(entry.file_name()), bytes));
            copied.expect("a copy");
        }
    }
}
