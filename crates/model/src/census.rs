//! Accounting for holes: the window reader sees only what is alive, so deletes show as holes in the sequence, and so do
//! superseded versions. Counting tells them apart.
//!
//! The follower remembers which documents it holds and at which sequence number; the leader says how many are alive.
//! Equal counts mean no delete happened, and only where the leader has fewer are the gone ones searched for, bucket by
//! bucket of the sequence space.

use std::collections::BTreeMap;

use crate::seq::SeqNo;

/// What one searcher of the leader's primary saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// How many documents are alive in the shard, nested children not counted.
    pub live: u64,
}

/// What a census says about the follower's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CensusVerdict {
    /// Nothing was deleted.
    Equal,
    /// This many documents are gone on the leader and still with the follower.
    Gone(u64),
    /// The leader has this many documents more than were ever read: reading missed some, so the shard must be
    /// reconciled from the start.
    Missed(u64),
}

impl Census {
    /// Compares with how many documents the follower knows, those just read included.
    pub const fn judge(self, known: u64) -> CensusVerdict {
        if self.live == known {
            CensusVerdict::Equal
        } else if self.live < known {
            CensusVerdict::Gone(known - self.live)
        } else {
            CensusVerdict::Missed(self.live - known)
        }
    }
}

/// How many documents have their newest operation in each stretch of the sequence space.
///
/// The finest stretch is [`Buckets::FINEST`] sequence numbers wide, so 100 million operations cost some 25,000 counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: BTreeMap<u64, u32>,
    total: u64,
}

impl Buckets {
    /// Width of the finest bucket, a power of two.
    pub const FINEST: u64 = 4096;

    /// Counts a document whose newest operation is `seq_no`.
    pub fn add(&mut self, seq_no: SeqNo) {
        *self.counts.entry(seq_no.get() / Self::FINEST).or_default() += 1;
        self.total += 1;
    }

    /// Takes back a document that was counted at `seq_no`.
    ///
    /// # Panics
    /// In debug builds, if no document was counted there.
    pub fn remove(&mut self, seq_no: SeqNo) {
        let bucket = seq_no.get() / Self::FINEST;
        let Some(count) = self.counts.get_mut(&bucket) else {
            debug_assert!(false, "no document was counted at {seq_no}");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&bucket);
        }
        self.total -= 1;
    }

    /// All documents counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The narrowest width, a power of two from [`Buckets::FINEST`] up, that cuts `0..=highest` into at most `most`
    /// buckets.
    pub fn width_for(highest: SeqNo, most: u64) -> u64 {
        let mut width = Self::FINEST;
        while highest.get() / width >= most {
            width *= 2;
        }
        width
    }

    /// The buckets, as their first sequence numbers, in which the leader has fewer documents than are counted here.
    ///
    /// `live` are the leader's counts by first sequence number, `width` wide each; `width` must be a multiple of
    /// [`Buckets::FINEST`].
    pub fn short_of(&self, live: &BTreeMap<u64, u64>, width: u64) -> Vec<SeqNo> {
        let mut known: BTreeMap<u64, u64> = BTreeMap::new();
        for (bucket, count) in &self.counts {
            *known.entry(bucket * Self::FINEST / width * width).or_default() += u64::from(*count);
        }
        known
            .into_iter()
            .filter(|(start, count)| live.get(start).copied().unwrap_or(0) < *count)
            .map(|(start, _)| SeqNo::new(start))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn histogram(live: &BTreeSet<u64>, width: u64) -> BTreeMap<u64, u64> {
        let mut counts = BTreeMap::new();
        for seq in live {
            *counts.entry(seq / width * width).or_default() += 1;
        }
        counts
    }

    proptest! {
        /// Whatever was deleted lies in a bucket that is short, and a bucket without deletes never is.
        #[test]
        fn i4_every_delete_lies_in_a_short_bucket(
            known in prop::collection::btree_set(0u64..60_000, 0..300),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            shift in 0u32..4,
        ) {
            let width = Buckets::FINEST << shift;
            let mut buckets = Buckets::default();
            for seq in &known {
                buckets.add(SeqNo::new(*seq));
            }
            let all: Vec<u64> = known.iter().copied().collect();
            let gone: BTreeSet<u64> =
                if all.is_empty() { BTreeSet::new() } else { gone.iter().map(|i| *i.get(&all)).collect() };
            let live: BTreeSet<u64> = known.difference(&gone).copied().collect();

            let verdict = Census { live: live.len() as u64 }.judge(buckets.total());
            if gone.is_empty() {
                prop_assert_eq!(verdict, CensusVerdict::Equal);
            } else {
                prop_assert_eq!(verdict, CensusVerdict::Gone(gone.len() as u64));
            }
            let short: BTreeSet<u64> =
                buckets.short_of(&histogram(&live, width), width).iter().map(|s| s.get()).collect();
            let expected: BTreeSet<u64> = gone.iter().map(|s| s / width * width).collect();
            prop_assert_eq!(short, expected);

            for seq in &gone {
                buckets.remove(SeqNo::new(*seq));
            }
            prop_assert_eq!(buckets.total(), live.len() as u64);
            prop_assert!(buckets.short_of(&histogram(&live, width), width).is_empty());
        }

        #[test]
        fn width_bounds_the_number_of_buckets(highest in 0u64..1 << 40, most in 1u64..10_000) {
            let width = Buckets::width_for(SeqNo::new(highest), most);
            prop_assert!(highest / width < most);
            prop_assert!(width == Buckets::FINEST || highest / (width / 2) >= most);
        }
    }
}
