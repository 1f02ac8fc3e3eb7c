//! What a bulk's answer means for each of its writes: done, to be sent again, or the end.
//!
//! Pure, so that the order rules can be tested without a target. A write that has to be sent again is dropped where a
//! later write of the same document in the same bulk was applied: sent again it would come after it (I3).

use std::collections::HashSet;

use slipstream_cluster::{ItemError, ItemOutcome, RetryReason};
use slipstream_model::Checkpoint;

use super::Write;

/// What is left to do after a bulk.
#[derive(Debug, Default)]
pub(crate) struct Leftover {
    /// The least and the highest sequence number of the target's that a write was given.
    pub(crate) written: Option<(Checkpoint, Checkpoint)>,
    /// Turned away for now; in their old order.
    pub(crate) again: Vec<Write>,
    /// Refused because the target has a higher version; in their old order.
    pub(crate) conflicts: Vec<Write>,
    /// Why writes were turned away, with the target's words.
    pub(crate) reason: Option<(RetryReason, String)>,
    /// The first write that will never be taken.
    pub(crate) rejected: Option<(Write, ItemError)>,
    /// The follower index is gone.
    pub(crate) index_missing: bool,
}

/// Sorts the writes of a bulk by their outcomes, which come in the same order.
pub(crate) fn sort(writes: Vec<Write>, outcomes: Vec<ItemOutcome>) -> Leftover {
    let mut leftover = Leftover::default();
    // From the back, so that what a later write did is known.
    let mut applied: HashSet<String> = HashSet::new();
    let mut later_conflict: HashSet<String> = HashSet::new();
    for (write, outcome) in writes.into_iter().zip(outcomes).rev() {
        let id = &write.doc().id;
        match outcome {
            ItemOutcome::Applied(at) => {
                if at > Checkpoint::NONE {
                    let (least, highest) = leftover.written.unwrap_or((at, at));
                    leftover.written = Some((least.min(at), highest.max(at)));
                }
                applied.insert(id.clone());
            }
            ItemOutcome::IndexMissing => leftover.index_missing = true,
            ItemOutcome::Rejected(error) => leftover.rejected = Some((write, error)),
            ItemOutcome::Conflict => {
                // Only the newest state of a document needs to win its conflict.
                if !applied.contains(id) && later_conflict.insert(id.clone()) {
                    leftover.conflicts.push(write);
                }
            }
            ItemOutcome::Retry(reason, text) => {
                if !applied.contains(id) {
                    leftover.again.push(write);
                    leftover.reason = Some((reason, text));
                }
            }
        }
    }
    leftover.again.reverse();
    leftover.conflicts.reverse();
    leftover
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slipstream_model::{Change, DocRef, Op, PrimaryTerm, SeqNo, Version};

    use super::*;

    fn write(seq: u64, id: u8) -> Write {
        Write::Op(Op {
            seq_no: SeqNo::new(seq),
            term: PrimaryTerm(1),
            version: Version(seq as i64),
            doc: DocRef {
                id: id.to_string(),
                routing: None,
            },
            change: Change::Index { source: "{}".into() },
        })
    }

    fn seq(write: &Write) -> u64 {
        write.seq_no().unwrap().get()
    }

    proptest! {
        /// Whatever a bulk answers, sending the leftovers again never lets an older state follow a newer one.
        #[test]
        fn i3_nothing_older_is_sent_again_after_something_newer_was_applied(
            items in prop::collection::vec((0u8..4, 0u8..3), 0..30),
        ) {
            let writes: Vec<Write> =
                items.iter().enumerate().map(|(seq, (id, _))| write(seq as u64, *id)).collect();
            let outcomes = items.iter().map(|(_, outcome)| match outcome {
                0 => ItemOutcome::Applied(Checkpoint::NONE),
                1 => ItemOutcome::Conflict,
                _ => ItemOutcome::Retry(RetryReason::Throttled, "busy".to_owned()),
            });
            let leftover = sort(writes.clone(), outcomes.collect());
            let newest_applied = |id: &str| {
                writes.iter().zip(&items).filter(|(w, (_, o))| *o == 0 && w.doc().id == id).map(|(w, _)| seq(w)).max()
            };
            for left in leftover.again.iter().chain(&leftover.conflicts) {
                prop_assert!(newest_applied(&left.doc().id).is_none_or(|newest| seq(left) > newest));
            }
            prop_assert!(leftover.again.windows(2).all(|w| seq(&w[0]) < seq(&w[1])));
            // Nothing that failed and was not overtaken is forgotten: the newest of each document is still there.
            for id in 0u8..4 {
                let newest = writes.iter().zip(&items).rfind(|(w, _)| w.doc().id == id.to_string());
                if let Some((newest, (_, outcome))) = newest.filter(|(_, (_, o))| *o != 0) {
                    let list = if *outcome == 1 { &leftover.conflicts } else { &leftover.again };
                    prop_assert!(list.iter().any(|w| seq(w) == seq(newest)));
                }
            }
        }
    }
}
