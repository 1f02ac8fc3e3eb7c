//! The follower's half of the search for deletes: it knows which documents it holds, the leader which are alive.
//!
//! A census below what is known starts it. Buckets of the sequence space in which the leader has fewer documents are
//! listed; what is known there and not alive is suspected; a realtime lookup on the leader tells which suspects are
//! gone. A suspect that exists has a newer operation, which comes by itself. Fewer suspects than the census said are
//! missing means that something was not read: then nothing is deleted and the shard is looked at again.
//!
//! A step-by-step machine without IO of its own: [`DeleteSearch::step`] takes evidence and says what to ask next.

use slipstream_model::{Buckets, Checkpoint, DocRef, SeqNo, SeqRange};
use slipstream_store::{ShardStore, StoreError};
use slipstream_wire::v1;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask this.
    Ask(v1::Probe),
    /// These are gone; settle, and delete them once the leader has sealed.
    Settle(Vec<(SeqNo, DocRef)>),
    /// The evidence contradicts the census.
    Contradiction(String),
}

/// A search under way.
#[derive(Debug)]
pub(crate) struct DeleteSearch {
    missing: u64,
    width: u64,
    /// Still to be listed, ascending.
    ranges: Vec<SeqRange>,
    suspects: Vec<(SeqNo, DocRef)>,
    /// How many of the suspects have been looked up.
    confirmed: usize,
    asked: usize,
    gone: Vec<(SeqNo, DocRef)>,
}

/// Buckets asked for at once; the engines allow 65,535, older ones 10,000.
const BUCKETS: u64 = 8_192;
/// Documents in one lookup.
const LOOKUP: usize = 500;
/// Known documents read from the store at once.
const LISTING: usize = 50_000;

impl DeleteSearch {
    /// Begins the search for `missing` documents among those with sequence numbers up to `highest`.
    pub(crate) fn begin(missing: u64, highest: Checkpoint) -> (Self, v1::Probe) {
        let width = Buckets::width_for(highest.last().unwrap_or(SeqNo::ZERO), BUCKETS);
        let search = DeleteSearch {
            missing,
            width,
            ranges: Vec::new(),
            suspects: Vec::new(),
            confirmed: 0,
            asked: 0,
            gone: Vec::new(),
        };
        (
            search,
            probe(v1::probe::Question::Histogram(v1::probe::Histogram {
                width,
                through: highest.get(),
            })),
        )
    }

    /// Takes the evidence that was asked for. Reads the store, so it belongs on a blocking thread.
    pub(crate) fn step(
        &mut self,
        evidence: v1::evidence::Answer,
        buckets: &Buckets,
        store: &ShardStore,
    ) -> Result<Step, StoreError> {
        match evidence {
            v1::evidence::Answer::Histogram(histogram) => {
                let live = histogram.starts.into_iter().zip(histogram.counts).collect();
                self.ranges = ranges(&buckets.short_of(&live, self.width), self.width);
                self.ranges.reverse();
            }
            v1::evidence::Answer::Living(living) => self.compare(&living, store)?,
            v1::evidence::Answer::Confirm(confirm) => {
                let asked = self.suspects[self.confirmed..].iter().take(self.asked);
                self.gone.extend(
                    asked
                        .zip(confirm.present)
                        .filter(|(_, present)| !present)
                        .map(|(s, _)| s.clone()),
                );
                self.confirmed += self.asked;
            }
        }
        Ok(self.next())
    }

    fn next(&mut self) -> Step {
        if let Some(range) = self.ranges.last() {
            let living = v1::probe::Living {
                after: range.after.get(),
                through: range.through.get(),
            };
            return Step::Ask(probe(v1::probe::Question::Living(living)));
        }
        if (self.suspects.len() as u64) < self.missing {
            return Step::Contradiction(format!(
                "the leader has {} documents fewer than known, but only {} of those known are not alive there",
                self.missing,
                self.suspects.len()
            ));
        }
        let suspects = &self.suspects[self.confirmed..];
        if suspects.is_empty() {
            return Step::Settle(std::mem::take(&mut self.gone));
        }
        let docs: Vec<_> = suspects
            .iter()
            .take(LOOKUP)
            .map(|(_, doc)| v1::probe::Doc {
                id: doc.id.clone(),
                routing: doc.routing.clone(),
            })
            .collect();
        self.asked = docs.len();
        Step::Ask(probe(v1::probe::Question::Confirm(v1::probe::Confirm { docs })))
    }

    /// Compares what is alive with what is known, for as much of the current range as was told.
    fn compare(&mut self, living: &v1::evidence::Living, store: &ShardStore) -> Result<(), StoreError> {
        let Some(range) = self.ranges.last_mut() else {
            return Ok(());
        };
        let mut seq_no = 0;
        let mut alive = living.deltas.iter().map(|delta| {
            seq_no += delta;
            SeqNo::new(seq_no)
        });
        let mut next_alive = alive.next();
        let mut told = SeqRange::new(
            range.after,
            Checkpoint::new(living.complete_through).min(range.through),
        );
        range.after = told.through;
        if range.is_empty() {
            self.ranges.pop();
        }
        while !told.is_empty() {
            let known = store.live_in(told, LISTING)?;
            let full = known.len() >= LISTING;
            let end = known
                .last()
                .filter(|_| full)
                .map_or(told.through, |(seq, _)| seq.as_checkpoint());
            for same in known.chunk_by(|(left, _), (right, _)| left == right) {
                let seq = same[0].0;
                while next_alive.is_some_and(|alive| alive < seq) {
                    next_alive = alive.next();
                }
                // After a history was rewritten a sequence number may stand for documents of both: at most one of them
                // is what is alive under it, and the lookup tells which.
                if next_alive != Some(seq) || same.len() > 1 {
                    self.suspects.extend_from_slice(same);
                }
            }
            told.after = end;
        }
        Ok(())
    }
}

/// Merges neighbouring buckets into ranges, ascending.
fn ranges(starts: &[SeqNo], width: u64) -> Vec<SeqRange> {
    let mut ranges: Vec<SeqRange> = Vec::new();
    for start in starts {
        let after = Checkpoint::new(start.get() as i64 - 1);
        let through = Checkpoint::new((start.get() + width - 1) as i64);
        match ranges.last_mut() {
            Some(last) if last.through == after => last.through = through,
            _ => ranges.push(SeqRange::new(after, through)),
        }
    }
    ranges
}

fn probe(question: v1::probe::Question) -> v1::Probe {
    v1::Probe {
        question: Some(question),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use slipstream_model::ShardId;
    use slipstream_store::Store;

    use super::*;

    /// A leader that answers from a set of live sequence numbers; document ids are their sequence numbers in text.
    fn answer(
        question: v1::probe::Question,
        live: &BTreeSet<u64>,
        back: &BTreeSet<u64>,
    ) -> v1::evidence::Answer {
        match question {
            v1::probe::Question::Histogram(h) => {
                let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
                live.iter()
                    .filter(|s| **s as i64 <= h.through)
                    .for_each(|s| *counts.entry(s / h.width * h.width).or_default() += 1);
                let (starts, counts) = counts.into_iter().unzip();
                v1::evidence::Answer::Histogram(v1::evidence::Histogram { starts, counts })
            }
            v1::probe::Question::Living(l) => {
                let all: Vec<u64> = live
                    .iter()
                    .copied()
                    .filter(|s| *s as i64 > l.after && *s as i64 <= l.through)
                    .collect();
                let told: Vec<u64> = all.iter().copied().take(7).collect();
                let complete_through = if told.len() == all.len() {
                    l.through
                } else {
                    told[told.len() - 1] as i64
                };
                let mut last = 0;
                let deltas = told
                    .iter()
                    .map(|s| s - std::mem::replace(&mut last, *s))
                    .collect();
                v1::evidence::Answer::Living(v1::evidence::Living {
                    deltas,
                    complete_through,
                })
            }
            v1::probe::Question::Confirm(c) => {
                let present = c
                    .docs
                    .iter()
                    .map(|doc| back.contains(&doc.id.parse().unwrap()))
                    .collect();
                v1::evidence::Answer::Confirm(v1::evidence::Confirm { present })
            }
        }
    }

    fn run(known: &BTreeSet<u64>, live: &BTreeSet<u64>, back: &BTreeSet<u64>, missing: u64) -> Step {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let shard = store.shard(&"i".into(), ShardId(0));
        let docs: Vec<(SeqNo, DocRef)> = known
            .iter()
            .map(|s| {
                (
                    SeqNo::new(*s),
                    DocRef {
                        id: s.to_string(),
                        routing: None,
                    },
                )
            })
            .collect();
        shard
            .remember(&docs.iter().map(|(s, d)| (*s, d)).collect::<Vec<_>>())
            .unwrap();
        let buckets = shard.count_buckets().unwrap();
        let highest = Checkpoint::new(known.iter().chain(live).max().map_or(-1, |s| *s as i64));
        let (mut search, mut ask) = DeleteSearch::begin(missing, highest);
        loop {
            let evidence = answer(ask.question.unwrap(), live, back);
            match search.step(evidence, &buckets, &shard).unwrap() {
                Step::Ask(probe) => ask = probe,
                end => return end,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn exactly_the_gone_documents_are_found(
            known in prop::collection::btree_set(0u64..20_000, 1..80),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
            recreated in prop::collection::vec(any::<bool>(), 12),
        ) {
            let all: Vec<u64> = known.iter().copied().collect();
            let gone: BTreeSet<u64> = gone.iter().map(|i| *i.get(&all)).collect();
            let live: BTreeSet<u64> = known.difference(&gone).copied().collect();
            let back: BTreeSet<u64> = gone.iter().zip(&recreated).filter(|(_, r)| **r).map(|(s, _)| *s).collect();
            let Step::Settle(found) = run(&known, &live, &back, gone.len() as u64) else { panic!("no end") };
            let found: BTreeSet<u64> = found.iter().map(|(s, _)| s.get()).collect();
            prop_assert_eq!(found, gone.difference(&back).copied().collect());
        }
    }

    #[test]
    fn fewer_suspects_than_missing_is_a_contradiction() {
        let known = BTreeSet::from([1, 2, 3]);
        let live = BTreeSet::from([1, 3]);
        assert!(matches!(
            run(&known, &live, &BTreeSet::new(), 2),
            Step::Contradiction(_)
        ));
    }
}
