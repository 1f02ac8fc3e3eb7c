//! Documents that are written, looked up and waited for.

use super::*;

#[tokio::test]
async fn every_item_of_a_bulk_is_judged_by_itself() {
    let config = server(|asked| {
        assert!(asked.is("POST", "/i/_bulk") && asked.uri.contains("pipeline=_none"));
        assert_eq!(asked.header("x-opaque-id"), Some("lane-3"));
        assert_eq!(asked.header("content-type"), Some("application/x-ndjson"));
        json(
            200,
            r#"{"items":[{"index":{"status":201,"_seq_no":5}},{"index":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"c"}}},
            {"delete":{"status":404,"_seq_no":7}},{"delete":{"status":200}},{"delete":{"status":404,"error":{"type":"index_not_found_exception","reason":"n"}}},
            {"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}},
            {"index":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"gone"}}},
            {"index":{"status":403,"error":{"type":"cluster_block_exception","reason":"read-only"}}},
            {"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed","caused_by":{"type":"x","reason":"field [f]"}}}}]}"#,
        )
    })
    .await;
    let op = doc("a", b"{}");
    let gone = DocRef {
        id: "b".into(),
        routing: None,
    };
    let (put, del) = (BulkItem::Index { op: &op }, BulkItem::Delete { doc: &gone });
    let items = [put, put, del, del, del, put, put, put, put];
    let cluster = client(&config);
    let outcomes = cluster.bulk(&index(), &items, "lane-3").await.expect("outcomes");
    assert_eq!(
        outcomes[..5],
        [
            ItemOutcome::Applied(Checkpoint::new(5)),
            ItemOutcome::Conflict,
            ItemOutcome::Applied(Checkpoint::new(7)),
            ItemOutcome::Applied(Checkpoint::NONE),
            ItemOutcome::IndexMissing,
        ]
    );
    assert_eq!(
        outcomes[5],
        ItemOutcome::Retry(RetryReason::Throttled, "full".into())
    );
    assert_eq!(
        outcomes[6],
        ItemOutcome::Retry(RetryReason::Unavailable, "gone".into())
    );
    assert_eq!(
        outcomes[7],
        ItemOutcome::Retry(RetryReason::Blocked, "read-only".into())
    );
    let ItemOutcome::Rejected(error) = &outcomes[8] else {
        panic!("{:?}", outcomes[8])
    };
    assert_eq!(
        (error.status, error.kind.as_str(), error.reason.as_str()),
        (400, "mapper_parsing_exception", "failed: field [f]")
    );

    let error = cluster
        .bulk(&index(), &items[..3], "lane-3")
        .await
        .expect_err("too many answers");
    assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
    let swapped = [del, put, put, put, put, put, put, put, put];
    assert_eq!(
        cluster
            .bulk(&index(), &swapped, "lane-3")
            .await
            .expect_err("order")
            .kind,
        ErrorKind::Protocol
    );
    let wrong = doc("a", b"{\n}");
    let error = cluster
        .bulk(&index(), &[put, BulkItem::Index { op: &wrong }], "x")
        .await
        .expect_err("newline");
    assert!(
        error.kind == ErrorKind::BadRequest && error.to_string().contains("item 1"),
        "{error}"
    );
    assert_eq!(cluster.bulk(&index(), &[], "x").await.expect("nothing"), []);
}

#[tokio::test]
async fn any_id_reaches_the_server_as_it_is() {
    let config = server(|asked| json(201, format!(r#"{{"uri":"{}","_seq_no":3}}"#, asked.uri))).await;
    let cluster = client(&config);
    for id in [".", "..", "a/b", "%2e", "é😀 ?#&+", "...", "_create"] {
        let outcome = cluster
            .put_document(&index(), &doc(id, b"{\n}"), "t")
            .await
            .expect("put");
        assert_eq!(outcome, ItemOutcome::Applied(Checkpoint::new(3)));
    }
    let uris = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let seen = Arc::clone(&uris);
    let config = server(move |asked| {
        seen.lock()
            .expect("no panic")
            .insert(asked.uri, (asked.method, asked.body));
        json(200, "{}")
    })
    .await;
    let cluster = client(&config);
    for id in [".", "a/b %"] {
        let mut op = doc(id, b"{\n}");
        op.doc.routing = Some("r&x".into());
        cluster.put_document(&index(), &op, "t").await.expect("put");
    }
    let common = "version=7&version_type=external_gte&pipeline=_none&timeout=30000ms&routing=r%26x";
    let uris = uris.lock().expect("no panic");
    let body = Bytes::from_static(b"{\n}");
    assert_eq!(
        uris[&format!("/i/_doc/a%2Fb%20%25?{common}")],
        ("PUT".to_owned(), body.clone())
    );
    assert_eq!(
        uris[&format!("/i/_doc?{common}&op_type=index&id=.")],
        ("POST".to_owned(), body)
    );
}

#[tokio::test]
async fn a_document_that_could_not_be_looked_up_is_not_gone() {
    let config = server(|asked| {
        let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
        assert_eq!(body["docs"][0]["routing"], "r");
        json(200, r#"{"docs":[{"found":false},{"error":{"type":"no_shard_available_action_exception","reason":"red"}}]}"#)
    })
    .await;
    let docs = [
        DocRef {
            id: "a".into(),
            routing: Some("r".into()),
        },
        DocRef {
            id: "b".into(),
            routing: None,
        },
    ];
    let cluster = client(&config);
    let error = cluster
        .present(&index(), &docs)
        .await
        .expect_err("an item failed");
    assert!(
        error.kind == ErrorKind::Incomplete && error.to_string().contains("`b`"),
        "{error}"
    );
    assert_eq!(
        cluster
            .present(&index(), &docs[..1])
            .await
            .expect_err("count")
            .kind,
        ErrorKind::Protocol
    );
    assert_eq!(
        cluster.present(&index(), &[]).await.expect("nothing"),
        Vec::<bool>::new()
    );
}

#[tokio::test]
async fn a_node_that_does_not_tell_its_tasks_leaves_it_open() {
    let calls = AtomicU32::new(0);
    let config = server(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => json(200, r#"{"tasks":[{"headers":{"X-Opaque-Id":"mine"}}],"node_failures":[{"type":"failed_node_exception","reason":"x"}]}"#),
        _ => json(200, r#"{"tasks":[{"headers":{}},{"action":"indices:data/write/bulk[s]","headers":{"X-Opaque-Id":"mine"}}]}"#),
    })
    .await;
    let cluster = client(&config);
    let error = cluster.running_bulks().await.expect_err("a node did not tell");
    assert_eq!(error.kind, ErrorKind::Incomplete);
    assert_eq!(cluster.running_bulks().await.expect("all told"), ["mine"]);
}
