//! Operations that were seen in the files and not emitted yet: where each is, not what is in it.
//!
//! The rule that keeps unacknowledged operations out: of each sequence number only the operation with the highest
//! primary term counts, and nothing is final before everything up to the checkpoint's offset has been seen, unless its
//! term is the highest that the translog can hold. Pure, so that the rule can be tested without files.

use std::collections::{BTreeMap, VecDeque};

/// Where an operation lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) term: u64,
    pub(super) generation: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// What may be emitted, as the latest look at the files found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// This copy's global checkpoint; -1 for none.
    pub(super) global_checkpoint: i64,
    /// Whether everything up to the checkpoint's offset has been seen.
    pub(super) complete: bool,
    /// The primary term of the newest generation: no operation has a higher one.
    pub(super) highest_term: u64,
}

/// Operations from the next one to emit on.
#[derive(Debug)]
pub(super) struct Backlog {
    next: u64,
    slots: BTreeMap<u64, Slot>,
    /// Taken and not settled: they may have to be taken again.
    taken: VecDeque<(u64, Slot)>,
}

impl Backlog {
    /// Nothing below `next` is wanted.
    pub(super) fn new(next: u64) -> Self {
        Backlog {
            next,
            slots: BTreeMap::new(),
            taken: VecDeque::new(),
        }
    }

    /// The sequence number that is due.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many operations are known.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// An operation was seen.
    pub(super) fn saw(&mut self, seq_no: u64, slot: Slot) {
        if seq_no < self.next {
            return;
        }
        let known = self.slots.entry(seq_no).or_insert(slot);
        if slot.term > known.term {
            *known = slot;
        }
    }

    /// The operation that is due, if it may be emitted.
    pub(super) fn due(&self, bounds: Bounds) -> Option<Slot> {
        if self.next as i64 > bounds.global_checkpoint {
            return None;
        }
        let slot = self.slots.get(&self.next)?;
        (bounds.complete || slot.term == bounds.highest_term).then_some(*slot)
    }

    /// The operation that was due has been taken.
    pub(super) fn taken(&mut self) {
        if let Some(slot) = self.slots.remove(&self.next) {
            self.taken.push_back((self.next, slot));
            self.next += 1;
        }
    }

    /// Everything below `next` is settled and will not be taken again.
    pub(super) fn settle_before(&mut self, next: u64) {
        while self.taken.front().is_some_and(|(seq_no, _)| *seq_no < next) {
            self.taken.pop_front();
        }
    }

    /// What was taken and is not settled becomes due again.
    pub(super) fn rewind(&mut self) {
        if let Some((first, _)) = self.taken.front() {
            self.next = *first;
        }
        self.slots.extend(self.taken.drain(..));
    }

    /// Whether the operation that is due is acknowledged and not in these files.
    pub(super) fn has_gap(&self, bounds: Bounds) -> bool {
        bounds.complete
            && self.next as i64 <= bounds.global_checkpoint
            && !self.slots.contains_key(&self.next)
    }

    /// Whether nothing waits to be taken or settled.
    pub(super) fn is_drained(&self) -> bool {
        self.slots.is_empty() && self.taken.is_empty()
    }

    /// The lowest generation that still has to be read for what is known.
    pub(super) fn oldest_generation(&self) -> Option<u64> {
        let taken = self.taken.iter().map(|(_, slot)| slot);
        self.slots.values().chain(taken).map(|slot| slot.generation).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(term: u64) -> Slot {
        Slot {
            term,
            generation: term,
            offset: 0,
            length: 1,
        }
    }

    fn bounds(global_checkpoint: i64, complete: bool, highest_term: u64) -> Bounds {
        Bounds {
            global_checkpoint,
            complete,
            highest_term,
        }
    }

    fn emitted(backlog: &mut Backlog, bounds: Bounds) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        while let Some(slot) = backlog.due(bounds) {
            out.push((backlog.next(), slot.term));
            backlog.taken();
        }
        out
    }

    #[test]
    fn i1_a_ghost_gives_way_to_the_operation_that_got_its_number() {
        let mut backlog = Backlog::new(3);
        backlog.saw(2, slot(1));
        backlog.saw(3, slot(1));
        backlog.saw(4, slot(1));
        // The checkpoint covers 4, but the files are not read to their end: a later term may have given 3 away again.
        assert_eq!(emitted(&mut backlog, bounds(4, false, 2)), []);
        backlog.saw(3, slot(2));
        backlog.saw(4, slot(2));
        assert_eq!(emitted(&mut backlog, bounds(4, false, 2)), [(3, 2), (4, 2)]);
        assert_eq!(backlog.len(), 0);
    }

    #[test]
    fn i7_what_is_not_settled_can_be_taken_again() {
        let mut backlog = Backlog::new(0);
        (0..5).for_each(|seq| backlog.saw(seq, slot(1)));
        assert_eq!(emitted(&mut backlog, bounds(3, true, 1)).len(), 4);
        backlog.settle_before(2);
        backlog.rewind();
        assert_eq!(
            emitted(&mut backlog, bounds(4, true, 1)),
            [(2, 1), (3, 1), (4, 1)]
        );
        backlog.settle_before(5);
        backlog.rewind();
        assert_eq!(backlog.next(), 5);
        assert_eq!(backlog.oldest_generation(), None);
    }

    #[test]
    fn a_hole_at_or_below_the_checkpoint_is_a_gap_once_all_is_read() {
        let mut backlog = Backlog::new(0);
        backlog.saw(1, slot(1));
        assert!(!backlog.has_gap(bounds(-1, true, 1)));
        assert!(!backlog.has_gap(bounds(1, false, 1)));
        assert!(backlog.has_gap(bounds(1, true, 1)));
        backlog.saw(0, slot(1));
        assert_eq!(emitted(&mut backlog, bounds(1, true, 1)), [(0, 1), (1, 1)]);
    }

    proptest! {
        /// However operations of several terms lie in the files and however the reads fall, what comes out is each
        /// sequence number once, ascending, nothing above the checkpoint, and of each the highest term there is.
        #[test]
        fn i1_only_final_operations_come_out_in_order(
            terms in prop::collection::vec(prop::collection::vec(0u64..30, 0..30), 1..4),
            checkpoints in prop::collection::vec(-1i64..30, 1..6),
        ) {
            let mut file: Vec<(u64, u64)> = Vec::new();
            for (term, seqs) in terms.iter().enumerate() {
                file.extend(seqs.iter().map(|seq| (*seq, term as u64 + 1)));
            }
            let mut best: BTreeMap<u64, u64> = BTreeMap::new();
            for (seq, term) in &file {
                let known = best.entry(*seq).or_default();
                *known = (*known).max(*term);
            }
            let highest_term = terms.len() as u64;
            let mut backlog = Backlog::new(0);
            let mut out = Vec::new();
            let mut highest_checkpoint = -1;
            for (at, (seq, term)) in file.iter().enumerate() {
                backlog.saw(*seq, slot(*term));
                highest_checkpoint = checkpoints[at % checkpoints.len()].max(highest_checkpoint);
                out.extend(emitted(&mut backlog, bounds(highest_checkpoint, false, highest_term)));
            }
            out.extend(emitted(&mut backlog, bounds(highest_checkpoint, true, highest_term)));
            prop_assert!(out.iter().enumerate().all(|(at, (seq, _))| at as u64 == *seq));
            prop_assert!(out.iter().all(|(seq, _)| *seq as i64 <= highest_checkpoint));
            prop_assert!(out.iter().all(|(seq, term)| best[seq] == *term));
            let complete = (0..30).take_while(|seq| best.contains_key(seq) && *seq as i64 <= highest_checkpoint).count();
            prop_assert_eq!(out.len(), complete);
        }
    }
}
