//! What a scan knows about holes: whether every sequence number of its range was seen as a live document.
//!
//! A sequence number that is not seen was superseded, deleted, a no-op, or is not visible yet. Where nothing is
//! missing, nothing can have been deleted, and no count is needed.

use slipstream_model::{Checkpoint, Op};

/// How far an unbroken run of live documents reaches from a place on.
pub(crate) fn contiguous_through(from: Checkpoint, ascending: &[Op]) -> Checkpoint {
    let mut through = from;
    for op in ascending {
        if op.seq_no == through.next() {
            through = op.seq_no.as_checkpoint();
        } else if op.seq_no > through.next() {
            break;
        }
    }
    through
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use slipstream_model::{Change, DocRef, PrimaryTerm, SeqNo, Version};

    use super::*;

    fn ops(seqs: &BTreeSet<u64>) -> Vec<Op> {
        let op = |seq: &u64| Op {
            seq_no: SeqNo::new(*seq),
            term: PrimaryTerm(1),
            version: Version(1),
            doc: DocRef {
                id: String::new(),
                routing: None,
            },
            change: Change::Delete,
        };
        seqs.iter().map(op).collect()
    }

    proptest! {
        #[test]
        fn i2_nothing_up_to_the_contiguous_end_is_missing(
            from in -1i64..20, seqs in prop::collection::btree_set(0u64..60, 0..60),
        ) {
            let seqs: BTreeSet<u64> = seqs.into_iter().filter(|s| *s as i64 > from).collect();
            let through = contiguous_through(Checkpoint::new(from), &ops(&seqs)).get();
            prop_assert!((from + 1..=through).all(|s| seqs.contains(&(s as u64))));
            prop_assert!(!seqs.contains(&((through + 1) as u64)));
        }
    }
}
