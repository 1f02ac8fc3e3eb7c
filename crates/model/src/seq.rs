//! Sequence numbers, versions and the three kinds of checkpoint, which the compiler keeps apart.
//!
//! A *global* checkpoint says what the leader has acknowledged (I1); a *durable* checkpoint says what is applied and
//! synced on the target (I2). Both are [`Checkpoint`]s, "everything up to here", yet one never stands for the other:
//! a durable checkpoint is made in one place only, by the follower after its target confirmed the operations.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number that a primary shard gave to one operation: 0, 1, 2, … without gaps within a shard's history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeqNo(u64);

impl SeqNo {
    /// The first operation of a shard.
    pub const ZERO: SeqNo = SeqNo(0);

    /// A sequence number from its value.
    pub const fn new(value: u64) -> Self {
        SeqNo(value)
    }

    /// The value as the engines write it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The operation after this one.
    #[must_use]
    pub const fn next(self) -> SeqNo {
        SeqNo(self.0 + 1)
    }

    /// A checkpoint that covers this operation and all before it.
    pub const fn as_checkpoint(self) -> Checkpoint {
        Checkpoint(self.0 as i64)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// "Every operation up to and including this one", or none at all: -1, as the engines write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(i64);

impl Checkpoint {
    /// No operation yet.
    pub const NONE: Checkpoint = Checkpoint(-1);

    /// A checkpoint from the engines' number. Below -1 (the engines use -2 for "unassigned") counts as none.
    pub const fn new(value: i64) -> Self {
        if value < 0 {
            Checkpoint::NONE
        } else {
            Checkpoint(value)
        }
    }

    /// The value as the engines write it, -1 for none.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The first operation that this checkpoint does not cover.
    #[must_use]
    pub const fn next(self) -> SeqNo {
        SeqNo((self.0 + 1) as u64)
    }

    /// Whether the checkpoint covers an operation.
    pub const fn covers(self, seq_no: SeqNo) -> bool {
        self.0 >= 0 && seq_no.0 <= self.0 as u64
    }

    /// The last covered operation, if there is one.
    pub const fn last(self) -> Option<SeqNo> {
        if self.0 < 0 {
            None
        } else {
            Some(SeqNo(self.0 as u64))
        }
    }

    /// How many operations lie above `self` up to `other`; 0 if `other` is behind.
    pub const fn distance_to(self, other: Checkpoint) -> u64 {
        if other.0 > self.0 {
            other.0.abs_diff(self.0)
        } else {
            0
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "≤{}", self.0)
    }
}

/// What a shard has acknowledged: every operation up to it is on all in-sync copies and survives any failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalCheckpoint(pub Checkpoint);

impl GlobalCheckpoint {
    /// A global checkpoint from the engines' number.
    pub const fn new(value: i64) -> Self {
        GlobalCheckpoint(Checkpoint::new(value))
    }
}

impl fmt::Display for GlobalCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the target holds durably: every leader operation up to it is applied and synced there (I2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurableCheckpoint(Checkpoint);

impl DurableCheckpoint {
    /// Nothing is durable yet.
    pub const NONE: DurableCheckpoint = DurableCheckpoint(Checkpoint::NONE);

    /// Claims that everything up to `checkpoint` is applied and durable on the target. Only the applier, after the
    /// target acknowledged with `translog.durability: request`, and the store that remembers such a claim may say so.
    pub const fn claim(checkpoint: Checkpoint) -> Self {
        DurableCheckpoint(checkpoint)
    }

    /// The checkpoint, as a place to go on from.
    pub const fn get(self) -> Checkpoint {
        self.0
    }
}

impl fmt::Display for DurableCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a shard's primary has changed; sequence numbers above the global checkpoint may be reused by the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrimaryTerm(pub u64);

impl fmt::Display for PrimaryTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A document's `_version`. It usually counts up from 1, but a delete followed by a create may start it again, and an
/// external version can be anything from 0 to `i64::MAX`: order comes from sequence numbers, never from versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The operations above one checkpoint up to another: `(after, through]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// The range begins right above this.
    pub after: Checkpoint,
    /// The range ends with this.
    pub through: Checkpoint,
}

impl SeqRange {
    /// The range `(after, through]`; empty where `through` is not above `after`.
    pub const fn new(after: Checkpoint, through: Checkpoint) -> Self {
        SeqRange { after, through }
    }

    /// How many sequence numbers it holds.
    pub const fn len(self) -> u64 {
        self.after.distance_to(self.through)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Cuts at most `span` sequence numbers off the front; the rest is what remains.
    pub fn split_front(self, span: u64) -> (SeqRange, SeqRange) {
        let cut = Checkpoint::new(
            self.after
                .get()
                .saturating_add(span.max(1) as i64)
                .min(self.through.get()),
        );
        (SeqRange::new(self.after, cut), SeqRange::new(cut, self.through))
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.after, self.through)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn none_covers_nothing_and_is_followed_by_zero() {
        assert!(!Checkpoint::NONE.covers(SeqNo::ZERO));
        assert_eq!(Checkpoint::NONE.next(), SeqNo::ZERO);
        assert_eq!(Checkpoint::new(-2), Checkpoint::NONE);
        assert_eq!(Checkpoint::NONE.last(), None);
    }

    proptest! {
        #[test]
        fn a_checkpoint_covers_exactly_what_is_at_or_below_it(c in -1i64..1000, s in 0u64..1000) {
            prop_assert_eq!(Checkpoint::new(c).covers(SeqNo::new(s)), s as i64 <= c);
        }

        #[test]
        fn splitting_keeps_every_sequence_number_once(a in -1i64..1000, len in 0i64..1000, span in 1u64..300) {
            let mut rest = SeqRange::new(Checkpoint::new(a), Checkpoint::new(a + len));
            let mut at = rest.after;
            while !rest.is_empty() {
                let (front, back) = rest.split_front(span);
                prop_assert_eq!(front.after, at);
                prop_assert!(!front.is_empty() && front.len() <= span);
                at = front.through;
                rest = back;
            }
            prop_assert_eq!(at.get(), a + len);
        }
    }
}
