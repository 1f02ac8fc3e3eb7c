//! What is put into the store comes back, also after reopening, and never from another shard or index.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use serde_json::json;
use slipstream_model::{
    Checkpoint, DocRef, DurableCheckpoint, HistoryUuid, IndexName, IndexUuid, Phase, PrimaryTerm, Reason,
    SeqNo, SeqRange, ShardId,
};
use slipstream_store::{
    Definition, LeaderAlias, Remember, Run, Scan, ShardProgress, ShardStore, Store, StoreError, Trail,
    Unmapped,
};

fn doc(id: &str, routing: Option<&str>) -> DocRef {
    DocRef {
        id: id.to_owned(),
        routing: routing.map(str::to_owned),
    }
}

fn definition(name: &str) -> Definition {
    Definition {
        follower_index: IndexName::from(name),
        leader_alias: "eu".to_owned(),
        leader_index: IndexName::from("logs"),
        leader_index_uuid: Some(IndexUuid::from("kq2")),
        leader_cluster_uuid: None,
        follower_index_uuid: None,
        restoring: None,
        restored_created_at: None,
        begun_with: None,
        bootstrap: None,
        phase: Phase::Paused,
        resume_phase: Phase::Bootstrapping,
        reason: Reason::new("the leader index was closed"),
        overrides: [("index.number_of_replicas".to_owned(), json!("0"))].into(),
        shards: 3,
        started_at_millis: 1_790_000_000_000,
        until_opened: true,
        delete_follower: true,
    }
}

fn progress(checkpoint: i64) -> ShardProgress {
    ShardProgress {
        checkpoint: DurableCheckpoint::claim(Checkpoint::new(checkpoint)),
        history: Some(HistoryUuid::from("h-1")),
        scan: Some(Scan {
            scanned: Checkpoint::new(checkpoint + 40),
            term: PrimaryTerm(3),
        }),
        reconciling: true,
        bootstrapped: true,
        unmapped: Some(Unmapped {
            after: Checkpoint::NONE,
            through: Checkpoint::new(9),
        }),
        trail: Some(Trail {
            run: Some(Run::new("one")),
            above: Checkpoint::new(11),
        }),
    }
}

fn everything() -> SeqRange {
    SeqRange::new(Checkpoint::NONE, Checkpoint::new(i64::MAX))
}

fn ids(shard: &ShardStore) -> Vec<String> {
    shard
        .live_in(everything(), usize::MAX)
        .unwrap()
        .into_iter()
        .map(|(_, doc)| doc.id)
        .collect()
}

fn remember_newer(shard: &ShardStore, docs: &[(SeqNo, &DocRef)]) -> Vec<Option<SeqNo>> {
    let part = Remember {
        shard,
        docs,
        newer: true,
    };
    ShardStore::remember_all(&[part]).unwrap().remove(0)
}

fn remember(shard: &ShardStore, docs: &[(u64, &str)]) -> Vec<Option<SeqNo>> {
    let docs: Vec<_> = docs
        .iter()
        .map(|(seq, id)| (SeqNo::new(*seq), doc(id, None)))
        .collect();
    shard
        .remember(&docs.iter().map(|(seq, doc)| (*seq, doc)).collect::<Vec<_>>())
        .unwrap()
}

#[test]
fn the_highest_sequence_number_is_that_of_the_shard_and_of_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let shard = |index: &str, number| store.shard(&IndexName::from(index), ShardId(number));
    let (before, one, after) = (shard("i", 0), shard("i", 1), shard("j", 0));
    assert_eq!(one.highest().unwrap(), None);
    remember(&before, &[(50, "x")]);
    remember(&after, &[(60, "x")]);
    assert_eq!(one.highest().unwrap(), None);
    remember(&one, &[(3, "a"), (900, "\u{10FFFF}"), (7, "b")]);
    assert_eq!(one.highest().unwrap(), Some(SeqNo::new(900)));
    one.forget(&[(SeqNo::new(900), "\u{10FFFF}".to_owned())]).unwrap();
    assert_eq!(one.highest().unwrap(), Some(SeqNo::new(7)));
    assert_eq!(before.highest().unwrap(), Some(SeqNo::new(50)));
}

#[test]
fn everything_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let leader = LeaderAlias {
        alias: "eu".to_owned(),
        agents: vec!["https://10.0.0.7:9400".to_owned()],
    };
    let routed = doc("ünï/cödé 1", Some(""));
    let id = {
        let store = Store::open(folder.path()).unwrap();
        store.put_definition(&definition("b")).unwrap();
        store.put_definition(&definition("a")).unwrap();
        store.put_leader(&leader).unwrap();
        let shard = store.shard(&IndexName::from("a"), ShardId(1));
        assert_eq!(shard.progress().unwrap(), ShardProgress::default());
        shard.save_progress(&progress(17)).unwrap();
        shard
            .remember(&[(SeqNo::new(300), &routed), (SeqNo::new(2), &doc("x", Some("r")))])
            .unwrap();
        store.follower_id().to_owned()
    };
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.follower_id(), id);
    assert_eq!(store.definitions().unwrap(), [definition("a"), definition("b")]);
    assert_eq!(store.leaders().unwrap(), [leader]);
    let shard = store.shard(&IndexName::from("a"), ShardId(1));
    assert_eq!(shard.progress().unwrap(), progress(17));
    let live = shard.live_in(everything(), 10).unwrap();
    assert_eq!(
        live,
        [(SeqNo::new(2), doc("x", Some("r"))), (SeqNo::new(300), routed)]
    );
    assert_eq!(shard.seq_of("x").unwrap(), Some(SeqNo::new(2)));
    assert_eq!(
        shard.seqs_of(&["nope", "x"]).unwrap(),
        [None, Some(SeqNo::new(2))]
    );

    store.remove_leader("eu").unwrap();
    store.remove_leader("never there").unwrap();
    assert!(store.leaders().unwrap().is_empty());
}

#[test]
fn every_store_has_an_id_of_its_own_that_fits_a_header() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (Store::open(one.path()).unwrap(), Store::open(two.path()).unwrap());
    assert_ne!(one.follower_id(), two.follower_id());
    assert!(one.follower_id().len() == 16 && one.follower_id().bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn a_definition_replaces_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.put_definition(&definition("a")).unwrap();
    let syncing = Definition {
        phase: Phase::Syncing,
        reason: Reason::new(""),
        ..definition("a")
    };
    store.put_definition(&syncing).unwrap();
    assert_eq!(store.definitions().unwrap(), [syncing]);
}

#[test]
fn an_index_is_removed_with_all_its_shards_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let names = ["logs", "logs1", "log", "logs-\u{10FFFF}", "lot"];
    for name in names {
        store.put_definition(&definition(name)).unwrap();
        for number in [0, 1, 0x3100_0000, u32::MAX] {
            let shard = store.shard(&IndexName::from(name), ShardId(number));
            remember(&shard, &[(0, "a"), (i64::MAX as u64, name)]);
            shard.save_progress(&progress(i64::from(number))).unwrap();
        }
    }
    store.remove_index(&IndexName::from("logs")).unwrap();
    store.remove_index(&IndexName::from("never there")).unwrap();
    let shards =
        |name: &str| [0, 1, 0x3100_0000, u32::MAX].map(|n| store.shard(&IndexName::from(name), ShardId(n)));
    for shard in shards("logs") {
        assert!(ids(&shard).is_empty());
        assert_eq!(shard.seq_of("a").unwrap(), None);
        assert_eq!(shard.progress().unwrap(), ShardProgress::default());
    }
    for name in ["logs1", "log", "logs-\u{10FFFF}", "lot"] {
        for shard in shards(name) {
            assert_eq!(ids(&shard), ["a", name]);
            assert_eq!(shard.count_buckets().unwrap().total(), 2);
            assert_eq!(shard.seq_of(name).unwrap(), Some(SeqNo::new(i64::MAX as u64)));
            assert!(shard.progress().unwrap().bootstrapped);
        }
    }
    let left: Vec<_> = store
        .definitions()
        .unwrap()
        .into_iter()
        .map(|d| d.follower_index)
        .collect();
    assert_eq!(
        left,
        ["log", "logs-\u{10FFFF}", "logs1", "lot"].map(IndexName::from)
    );
}

#[test]
fn clearing_a_shard_leaves_the_others_and_the_shard_can_be_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [one, two] = [0, 1].map(|n| store.shard(&IndexName::from("i"), ShardId(n)));
    for shard in [&one, &two] {
        remember(shard, &[(5, "a"), (6, "b")]);
        shard.save_progress(&progress(6)).unwrap();
    }
    one.clear().unwrap();
    assert!(ids(&one).is_empty());
    assert_eq!(one.progress().unwrap(), ShardProgress::default());
    assert_eq!(ids(&two), ["a", "b"]);
    assert_eq!(two.progress().unwrap(), progress(6));
    assert_eq!(remember(&one, &[(1, "b")]), [None]);
    assert_eq!(ids(&one), ["b"]);
}

#[test]
fn of_an_id_that_occurs_twice_the_later_stays_and_tells_of_the_earlier() {
    let folder = tempfile::tempdir().unwrap();
    let shard = Store::open(folder.path())
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0));
    remember(&shard, &[(1, "a")]);
    let before = remember(&shard, &[(7, "a"), (8, "b"), (9, "a")]);
    assert_eq!(before, [Some(SeqNo::new(1)), None, Some(SeqNo::new(7))]);
    assert_eq!(ids(&shard), ["b", "a"]);
    assert_eq!(shard.seq_of("a").unwrap(), Some(SeqNo::new(9)));
    assert_eq!(shard.count_buckets().unwrap().total(), 2);
}

#[test]
fn what_is_found_on_the_target_does_not_replace_what_is_known_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let shard = store.shard(&IndexName::from("i"), ShardId(0));
    // "a" was written since, and "b" under another history.
    remember(&shard, &[(9, "a"), (2, "b")]);
    let found = [(1, "a"), (5, "b"), (6, "c")].map(|(seq, id)| (SeqNo::new(seq), doc(id, Some("r"))));
    let found: Vec<_> = found.iter().map(|(seq, doc)| (*seq, doc)).collect();
    assert_eq!(shard.adopt(&found, &progress(7)).unwrap(), 1);
    assert_eq!(shard.adopt(&found, &progress(8)).unwrap(), 0);
    assert_eq!(shard.adopt(&[], &progress(9)).unwrap(), 0);
    drop((shard, store));

    let store = Store::open(folder.path()).unwrap();
    let shard = store.shard(&IndexName::from("i"), ShardId(0));
    assert_eq!(shard.progress().unwrap(), progress(9));
    let live = shard.live_in(everything(), 9).unwrap();
    let expected = [(2, doc("b", None)), (6, doc("c", Some("r"))), (9, doc("a", None))];
    assert_eq!(live, expected.map(|(seq, doc)| (SeqNo::new(seq), doc)));
}

#[test]
fn i4_remembering_again_and_forgetting_late_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shard = Store::open(folder.path())
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0));
    remember(&shard, &[(1, "a"), (2, "b")]);
    assert_eq!(remember(&shard, &[(2, "b")]), [Some(SeqNo::new(2))]);
    // "a" came back at 5 while its delete at 1 was under way.
    remember(&shard, &[(5, "a")]);
    shard
        .forget(&[
            (SeqNo::new(1), "a".to_owned()),
            (SeqNo::new(9), "unknown".to_owned()),
        ])
        .unwrap();
    assert_eq!(shard.seq_of("a").unwrap(), Some(SeqNo::new(5)));
    shard
        .forget(&[(SeqNo::new(5), "a".to_owned()), (SeqNo::new(5), "a".to_owned())])
        .unwrap();
    assert_eq!(ids(&shard), ["b"]);
}

#[test]
fn i5_a_document_of_a_rewritten_history_is_still_found_where_its_sequence_number_was_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let shard = Store::open(folder.path())
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0));
    remember(&shard, &[(4, "a"), (5, "lost with the history"), (6, "c")]);
    // The leader lost 5 and 6, and gave both again.
    assert_eq!(
        remember(&shard, &[(5, "new"), (6, "newer"), (7, "c")]),
        [None, None, Some(SeqNo::new(6))]
    );
    assert_eq!(ids(&shard), ["a", "lost with the history", "new", "newer", "c"]);
    assert_eq!(shard.count_buckets().unwrap().total(), 5);
    assert_eq!(shard.seq_of("newer").unwrap(), Some(SeqNo::new(6)));
    let page = shard.live_in(everything(), 2).unwrap();
    assert_eq!(
        page.iter().map(|(seq, _)| seq.get()).collect::<Vec<_>>(),
        [4, 5, 5]
    );

    shard
        .forget(&[(SeqNo::new(5), "lost with the history".to_owned())])
        .unwrap();
    assert_eq!(ids(&shard), ["a", "new", "newer", "c"]);
}

#[test]
fn a_range_is_cut_at_both_ends_and_at_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let shard = Store::open(folder.path())
        .unwrap()
        .shard(&IndexName::from("i"), ShardId(0));
    remember(&shard, &[(0, "a"), (255, "b"), (256, "c"), (1 << 33, "d")]);
    let within = |after, through, limit| -> Vec<u64> {
        let range = SeqRange::new(Checkpoint::new(after), Checkpoint::new(through));
        shard
            .live_in(range, limit)
            .unwrap()
            .into_iter()
            .map(|(seq, _)| seq.get())
            .collect()
    };
    assert_eq!(within(-1, 0, 9), [0]);
    assert_eq!(within(0, 256, 9), [255, 256]);
    assert_eq!(within(-1, 1 << 40, 3), [0, 255, 256]);
    assert!(within(256, 255, 9).is_empty() && within(-1, 300, 0).is_empty() && within(-1, -1, 9).is_empty());
}

#[test]
fn a_second_agent_is_turned_away_until_the_first_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let shard = store.shard(&IndexName::from("i"), ShardId(0));
    drop(store);
    // A shard alone keeps the store open.
    match Store::open(folder.path()) {
        Err(e @ StoreError::Locked { .. }) => assert!(e.to_string().contains("second follower agent"), "{e}"),
        other => panic!("{other:?}"),
    }
    remember(&shard, &[(0, "still works")]);
    drop(shard);
    Store::open(folder.path()).unwrap();
}

#[test]
fn shards_are_written_from_several_threads_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for lane in 0..4u64 {
            let shard = store.shard(&IndexName::from("i"), ShardId(lane as u32 / 2));
            scope.spawn(move || {
                for round in 0..50u64 {
                    // The same ids in both lanes of a shard: whoever is last has them, never both.
                    remember(
                        &shard,
                        &[
                            (round * 4 + lane, "shared"),
                            (1000 + round * 4 + lane, &format!("{lane}-{round}")),
                        ],
                    );
                }
            });
        }
    });
    for number in [0, 1] {
        let shard = store.shard(&IndexName::from("i"), ShardId(number));
        let live = ids(&shard);
        assert_eq!(live.len(), 101);
        assert_eq!(live.iter().filter(|id| *id == "shared").count(), 1);
    }
}

#[test]
fn i3_a_document_known_at_a_higher_number_stays_there() {
    let folder = tempfile::tempdir().unwrap();
    let shard = Store::open(folder.path())
        .unwrap()
        .shard(&IndexName::from("logs"), ShardId(0));
    remember(&shard, &[(7, "a"), (3, "b")]);
    let (a, b, c) = (doc("a", None), doc("b", None), doc("c", None));
    let given = [
        (SeqNo::new(5), &a),
        (SeqNo::new(9), &b),
        (SeqNo::new(4), &c),
        (SeqNo::new(2), &c),
    ];
    let before = remember_newer(&shard, &given);
    assert_eq!(
        before,
        [7, 3]
            .map(SeqNo::new)
            .map(Some)
            .into_iter()
            .chain([None, Some(SeqNo::new(4))])
            .collect::<Vec<_>>()
    );
    let known = shard.seqs_of(&["a", "b", "c"]).unwrap();
    assert_eq!(known, [7, 9, 4].map(|seq| Some(SeqNo::new(seq))));
    assert_eq!(shard.live_in(everything(), usize::MAX).unwrap().len(), 3);
}

#[test]
fn several_shards_remember_in_one_write_what_each_would_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [a, b, alone_a, alone_b] =
        ["a", "b", "c", "d"].map(|name| store.shard(&IndexName::from(name), ShardId(0)));
    for shard in [&a, &b, &alone_a, &alone_b] {
        remember(shard, &[(5, "x"), (6, "y")]);
    }
    let docs = [doc("x", None), doc("y", None), doc("z", Some("r"))];
    let old: Vec<_> = docs
        .iter()
        .zip([3, 7, 8])
        .map(|(doc, seq)| (SeqNo::new(seq), doc))
        .collect();
    let parts = [(&a, true), (&b, false)].map(|(shard, newer)| Remember {
        shard,
        docs: &old,
        newer,
    });
    let before = ShardStore::remember_all(&parts).unwrap();
    assert_eq!(
        before,
        [remember_newer(&alone_a, &old), alone_b.remember(&old).unwrap()]
    );
    for (shard, alone) in [(&a, &alone_a), (&b, &alone_b)] {
        let live = |shard: &ShardStore| shard.live_in(everything(), usize::MAX).unwrap();
        assert_eq!(live(shard), live(alone));
        assert_eq!(shard.seq_of("x").unwrap(), alone.seq_of("x").unwrap());
    }
    assert_eq!(a.seq_of("x").unwrap(), Some(SeqNo::new(5)), "a newer one stays");
    assert!(ShardStore::remember_all(&[]).unwrap().is_empty());
}
