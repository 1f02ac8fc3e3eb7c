//! What is encoded is parsed, byte for byte; what is damaged afterwards is never parsed as something else.

#[path = "encoded/arbitrary.rs"]
mod arbitrary;

use std::borrow::Cow;

use proptest::prelude::*;
use slipstream_translog::encode::{self, Version};
use slipstream_translog::{CHECKPOINT_LENGTH, Checkpoint, FormatError, Frame, Header, Op};

const VERSIONS: [Version; 2] = [Version::V3, Version::V4];

/// Without characters outside of the basic plane every string is borrowed.
fn borrowed_where_possible(op: &Op<'_>) -> bool {
    let right = |text: &Cow<'_, str>| match text {
        Cow::Borrowed(text) => text.chars().all(|c| c.len_utf16() == 1),
        Cow::Owned(text) => text.chars().any(|c| c.len_utf16() == 2),
    };
    match op {
        Op::Index { id, routing, .. } => right(id) && routing.as_ref().is_none_or(right),
        Op::Delete { id: text, .. } | Op::Noop { reason: text, .. } => right(text),
    }
}

proptest! {
    #[test]
    fn frames_are_parsed_one_after_the_other(ops in prop::collection::vec(arbitrary::op(), 1..6)) {
        for version in VERSIONS {
            let file: Vec<u8> = ops.iter().flat_map(|op| encode::frame(op, version)).collect();
            let mut rest = &file[..];
            for op in &ops {
                let frame = Frame::parse(rest).unwrap();
                prop_assert_eq!(&frame.op, op);
                prop_assert!(borrowed_where_possible(&frame.op));
                if let Op::Index { source, .. } = &frame.op {
                    let within = rest.as_ptr_range();
                    prop_assert!(source.is_empty() || within.contains(&source.as_ptr()), "a copied source");
                }
                let (place, length) = Frame::place(rest).unwrap();
                prop_assert_eq!((place.seq_no, place.primary_term), (op.seq_no(), op.primary_term()));
                prop_assert_eq!(length, frame.length);
                rest = &rest[frame.length..];
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn checkpoints_are_parsed(checkpoint in arbitrary::checkpoint()) {
        for version in VERSIONS {
            let bytes = encode::checkpoint(&checkpoint, version);
            prop_assert_eq!(bytes.len(), CHECKPOINT_LENGTH);
            prop_assert_eq!(Checkpoint::parse(&bytes), Ok(checkpoint));
        }
    }

    #[test]
    fn headers_are_parsed(uuid in "[a-zA-Z0-9_-]{1,479}", term in any::<u64>()) {
        let primary_term = term >> 1;
        let bytes = encode::header(&uuid, primary_term);
        let length = bytes.len();
        let expected = Header { uuid: &uuid, primary_term, length };
        prop_assert_eq!(Header::parse(&bytes), Ok(expected));
    }

    #[test]
    fn anything_at_all_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Frame::parse(&bytes), Header::parse(&bytes), Checkpoint::parse(&bytes));
        // The same behind a right checksum.
        let sealed = encode::seal(&bytes);
        if let Ok(frame) = Frame::parse(&sealed) {
            prop_assert_eq!(frame.length, sealed.len());
        }
    }

    #[test]
    fn no_changed_byte_of_a_frame_goes_unnoticed(
        op in arbitrary::op(),
        next in arbitrary::op(),
        place in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        for version in VERSIONS {
            let mut bytes = encode::frame(&op, version);
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            bytes.extend(encode::frame(&next, version));
            let found = Frame::parse(&bytes);
            prop_assert!(found.is_err(), "byte {} changed by {:#x}: {:?}", place, flip, found);
        }
    }

    #[test]
    fn a_frame_cut_off_asks_for_the_rest(op in arbitrary::op(), place in any::<prop::sample::Index>()) {
        for version in VERSIONS {
            let bytes = encode::frame(&op, version);
            let cut = place.index(bytes.len());
            let needed = if cut < 4 { 4 } else { bytes.len() };
            prop_assert_eq!(Frame::parse(&bytes[..cut]), Err(FormatError::Incomplete { needed }));
        }
    }
}

/// A few operations that have every kind of field.
fn samples() -> Vec<Op<'static>> {
    let (seq_no, primary_term) = (1_000_000, 3);
    vec![
        Op::Index {
            id: "crab 🦀\0漢é".into(),
            routing: Some("r🦀".into()),
            version: 7,
            seq_no,
            primary_term,
            source: b"{\"a\":[1,2,3]}",
        },
        Op::Index {
            id: "plain".into(),
            routing: None,
            version: i64::MAX,
            seq_no: 0,
            primary_term,
            source: &[b'x'; 300],
        },
        Op::Delete {
            id: "gone 🦀".into(),
            version: 2,
            seq_no,
            primary_term,
        },
        Op::Noop {
            seq_no,
            primary_term,
            reason: "filling gaps".into(),
        },
    ]
}

#[test]
fn every_flipped_bit_and_every_other_byte_is_noticed() {
    for version in VERSIONS {
        for op in samples() {
            let good = encode::frame(&op, version);
            // More bytes behind it, so that a longer length is not just incomplete.
            let tail = encode::frame(&op, version).repeat(300);
            for place in 0..good.len() {
                for flip in 1..=255 {
                    let mut bytes = [&good[..], &tail].concat();
                    bytes[place] ^= flip;
                    let found = Frame::parse(&bytes);
                    assert!(found.is_err(), "byte {place} changed by {flip:#x}: {found:?}");
                }
            }
        }
        for flip in 1..=255 {
            let good = encode::header("uJ2mQ1RrTbSx3oQh0nV5_g", 4);
            for place in 0..good.len() {
                let mut bytes = good.clone();
                bytes[place] ^= flip;
                bytes.extend([0; 512]);
                assert!(
                    Header::parse(&bytes).is_err(),
                    "byte {place} changed by {flip:#x}"
                );
            }
            let checkpoint = Checkpoint {
                offset: 4711,
                ops: 42,
                generation: 9,
                min_seq_no: 100,
                max_seq_no: 141,
                global_checkpoint: 140,
                min_generation: 7,
                trimmed_above: -2,
            };
            let good = encode::checkpoint(&checkpoint, version);
            for place in 0..good.len() {
                let mut bytes = good.clone();
                bytes[place] ^= flip;
                let found = Checkpoint::parse(&bytes);
                assert!(
                    matches!(found, Err(FormatError::Damaged { .. })),
                    "byte {place} changed by {flip:#x}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn every_length_of_a_cut_file_is_told() {
    for version in VERSIONS {
        for op in samples() {
            let bytes = encode::frame(&op, version);
            for cut in 0..bytes.len() {
                let needed = if cut < 4 { 4 } else { bytes.len() };
                let incomplete = FormatError::Incomplete { needed };
                assert_eq!(Frame::parse(&bytes[..cut]).unwrap_err(), incomplete);
                assert_eq!(Frame::place(&bytes[..cut]).unwrap_err(), incomplete);
                // The same cut within the body, checksum made right again.
                let body = &bytes[4..bytes.len() - 4];
                if let Some(shorter) = body.get(..cut).filter(|shorter| *shorter != body) {
                    let found = encode::seal(shorter);
                    let found = Frame::parse(&found);
                    assert!(
                        matches!(found, Err(FormatError::Damaged { .. })),
                        "{cut}: {found:?}"
                    );
                }
            }
        }
    }
}
