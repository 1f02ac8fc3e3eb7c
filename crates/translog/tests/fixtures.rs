//! Translogs that real servers wrote, operation by operation, against what those servers told their client.
//!
//! `tests/fixtures/README.md` says what is in them and how they came about.

#![expect(
    clippy::unwrap_used,
    reason = "a test of its own: whatever is missing is a failure"
)]

#[path = "fixtures/folder.rs"]
mod folder;

use std::borrow::Cow;

use folder::{Folder, folders};
use serde_json::Value;
use slipstream_translog::{Checkpoint, Frame, Header, Op};

/// The operations of a generation up to its checkpoint's offset.
fn operations<'a>(bytes: &'a [u8], checkpoint: &Checkpoint) -> Vec<Op<'a>> {
    let mut operations = Vec::new();
    let mut at = Header::parse(bytes).unwrap().length;
    let end = usize::try_from(checkpoint.offset).unwrap();
    while at < end {
        let frame = Frame::parse(&bytes[at..end]).unwrap();
        at += frame.length;
        operations.push(frame.op);
    }
    assert_eq!(at, end);
    assert_eq!(operations.len(), checkpoint.ops as usize);
    let seq_nos = || operations.iter().map(|op| op.seq_no() as i64);
    assert_eq!(checkpoint.min_seq_no, seq_nos().min().unwrap_or(-1));
    assert_eq!(checkpoint.max_seq_no, seq_nos().max().unwrap_or(-1));
    operations
}

/// A line of `operations.jsonl` as an operation; `source` holds what a source is a slice of.
fn expected<'a>(line: &'a Value, source: &'a [u8]) -> Op<'a> {
    let text = |name: &str| Cow::Borrowed(line[name].as_str().unwrap_or_else(|| panic!("{name} of {line}")));
    let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name} of {line}"));
    let (seq_no, primary_term) = (number("seq_no"), number("primary_term"));
    match line["op"].as_str() {
        Some("index") => Op::Index {
            id: text("id"),
            routing: line["routing"].as_str().map(Cow::Borrowed),
            version: line["version"].as_i64().unwrap(),
            seq_no,
            primary_term,
            source,
        },
        Some("delete") => Op::Delete {
            id: text("id"),
            version: line["version"].as_i64().unwrap(),
            seq_no,
            primary_term,
        },
        Some("noop") => Op::Noop {
            seq_no,
            primary_term,
            reason: text("reason"),
        },
        _ => panic!("{line}"),
    }
}

/// Sources that are no JSON stand in hexadecimal digits.
fn source(line: &Value) -> Vec<u8> {
    let Some(digits) = line["source_hex"].as_str() else {
        return line["source"].as_str().unwrap_or_default().into();
    };
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn compare(folder: &Folder) {
    let name = &folder.name;
    let current = Checkpoint::parse(&folder.checkpoint).unwrap();
    let mut found = Vec::new();
    let mut uuid = None;
    for generation in &folder.generations {
        let header = Header::parse(&generation.bytes).unwrap();
        assert_eq!(*uuid.get_or_insert(header.uuid), header.uuid, "{name}");
        assert_eq!(header.uuid.len(), 22, "{name}");
        let checkpoint = match &generation.checkpoint {
            Some(bytes) => Checkpoint::parse(bytes).unwrap(),
            None => current,
        };
        assert_eq!(checkpoint.generation, generation.number, "{name}");
        let operations = operations(&generation.bytes, &checkpoint);
        assert!(
            operations
                .iter()
                .all(|op| op.primary_term() <= header.primary_term)
        );
        found.extend(operations);
    }
    assert_eq!(
        folder.generations.last().unwrap().number,
        current.generation,
        "{name}"
    );
    found.sort_by_key(Op::seq_no);

    let answered = folder::root().join(name).join("operations.jsonl");
    let lines: Vec<Value> = std::fs::read_to_string(answered)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, found) in lines.iter().zip(&found) {
        let source = source(line);
        let expected = expected(line, &source);
        let same = match (found, &expected) {
            // The log has the exception's name before the message that the client got.
            (Op::Noop { reason: logged, .. }, Op::Noop { reason, .. }) => {
                logged.ends_with(&**reason)
                    && found.seq_no() == expected.seq_no()
                    && found.primary_term() == expected.primary_term()
            }
            _ => *found == expected,
        };
        assert!(same, "{name}: {found:?} instead of {expected:?}");
    }
    assert_eq!(found.len(), lines.len(), "{name}");
    assert_eq!(current.global_checkpoint, lines.len() as i64 - 1, "{name}");
}

#[test]
fn every_operation_of_every_engine_is_what_the_server_said() {
    let folders = folders();
    assert!(folders.len() >= 5, "fixtures of {} engines", folders.len());
    for folder in &folders {
        compare(folder);
    }
}

/// What makes the fixtures worth having is in each of them.
#[test]
fn every_fixture_has_the_awkward_operations() {
    for folder in folders() {
        let has = |what: &str, test: &dyn Fn(&Op<'_>) -> bool| {
            let found = folder.generations.iter().any(|generation| {
                let mut rest = &generation.bytes[Header::parse(&generation.bytes).unwrap().length..];
                while let Ok(frame) = Frame::parse(rest) {
                    if test(&frame.op) {
                        return true;
                    }
                    rest = &rest[frame.length..];
                }
                false
            });
            assert!(found, "{} has {what}", folder.name);
        };
        assert!(
            folder.generations.len() >= 2,
            "{} has two generations",
            folder.name
        );
        has(
            "an emoji id",
            &|op| matches!(op, Op::Index { id, .. } if id.contains('🦀')),
        );
        has(
            "a NUL in an id",
            &|op| matches!(op, Op::Index { id, .. } if id.contains('\0')),
        );
        has("a routing", &|op| {
            matches!(op, Op::Index { routing: Some(_), .. })
        });
        has(
            "a large source",
            &|op| matches!(op, Op::Index { source, .. } if source.len() > 15_000),
        );
        has(
            "a CBOR source",
            &|op| matches!(op, Op::Index { source, .. } if source.first() == Some(&0xbf)),
        );
        has(
            "a deletion",
            &|op| matches!(op, Op::Delete { id, .. } if id.contains('🦀')),
        );
        has(
            "a no-op",
            &|op| matches!(op, Op::Noop { reason, .. } if reason.contains("immense term")),
        );
    }
}

/// Damage anywhere in a real file is found, and the frames before it stay readable.
#[test]
fn a_flipped_bit_in_a_real_file_is_found() {
    for folder in folders() {
        for generation in &folder.generations {
            let good = &generation.bytes;
            let mut starts = vec![Header::parse(good).unwrap().length];
            while let Ok(frame) = Frame::parse(&good[starts[starts.len() - 1]..]) {
                starts.push(starts[starts.len() - 1] + frame.length);
            }
            let mut bytes = good.clone();
            for at in (0..starts[starts.len() - 1]).step_by(7) {
                bytes[at] ^= 1 << (at % 8);
                if at < starts[0] {
                    assert!(Header::parse(&bytes).is_err(), "{}: byte {at}", folder.name);
                } else {
                    let hit = starts.partition_point(|start| *start <= at) - 1;
                    let found = Frame::parse(&bytes[starts[hit]..]);
                    assert!(found.is_err(), "{}: byte {at}: {found:?}", folder.name);
                }
                bytes[at] = good[at];
            }
        }
    }
}
