use super::*;
use crate::encode::{self, Version};

const FULL: Checkpoint = Checkpoint {
    offset: 4711,
    ops: 42,
    generation: 9,
    min_seq_no: 100,
    max_seq_no: 141,
    global_checkpoint: 140,
    min_generation: 7,
    trimmed_above: -2,
};

const EMPTY: Checkpoint = Checkpoint {
    offset: 55,
    ops: 0,
    generation: 1,
    min_seq_no: -1,
    max_seq_no: -1,
    global_checkpoint: -1,
    min_generation: 1,
    trimmed_above: -2,
};

/// Makes the checksum right again.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 8;
    let checksum = u64::from(crc32fast::hash(&bytes[..end]));
    bytes[end..].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn both_byte_orders_are_read() {
    for version in [Version::V3, Version::V4] {
        for checkpoint in [FULL, EMPTY] {
            let bytes = encode::checkpoint(&checkpoint, version);
            assert_eq!(bytes.len(), CHECKPOINT_LENGTH);
            assert_eq!(Checkpoint::parse(&bytes), Ok(checkpoint));
        }
    }
}

#[test]
fn a_checkpoint_in_the_making_is_waited_for() {
    let bytes = encode::checkpoint(&FULL, Version::V4);
    for length in 0..CHECKPOINT_LENGTH {
        let needed = CHECKPOINT_LENGTH;
        assert_eq!(
            Checkpoint::parse(&bytes[..length]),
            Err(FormatError::Incomplete { needed }),
            "{length} bytes"
        );
    }
}

#[test]
fn half_a_write_is_damaged() {
    let (old, new) = (
        FULL,
        Checkpoint {
            offset: 9999,
            ops: 43,
            max_seq_no: 142,
            ..FULL
        },
    );
    for version in [Version::V3, Version::V4] {
        let (old, new) = (
            encode::checkpoint(&old, version),
            encode::checkpoint(&new, version),
        );
        let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        for written in same + 1..CHECKPOINT_LENGTH {
            let torn = [&new[..written], &old[written..]].concat();
            if torn != new {
                assert!(
                    matches!(Checkpoint::parse(&torn), Err(FormatError::Damaged { .. })),
                    "{written} bytes written"
                );
            }
        }
    }
}

#[test]
fn other_versions_are_unsupported_and_not_just_damaged() {
    for version in [0u32, 1, 2, 5, 1 << 31] {
        // Version 2 lacks the last field.
        for dropped in [0, 8] {
            let mut bytes = encode::checkpoint(&FULL, Version::V3);
            bytes[8..12].copy_from_slice(&version.to_be_bytes());
            bytes.drain(64..64 + dropped);
            assert!(
                matches!(Checkpoint::parse(&bytes), Err(FormatError::Damaged { .. })),
                "version {version} with a wrong checksum"
            );
            let error = Checkpoint::parse(&seal(bytes)).unwrap_err();
            let found = i64::from(version as i32);
            assert!(matches!(error, FormatError::Unsupported { found: it, .. } if it == found));
            assert!(error.to_string().contains("this release cannot read"), "{error}");
        }
    }
}

#[test]
fn a_longer_file_is_no_checkpoint() {
    let mut bytes = encode::checkpoint(&FULL, Version::V4);
    bytes.extend([0; 8]);
    assert!(matches!(
        Checkpoint::parse(&bytes),
        Err(FormatError::Damaged { .. })
    ));
    bytes.truncate(CHECKPOINT_LENGTH);
    bytes.splice(72..72, [0; 8]);
    let what = Damage::Trailing(8);
    let part = Part::Checkpoint;
    assert_eq!(
        Checkpoint::parse(&seal(bytes)),
        Err(FormatError::Damaged { part, what })
    );
}

#[test]
fn values_that_contradict_each_other_are_damage() {
    for (wrong, about) in [
        (
            Checkpoint {
                offset: u64::MAX,
                ..FULL
            },
            "the offset is -1",
        ),
        (
            Checkpoint {
                ops: u32::MAX,
                ..FULL
            },
            "the number of operations is -1",
        ),
        (
            Checkpoint {
                generation: 1 << 63,
                ..FULL
            },
            "the generation is -9223372036854775808",
        ),
        (
            Checkpoint {
                min_seq_no: -2,
                ..FULL
            },
            "the lowest sequence number is -2",
        ),
        (
            Checkpoint {
                min_seq_no: 142,
                ..FULL
            },
            "above the highest, is 142",
        ),
        (
            Checkpoint {
                max_seq_no: -2,
                ..FULL
            },
            "the highest sequence number is -2",
        ),
        (
            Checkpoint {
                global_checkpoint: -3,
                ..FULL
            },
            "the global checkpoint is -3",
        ),
        (
            Checkpoint {
                min_generation: 10,
                ..FULL
            },
            "above the current one, is 10",
        ),
        (
            Checkpoint {
                trimmed_above: -3,
                ..FULL
            },
            "to trim above is -3",
        ),
        (
            Checkpoint {
                trimmed_above: 142,
                ..FULL
            },
            "above the highest, is 142",
        ),
    ] {
        for version in [Version::V3, Version::V4] {
            let error = Checkpoint::parse(&encode::checkpoint(&wrong, version)).unwrap_err();
            assert!(matches!(error, FormatError::Damaged { .. }), "{wrong:?}: {error}");
            assert!(error.to_string().contains(about), "{wrong:?}: {error}");
        }
    }
}

#[test]
fn values_at_their_bounds_are_taken() {
    for right in [
        Checkpoint {
            trimmed_above: -1,
            ..FULL
        },
        Checkpoint {
            trimmed_above: 141,
            ..FULL
        },
        Checkpoint {
            global_checkpoint: -2,
            ..EMPTY
        },
        // A copy that knows of operations which it does not have yet.
        Checkpoint {
            global_checkpoint: 5000,
            ..EMPTY
        },
        Checkpoint {
            min_generation: 9,
            ..FULL
        },
        Checkpoint {
            offset: i64::MAX as u64,
            ops: i32::MAX as u32,
            ..FULL
        },
    ] {
        assert_eq!(
            Checkpoint::parse(&encode::checkpoint(&right, Version::V4)),
            Ok(right)
        );
    }
}
