//! Documents that are written, and bulks that run.

use super::*;

#[tokio::test]
#[ignore = "needs real servers"]
async fn documents_come_back_as_they_were_written() {
    let long = "ж".repeat(255);
    let utf16: Vec<u8> = "{\"a\":\"∢}\"}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let docs: [(&str, Option<&str>, i64, &[u8]); 15] = [
        ("utf-16", None, 4, &utf16),
        ("bulk 8", None, 4, b"{}"),
        (".", None, 0, b"{\"a\":\n1}"),
        ("..", Some("r"), 7, b"{\"a\":1}//x"),
        ("a/b?c#d %+&=", Some("x/y&z"), 9, b" {\"a\":1} // comment\n"),
        ("/", None, 1, b"{\"a\":1}\r"),
        ("%2E", None, 1, b"{\"a\":1}\n"),
        (
            "😀\u{1}\"\\",
            Some("😀"),
            5,
            b"\n {\"v\":12345678901234567890123.10} \n",
        ),
        (&long, None, i64::MAX, b"{\"a\":1}"),
        ("bulk 1", Some("ü\"\\"), 3, b"  { \"a\" : 1.00 } "),
        ("bulk 2", None, 4, b"{/* { */\"a\":1,/*]*/\"b\":\"/*\"}/* \" */"),
        ("bulk 3", None, 4, b"{\"a\":1} // open end"),
        ("bulk 4", None, 4, b"\xef\xbb\xbf{\"a\":1}"),
        ("bulk 5", None, 4, "{\"ключ\":\"значение 😀\"}".as_bytes()),
        ("bulk 6", None, 4, b"{\r\"a\":1 //c\r}"),
    ];
    for cluster in clusters() {
        let index = fresh(&cluster, "bytes", &small()).await;
        let ops: Vec<Op> = docs
            .iter()
            .map(|(id, routing, version, source)| op(id, *routing, *version, source))
            .collect();
        let (mut written, mut last) = (Vec::new(), Checkpoint::NONE);
        for op in &ops {
            let Change::Index { source } = &op.change else {
                unreachable!()
            };
            let outcome = if fits_bulk(source) {
                let mut outcomes = cluster
                    .bulk(&index, &[BulkItem::Index { op }], "t")
                    .await
                    .expect("bulk");
                outcomes.pop().expect("an outcome")
            } else {
                cluster.put_document(&index, op, "t").await.expect("put")
            };
            let ItemOutcome::Applied(at) = outcome else {
                panic!("{} {:?}: {outcome:?}", cluster.url(), op.doc)
            };
            assert!(at > last, "{} {:?}: {at} after {last}", cluster.url(), op.doc);
            last = at;
            // The same again is accepted, a lower version is not.
            if op.version.0 > 0 {
                let lower = Op {
                    version: Version(op.version.0 - 1),
                    ..op.clone()
                };
                let outcome = cluster.put_document(&index, &lower, "t").await.expect("put");
                assert_eq!(outcome, ItemOutcome::Conflict, "{} {:?}", cluster.url(), op.doc);
            }
            written.push((op.doc.clone(), op.version, source.clone()));
        }
        cluster.refresh(&index).await.expect("refresh");
        let now = searcher(&cluster, &index).await;
        let pit = cluster.open_pit(&now).await.expect("pit");
        for target in [Some(&now), pit.as_ref()].into_iter().flatten() {
            let page = cluster.read_page(&all(target)).await.expect("a page");
            let read: Vec<_> = page
                .ops
                .iter()
                .map(|op| match &op.change {
                    Change::Index { source } => (op.doc.clone(), op.version, source.clone()),
                    _ => unreachable!(),
                })
                .collect();
            assert_eq!(read, written, "{}", cluster.url());
            assert_eq!(page.live, Some(docs.len() as u64));
            assert!(!page.full);
        }
        if let Some(pit) = pit {
            cluster.close_pit(pit.clone()).await;
            let error = cluster.read_page(&all(&pit)).await.expect_err("closed");
            assert_eq!(error.kind, ErrorKind::Incomplete, "{error}");
        }
        let docs: Vec<DocRef> = ops.iter().map(|op| op.doc.clone()).collect();
        assert_eq!(
            cluster.present(&index, &docs).await.expect("mget"),
            vec![true; docs.len()]
        );
        let items: Vec<_> = docs.iter().map(|doc| BulkItem::Delete { doc }).collect();
        for _ in 0..2 {
            let outcomes = cluster.bulk(&index, &items, "t").await.expect("bulk");
            assert_eq!(outcomes.len(), docs.len());
            for outcome in outcomes {
                let ItemOutcome::Applied(at) = outcome else {
                    panic!("{}: {outcome:?}", cluster.url())
                };
                // To delete what is not there is an operation, too.
                assert!(at > last, "{}: {at} after {last}", cluster.url());
                last = at;
            }
        }
        assert_eq!(
            cluster.present(&index, &docs).await.expect("mget"),
            vec![false; docs.len()]
        );
        cluster.delete_index(&index).await.expect("delete");
    }
}

/// A bulk that waits for a shard which never comes is seen running, then gives up by itself.
#[tokio::test]
#[ignore = "needs real servers"]
async fn a_running_bulk_is_seen() {
    let urls = std::env::var("SLIPSTREAM_TEST_CLUSTERS").expect("SLIPSTREAM_TEST_CLUSTERS names the servers");
    for url in urls.split(',') {
        let mut config = ClusterConfig::new(url);
        config.timeouts.bulk = Duration::from_secs(8);
        let cluster = Cluster::new(&config).expect("a client");
        let index = fresh(&cluster, "running", &small()).await;
        cluster.delete_index(&index).await.expect("delete");
        let mut nowhere = small();
        nowhere.insert("index.routing.allocation.require._name".into(), json!("nope"));
        let outcome = cluster
            .create_index(&index, &nowhere, &raw("{}"), &Map::new())
            .await;
        assert!(outcome.is_err(), "the primary cannot start");
        let writer = {
            let (cluster, index) = (cluster.clone(), index.clone());
            tokio::spawn(async move {
                let doc = op("a", None, 1, b"{}");
                cluster
                    .bulk(&index, &[BulkItem::Index { op: &doc }], "running-1")
                    .await
            })
        };
        let mut seen = false;
        while !writer.is_finished() {
            let running = cluster.running_bulks().await.expect("tasks");
            seen |= running.iter().any(|id| id == "running-1");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(seen, "{url}");
        let outcomes = writer
            .await
            .expect("no panic")
            .expect("answered within the deadline");
        assert!(
            matches!(outcomes[0], ItemOutcome::Retry(RetryReason::Unavailable, _)),
            "{outcomes:?}"
        );
        let running = cluster.running_bulks().await.expect("tasks");
        assert!(!running.iter().any(|id| id == "running-1"), "{url}");
        // An index without any assigned copy is not in the statistics at all.
        assert_eq!(
            cluster
                .seq_stats(std::slice::from_ref(&index))
                .await
                .expect("stats"),
            BTreeMap::new()
        );
        cluster.delete_index(&index).await.expect("delete");
    }
}
