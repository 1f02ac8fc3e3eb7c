//! What is on its way to the target, and what may be said once it is there.
//!
//! Batches are numbered as they are handed to the lanes. A milestone, "scanned up to here" or "sealed up to here", holds
//! when every batch before it is applied, in whatever order the lanes finish (I2). Pure, so that I2 can be tested without
//! a target.

use std::collections::{BTreeMap, VecDeque};

use slipstream_model::{Checkpoint, PrimaryTerm, SeqNo};

/// Something that becomes true when all batches before it are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// Everything alive up to here is durable.
    Scanned(Checkpoint, PrimaryTerm),
    /// Everything up to here is durable, deletes included.
    Sealed(Checkpoint),
}

/// A batch that is completely applied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// What it took of the credit.
    pub(crate) bytes: u64,
    /// How many documents it indexed.
    pub(crate) indexed: u64,
    /// Documents whose deletes it held, to be forgotten now.
    pub(crate) forget: Vec<(SeqNo, String)>,
}

#[derive(Debug)]
struct Open {
    portions: usize,
    done: Done,
}

/// The batches and milestones of one session.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: u64,
    open: BTreeMap<u64, Open>,
    milestones: VecDeque<(u64, Milestone)>,
}

impl Ledger {
    /// Enters a batch that goes to the lanes in this many portions, at least one. Returns its number.
    pub(crate) fn enter(&mut self, portions: usize, done: Done) -> u64 {
        let batch = self.next;
        self.next += 1;
        self.open.insert(batch, Open { portions, done });
        batch
    }

    /// A milestone that holds once everything entered so far is applied.
    pub(crate) fn milestone(&mut self, milestone: Milestone) {
        self.milestones.push_back((self.next, milestone));
    }

    /// A lane finished its portion of a batch. Returns the batch's end, if it was the last portion.
    pub(crate) fn portion_applied(&mut self, batch: u64) -> Option<Done> {
        let open = self.open.get_mut(&batch)?;
        open.portions -= 1;
        if open.portions > 0 {
            return None;
        }
        self.open.remove(&batch).map(|open| open.done)
    }

    /// Whether every batch is applied.
    pub(crate) fn is_dry(&self) -> bool {
        self.open.is_empty()
    }

    /// The milestones that hold now, oldest first.
    pub(crate) fn reached(&mut self) -> Vec<Milestone> {
        let first_open = self.open.keys().next().copied().unwrap_or(self.next);
        let mut reached = Vec::new();
        while self
            .milestones
            .front()
            .is_some_and(|(before, _)| *before <= first_open)
        {
            reached.extend(self.milestones.pop_front().map(|(_, milestone)| milestone));
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order portions finish, a milestone is reached after all batches entered before it, and the
        /// milestones come in their order.
        #[test]
        fn i2_a_milestone_waits_for_everything_before_it(
            batches in prop::collection::vec((1usize..4, any::<bool>()), 1..20), seed in any::<u64>(),
        ) {
            let mut ledger = Ledger::default();
            let mut portions = Vec::new();
            let mut expected = Vec::new();
            for (at, (count, mark)) in batches.iter().enumerate() {
                let batch = ledger.enter(*count, Done::default());
                portions.extend(std::iter::repeat_n(batch, *count));
                if *mark {
                    ledger.milestone(Milestone::Sealed(Checkpoint::new(at as i64)));
                    expected.push(at as u64);
                }
            }
            let mut state = seed | 1;
            let mut left: BTreeMap<u64, usize> = BTreeMap::new();
            for batch in &portions {
                *left.entry(*batch).or_default() += 1;
            }
            let mut reached = Vec::new();
            loop {
                for milestone in ledger.reached() {
                    let Milestone::Sealed(at) = milestone else { unreachable!() };
                    prop_assert!(left.iter().all(|(b, n)| *b as i64 > at.get() || *n == 0));
                    reached.push(at.get() as u64);
                }
                if portions.is_empty() {
                    break;
                }
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let batch = portions.swap_remove((state >> 33) as usize % portions.len());
                *left.get_mut(&batch).unwrap() -= 1;
                let done = ledger.portion_applied(batch);
                prop_assert_eq!(done.is_some(), left[&batch] == 0);
            }
            prop_assert_eq!(reached, expected);
            prop_assert!(ledger.open.is_empty() && ledger.milestones.is_empty());
        }
    }
}
