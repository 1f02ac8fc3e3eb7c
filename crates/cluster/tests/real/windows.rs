//! Windows of a shard's operations.

use super::*;

#[tokio::test]
#[ignore = "needs real servers"]
async fn windows_counts_and_holes_agree() {
    for cluster in clusters() {
        let index = fresh(&cluster, "windows", &small()).await;
        let ops: Vec<Op> = (0..100)
            .map(|n| op(&format!("d{n}"), None, 1, b"{\"a\":1}"))
            .collect();
        let items: Vec<_> = ops.iter().map(|op| BulkItem::Index { op }).collect();
        assert!(
            cluster
                .bulk(&index, &items, "t")
                .await
                .expect("bulk")
                .iter()
                .all(|o| matches!(o, ItemOutcome::Applied(_)))
        );
        let before = cluster
            .seq_stats(std::slice::from_ref(&index))
            .await
            .expect("stats")[&index]
            .clone();
        let gone: Vec<_> = ops[10..20]
            .iter()
            .map(|op| BulkItem::Delete { doc: &op.doc })
            .collect();
        cluster.bulk(&index, &gone, "t").await.expect("bulk");
        cluster.refresh(&index).await.expect("refresh");
        let after = cluster
            .seq_stats(std::slice::from_ref(&index))
            .await
            .expect("stats")[&index]
            .clone();
        let (before, after) = (&before.shards[&ShardId(0)], &after.shards[&ShardId(0)]);
        assert_eq!(after.max_seq_no, Checkpoint::new(109));
        assert_eq!(after.global_checkpoint.0, after.local_checkpoint);
        assert_eq!(before.history_uuid, after.history_uuid);
        assert!(after.refreshes > before.refreshes);

        let now = searcher(&cluster, &index).await;
        let pit = cluster.open_pit(&now).await.expect("pit");
        for target in [Some(&now), pit.as_ref()].into_iter().flatten() {
            let range = SeqRange::new(Checkpoint::new(4), Checkpoint::new(24));
            let query = PageQuery {
                range,
                unbounded: false,
                size: 5,
                ..all(target)
            };
            let page = cluster.read_page(&query).await.expect("a page");
            let seqs: Vec<u64> = page.ops.iter().map(|op| op.seq_no.get()).collect();
            assert_eq!(seqs, [5, 6, 7, 8, 9]);
            assert!(page.full && page.live == Some(90));
            let living = cluster.living(target, range, 10_000).await.expect("living");
            let expected: Vec<u64> = (5..10).chain(20..25).collect();
            assert_eq!(living.iter().map(|seq| seq.get()).collect::<Vec<_>>(), expected);
            assert_eq!(cluster.living(target, range, 3).await.expect("living").len(), 3);
            let histogram = cluster
                .live_histogram(target, 16, Checkpoint::new(i64::MAX - 1))
                .await
                .expect("histogram");
            assert_eq!(
                histogram,
                BTreeMap::from([(0, 10), (16, 12), (32, 16), (48, 16), (64, 16), (80, 16), (96, 4)])
            );
            let error = cluster
                .read_page(&PageQuery {
                    max_bytes: 2_000,
                    ..all(target)
                })
                .await
                .expect_err("large");
            assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        }
        let elsewhere = Searcher::new(index.clone(), ShardId(0), "nope");
        let error = cluster
            .read_page(&all(&elsewhere))
            .await
            .expect_err("no such node");
        assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        if pit.is_some() {
            let error = cluster.open_pit(&elsewhere).await.expect_err("no such node");
            assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        }
        let elsewhere = Searcher {
            shard: ShardId(9),
            ..now
        };
        let error = cluster
            .read_page(&all(&elsewhere))
            .await
            .expect_err("no such shard");
        assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        cluster.delete_index(&index).await.expect("delete");
        let error = cluster
            .read_page(&all(&elsewhere))
            .await
            .expect_err("no such index");
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    }
}
