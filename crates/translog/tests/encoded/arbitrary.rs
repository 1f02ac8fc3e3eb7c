//! Operations and checkpoints at random.

use proptest::prelude::*;
use slipstream_translog::{Checkpoint, Op};

/// Strings as ids and routings are: every plane of Unicode, NUL, and up to a few hundred units.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9_-]{0,30}",
        2 => any::<String>(),
        1 => prop::collection::vec(any::<char>(), 0..200).prop_map(String::from_iter),
        1 => prop::collection::vec(prop::sample::select(vec!['\0', '🦀', '漢', '\u{ffff}', '\u{10ffff}', 'é', 'x']), 0..40)
            .prop_map(String::from_iter),
    ]
}

/// Sources: bytes of any kind, now and then many.
pub(crate) fn source() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (any::<u8>(), 0usize..300_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..1000, any::<u64>().prop_map(|number| number >> 1)]
}

/// An operation of any kind.
pub(crate) fn op() -> impl Strategy<Value = Op<'static>> {
    let index = (
        text(),
        prop::option::of(text()),
        any::<i64>(),
        number(),
        number(),
        source(),
    )
        .prop_map(|(id, routing, version, seq_no, primary_term, source)| Op::Index {
            id: id.into(),
            routing: routing.map(Into::into),
            version,
            seq_no,
            primary_term,
            source: source.leak(),
        });
    let delete =
        (text(), any::<i64>(), number(), number()).prop_map(|(id, version, seq_no, primary_term)| {
            Op::Delete {
                id: id.into(),
                version,
                seq_no,
                primary_term,
            }
        });
    let noop = (text(), number(), number()).prop_map(|(reason, seq_no, primary_term)| Op::Noop {
        seq_no,
        primary_term,
        reason: reason.into(),
    });
    prop_oneof![3 => index, 2 => delete, 1 => noop]
}

/// A checkpoint without contradictions.
pub(crate) fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let signed = || number().prop_map(|number| number as i64 - 1);
    (
        (number(), 0..=i32::MAX as u32, number(), number()),
        (signed(), signed(), signed()),
        prop::option::of(signed()),
    )
        .prop_map(
            |((offset, ops, first, second), (low, high, gcp), trim)| Checkpoint {
                offset,
                ops,
                generation: first.max(second),
                min_seq_no: low.min(high),
                max_seq_no: low.max(high),
                global_checkpoint: gcp,
                min_generation: first.min(second),
                trimmed_above: trim.map_or(-2, |trim| trim.min(low.max(high))),
            },
        )
}
