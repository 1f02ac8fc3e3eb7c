//! Between messages and domain types: what a peer sent is checked here, once, and trusted afterwards.

use std::collections::BTreeMap;

use slipstream_model::{Change, DocRef, Op, PrimaryTerm, SeqNo, Version};
use thiserror::Error;

use crate::v1;

/// A message that no agent of a known release sends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// The engines number operations with 63 bits.
    #[error(
        "sequence number {0} is beyond what an engine can give: the other agent is not working correctly"
    )]
    SeqNoOutOfRange(u64),
    /// An operation of a kind that this release does not know.
    #[error(
        "operation {seq_no} is of the unknown kind {kind}: upgrade this agent to the release of the other one"
    )]
    UnknownKind {
        /// The operation.
        seq_no: u64,
        /// Its kind as it came.
        kind: i32,
    },
    /// An operation on a document that is not named.
    #[error("operation {0} names no document: the other agent is not working correctly")]
    NoDocument(u64),
    /// A list of sequence numbers that does not ascend.
    #[error("the sequence numbers of an answer do not ascend: the other agent is not working correctly")]
    NotAscending,
    /// A histogram with more or fewer counts than stretches.
    #[error(
        "a histogram has {starts} stretches and {counts} counts: the other agent is not working correctly"
    )]
    UnevenHistogram {
        /// How many stretches there are.
        starts: usize,
        /// How many counts.
        counts: usize,
    },
}

impl From<&Op> for v1::Op {
    fn from(op: &Op) -> Self {
        let (kind, source) = match &op.change {
            Change::Index { source } => (v1::op::Kind::Index, source.clone()),
            Change::Delete => (v1::op::Kind::Delete, bytes::Bytes::new()),
            Change::Noop => (v1::op::Kind::Noop, bytes::Bytes::new()),
        };
        v1::Op {
            seq_no: op.seq_no.get(),
            primary_term: op.term.0,
            version: op.version.0,
            kind: kind.into(),
            id: op.doc.id.clone(),
            routing: op.doc.routing.clone(),
            source,
        }
    }
}

impl TryFrom<v1::Op> for Op {
    type Error = ConvertError;

    fn try_from(op: v1::Op) -> Result<Self, ConvertError> {
        let kind = v1::op::Kind::try_from(op.kind).map_err(|_| ConvertError::UnknownKind {
            seq_no: op.seq_no,
            kind: op.kind,
        })?;
        let change = match kind {
            v1::op::Kind::Index => Change::Index { source: op.source },
            v1::op::Kind::Delete => Change::Delete,
            v1::op::Kind::Noop => Change::Noop,
        };
        if op.id.is_empty() && change != Change::Noop {
            return Err(ConvertError::NoDocument(op.seq_no));
        }
        Ok(Op {
            seq_no: seq_no(op.seq_no)?,
            term: PrimaryTerm(op.primary_term),
            version: Version(op.version),
            doc: DocRef {
                id: op.id,
                routing: op.routing,
            },
            change,
        })
    }
}

impl From<&DocRef> for v1::probe::Doc {
    fn from(doc: &DocRef) -> Self {
        v1::probe::Doc {
            id: doc.id.clone(),
            routing: doc.routing.clone(),
        }
    }
}

impl From<v1::probe::Doc> for DocRef {
    fn from(doc: v1::probe::Doc) -> Self {
        DocRef {
            id: doc.id,
            routing: doc.routing,
        }
    }
}

/// How many documents are alive in each stretch, by the stretch's first sequence number.
impl From<&BTreeMap<u64, u64>> for v1::evidence::Histogram {
    fn from(counts: &BTreeMap<u64, u64>) -> Self {
        v1::evidence::Histogram {
            starts: counts.keys().copied().collect(),
            counts: counts.values().copied().collect(),
        }
    }
}

impl TryFrom<v1::evidence::Histogram> for BTreeMap<u64, u64> {
    type Error = ConvertError;

    fn try_from(histogram: v1::evidence::Histogram) -> Result<Self, ConvertError> {
        let (starts, counts) = (histogram.starts, histogram.counts);
        if starts.len() != counts.len() {
            return Err(ConvertError::UnevenHistogram {
                starts: starts.len(),
                counts: counts.len(),
            });
        }
        Ok(starts.into_iter().zip(counts).collect())
    }
}

/// Ascending sequence numbers as [`v1::evidence::Living`] carries them: the first as it is, then differences.
pub fn deltas(seq_nos: &[SeqNo]) -> Vec<u64> {
    let mut previous = 0;
    seq_nos
        .iter()
        .map(|seq_no| seq_no.get() - std::mem::replace(&mut previous, seq_no.get()))
        .collect()
}

/// The sequence numbers that [`deltas`] made these differences from.
///
/// # Errors
/// Where they do not ascend strictly or leave the engines' range.
pub fn seq_nos(deltas: &[u64]) -> Result<Vec<SeqNo>, ConvertError> {
    let mut last: Option<u64> = None;
    deltas
        .iter()
        .map(|delta| {
            let value = match last {
                None => *delta,
                Some(_) if *delta == 0 => return Err(ConvertError::NotAscending),
                Some(last) => last.checked_add(*delta).ok_or(ConvertError::NotAscending)?,
            };
            last = Some(value);
            seq_no(value)
        })
        .collect()
}

fn seq_no(value: u64) -> Result<SeqNo, ConvertError> {
    if value > i64::MAX as u64 {
        Err(ConvertError::SeqNoOutOfRange(value))
    } else {
        Ok(SeqNo::new(value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sequence_numbers_survive_as_differences(set in prop::collection::btree_set(0..=i64::MAX as u64, 0..50)) {
            let all: Vec<SeqNo> = set.iter().map(|s| SeqNo::new(*s)).collect();
            prop_assert_eq!(seq_nos(&deltas(&all)).unwrap(), all);
        }

        #[test]
        fn any_differences_give_ascending_numbers_or_an_error(raw in prop::collection::vec(any::<u64>(), 0..8)) {
            if let Ok(all) = seq_nos(&raw) {
                let set: BTreeSet<SeqNo> = all.iter().copied().collect();
                prop_assert_eq!(set.into_iter().collect::<Vec<_>>(), all);
            }
        }
    }

    #[test]
    fn a_histogram_survives_and_an_uneven_one_is_refused() {
        let counts = BTreeMap::from([(0, 3), (8192, 1)]);
        let message = v1::evidence::Histogram::from(&counts);
        assert_eq!(BTreeMap::try_from(message.clone()), Ok(counts));
        let uneven = v1::evidence::Histogram {
            counts: vec![3],
            ..message
        };
        assert_eq!(
            BTreeMap::try_from(uneven),
            Err(ConvertError::UnevenHistogram { starts: 2, counts: 1 })
        );
    }

    #[test]
    fn operations_that_no_release_sends_are_refused() {
        let good = v1::Op {
            id: "1".to_owned(),
            seq_no: 7,
            ..v1::Op::default()
        };
        assert!(Op::try_from(good.clone()).is_ok());
        let unknown = v1::Op {
            kind: 99,
            ..good.clone()
        };
        assert_eq!(
            Op::try_from(unknown),
            Err(ConvertError::UnknownKind { seq_no: 7, kind: 99 })
        );
        let nameless = v1::Op {
            id: String::new(),
            ..good.clone()
        };
        assert_eq!(Op::try_from(nameless), Err(ConvertError::NoDocument(7)));
        let far = v1::Op {
            seq_no: u64::MAX,
            ..good
        };
        assert_eq!(Op::try_from(far), Err(ConvertError::SeqNoOutOfRange(u64::MAX)));
    }
}
