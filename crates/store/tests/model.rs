//! The map of a shard against a model of two `BTreeMap`s, under any sequence of calls, reopenings included.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use slipstream_model::{Buckets, Checkpoint, DocRef, IndexName, SeqNo, SeqRange, ShardId};
use slipstream_store::{ShardProgress, ShardStore, Store, Unmapped};

#[derive(Debug, Clone)]
enum Call {
    Remember {
        shard: usize,
        docs: Vec<(u64, DocRef)>,
    },
    Adopt {
        shard: usize,
        docs: Vec<(u64, DocRef)>,
        through: i64,
    },
    Forget {
        shard: usize,
        docs: Vec<(u64, String)>,
    },
    Replay {
        shard: usize,
    },
    LiveIn {
        shard: usize,
        after: i64,
        through: i64,
        limit: usize,
    },
    Clear {
        shard: usize,
    },
    Reopen,
}

/// Two shards of one index, and one of an index whose name begins like the other's.
const SHARDS: [(&str, u32); 3] = [("i", 0), ("i", 1), ("i1", 0)];

/// What a shard should know: sequence number and id → document. One id is never at two sequence numbers.
type Model = BTreeMap<(u64, String), DocRef>;

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["[a-e]", "[a-e]", "", "[a-e]\u{0}", "é"]
}

fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..12, 1 => 4090u64..4100, 1 => Just(i64::MAX as u64)]
}

fn call() -> impl Strategy<Value = Call> {
    let shard = || 0..SHARDS.len();
    let routing = || prop::option::of("[x-z]{0,1}");
    let doc = || (seq(), id(), routing()).prop_map(|(seq, id, routing)| (seq, DocRef { id, routing }));
    let docs = || prop::collection::vec(doc(), 0..6);
    prop_oneof![
        6 => (shard(), docs()).prop_map(|(shard, docs)| Call::Remember { shard, docs }),
        3 => (shard(), docs(), 0i64..9).prop_map(|(shard, docs, through)| Call::Adopt { shard, docs, through }),
        4 => (shard(), prop::collection::vec((seq(), id()), 0..6))
            .prop_map(|(shard, docs)| Call::Forget { shard, docs }),
        2 => shard().prop_map(|shard| Call::Replay { shard }),
        3 => (shard(), -1i64..14, -1i64..5000, 0usize..8)
            .prop_map(|(shard, after, through, limit)| Call::LiveIn { shard, after, through, limit }),
        1 => shard().prop_map(|shard| Call::Clear { shard }),
        1 => Just(Call::Reopen),
    ]
}

fn remember(model: &mut Model, seq: u64, doc: &DocRef) -> Option<SeqNo> {
    let before = model.keys().find(|(_, id)| *id == doc.id).cloned();
    before.as_ref().map(|key| model.remove(key));
    model.insert((seq, doc.id.clone()), doc.clone());
    before.map(|(seq, _)| SeqNo::new(seq))
}

fn reached(through: i64) -> ShardProgress {
    ShardProgress {
        unmapped: Some(Unmapped {
            after: Checkpoint::NONE,
            through: Checkpoint::new(through),
        }),
        ..ShardProgress::default()
    }
}

fn open(folder: &tempfile::TempDir) -> Vec<ShardStore> {
    let store = Store::open(folder.path()).unwrap();
    SHARDS
        .map(|(index, shard)| store.shard(&IndexName::from(index), ShardId(shard)))
        .into()
}

fn check(shard: &ShardStore, model: &Model) -> Result<(), TestCaseError> {
    let all = SeqRange::new(Checkpoint::NONE, Checkpoint::new(i64::MAX));
    let expected: Vec<_> = model
        .iter()
        .map(|((seq, _), doc)| (SeqNo::new(*seq), doc.clone()))
        .collect();
    prop_assert_eq!(shard.live_in(all, usize::MAX).unwrap(), expected);
    let mut buckets = Buckets::default();
    for (seq, _) in model.keys() {
        buckets.add(SeqNo::new(*seq));
    }
    prop_assert_eq!(shard.count_buckets().unwrap(), buckets);
    for id in ["a", "b", "c", "d", "e", "", "a\u{0}", "é"] {
        let known = model
            .keys()
            .find(|(_, known)| known == id)
            .map(|(seq, _)| SeqNo::new(*seq));
        prop_assert_eq!(shard.seq_of(id).unwrap(), known);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Both directions of the map agree with the model after every call, in the shard called and in its neighbours (I4),
    /// and reopening takes nothing back that was returned (I2).
    #[test]
    fn i2_i4_the_map_is_what_its_calls_say_whatever_is_repeated(calls in prop::collection::vec(call(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let mut shards = open(&folder);
        let mut models = vec![Model::new(); SHARDS.len()];
        for call in calls {
            match call {
                Call::Remember { shard, docs } => {
                    let model = &mut models[shard];
                    let expected: Vec<_> = docs.iter().map(|(seq, doc)| remember(model, *seq, doc)).collect();
                    let docs: Vec<_> = docs.iter().map(|(seq, doc)| (SeqNo::new(*seq), doc)).collect();
                    prop_assert_eq!(shards[shard].remember(&docs).unwrap(), expected);
                }
                Call::Adopt { shard, docs, through } => {
                    let progress = reached(through);
                    let mut expected = 0;
                    for (seq, doc) in &docs {
                        if !models[shard].keys().any(|(_, id)| *id == doc.id) {
                            remember(&mut models[shard], *seq, doc);
                            expected += 1;
                        }
                    }
                    let docs: Vec<_> = docs.iter().map(|(seq, doc)| (SeqNo::new(*seq), doc)).collect();
                    prop_assert_eq!(shards[shard].adopt(&docs, &progress).unwrap(), expected);
                    prop_assert_eq!(shards[shard].progress().unwrap(), progress);
                }
                Call::Forget { shard, docs } => {
                    let mut expected = docs.clone();
                    expected.retain(|known| models[shard].remove(known).is_some());
                    let expected: Vec<_> = expected.into_iter().map(|(seq, _)| SeqNo::new(seq)).collect();
                    let docs: Vec<_> = docs.into_iter().map(|(seq, id)| (SeqNo::new(seq), id)).collect();
                    prop_assert_eq!(shards[shard].forget(&docs).unwrap(), expected);
                }
                Call::Replay { shard } => {
                    let docs: Vec<_> = models[shard].iter().map(|((seq, _), doc)| (SeqNo::new(*seq), doc)).collect();
                    let expected: Vec<_> = docs.iter().map(|(seq, _)| Some(*seq)).collect();
                    prop_assert_eq!(shards[shard].remember(&docs).unwrap(), expected);
                }
                Call::LiveIn { shard, after, through, limit } => {
                    let mut expected: Vec<_> = models[shard]
                        .iter()
                        .map(|((seq, _), doc)| (SeqNo::new(*seq), doc.clone()))
                        .filter(|(seq, _)| (seq.get() as i64) > after && (seq.get() as i64) <= through)
                        .collect();
                    let last = limit.checked_sub(1).and_then(|at| expected.get(at)).map(|(seq, _)| *seq);
                    let mut at = 0;
                    expected.retain(|(seq, _)| {
                        at += 1;
                        at <= limit || Some(*seq) == last
                    });
                    let range = SeqRange::new(Checkpoint::new(after), Checkpoint::new(through));
                    prop_assert_eq!(shards[shard].live_in(range, limit).unwrap(), expected);
                }
                Call::Clear { shard } => {
                    shards[shard].clear().unwrap();
                    models[shard].clear();
                }
                Call::Reopen => {
                    drop(std::mem::take(&mut shards));
                    shards = open(&folder);
                }
            }
            for (shard, model) in shards.iter().zip(&models) {
                check(shard, model)?;
            }
        }
    }
}
