//! Pages of a shard: how they are asked for, and which answers are trusted.

use super::*;

#[tokio::test]
async fn a_page_is_asked_for_as_the_engine_needs_it() {
    for opensearch in [true, false] {
        let config = server(move |asked| {
            if asked.is("GET", "/") {
                return json(200, if opensearch { GREETING } else { OLD_GREETING });
            }
            let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
            let with_pit = body["pit"]["id"] == "p";
            assert_eq!(asked.uri.contains("preference=_shards%3A2%7C_only_nodes%3Anode"), !with_pit, "{}", asked.uri);
            assert!(asked.is("POST", if with_pit { "/_search" } else { "/i/_search" }));
            assert_eq!(asked.uri.contains("search_pipeline=_none"), opensearch);
            assert!(asked.uri.contains("allow_partial_search_results=false") && !asked.uri.contains("filter_path"));
            if body["size"] == 0 {
                assert!(with_pit && body["track_total_hits"] == true);
                return json(200, format!(r#"{{"timed_out":false,"_shards":{WHOLE},"hits":{{"total":{{"value":5,"relation":"eq"}}}}}}"#));
            }
            assert_eq!(body["query"]["range"]["_seq_no"]["gt"], 4);
            assert_eq!(body["aggs"].is_object(), !with_pit);
            let unbounded = body["query"]["range"]["_seq_no"].get("lte").is_none();
            let second = hit(if unbounded { 77 } else { 9 }, " {\"a\": 1.0} ", "");
            let body = page(WHOLE, &[hit(5, "{}", ""), second]);
            json(200, format!(r#"{},"aggregations":{{"live":{{"doc_count":4}}}}}}"#, &body[..body.len() - 1]))
        })
        .await;
        let cluster = client(&config);
        for (pit, live) in [(None, 4), (Some("p"), 5)] {
            for unbounded in [true, false] {
                let target = target(pit);
                let page = cluster
                    .read_page(&PageQuery {
                        count_live: true,
                        unbounded,
                        ..query(&target)
                    })
                    .await
                    .expect("a page");
                assert_eq!(page.live, Some(live));
                assert!(page.full);
                assert_eq!(page.ops[1].seq_no.get(), if unbounded { 77 } else { 9 });
                assert_eq!(
                    page.ops[1].change,
                    Change::Index {
                        source: Bytes::from_static(b" {\"a\": 1.0} ")
                    }
                );
            }
        }
    }
}

#[tokio::test]
async fn only_the_whole_answer_of_one_shard_is_trusted() {
    for shards in [
        r#"{"total":0,"successful":0,"failed":0}"#,
        r#"{"total":1,"successful":0,"failed":1}"#,
        r#"{"total":1,"successful":1,"failed":1}"#,
        r#"{"total":2,"successful":2,"failed":0}"#,
    ] {
        let config = engine_that_answers(page(shards, &[])).await;
        let cluster = client(&config);
        let target = target(None);
        let range = query(&target).range;
        assert_eq!(
            cluster.read_page(&query(&target)).await.expect_err(shards).kind,
            ErrorKind::Incomplete
        );
        assert_eq!(
            cluster.living(&target, range, 10).await.expect_err(shards).kind,
            ErrorKind::Incomplete
        );
        assert_eq!(
            cluster
                .live_histogram(&target, 16, Checkpoint::new(99))
                .await
                .expect_err(shards)
                .kind,
            ErrorKind::Incomplete
        );
    }
    let late = page(WHOLE, &[]).replace("false", "true");
    let config = engine_that_answers(late).await;
    let error = client(&config)
        .read_page(&query(&target(None)))
        .await
        .expect_err("timed out");
    assert!(
        error.kind == ErrorKind::Incomplete && error.to_string().contains("[i][2]"),
        "{error}"
    );
}

#[tokio::test]
async fn hits_that_were_not_asked_for_are_refused() {
    for seqs in [&[4][..], &[10], &[6, 5], &[5, 5], &[5, 6, 7]] {
        let hits: Vec<_> = seqs.iter().map(|seq| hit(*seq, "{}", "")).collect();
        let body = page(WHOLE, &hits);
        let config = engine_that_answers(body).await;
        let error = client(&config)
            .read_page(&query(&target(None)))
            .await
            .expect_err("wrong hits");
        assert_eq!(error.kind, ErrorKind::Protocol, "{seqs:?}");
    }
}

/// A page with a source that cannot be delimited is asked for once more, with a mark that no document can know.
#[tokio::test]
async fn an_ambiguous_source_is_read_again_with_a_seal() {
    const SOURCES: [&str; 2] = ["{\"a\":1}//x", "{\"a\":2} //,\"sort\":[6]},{\n"];
    let seals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&seals);
    let config = server(move |asked| {
        if asked.is("GET", "/") {
            return json(200, GREETING);
        }
        let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
        let seal = body["query"]["range"]["_seq_no"]["_name"]
            .as_str()
            .map(str::to_owned);
        let more = seal
            .as_ref()
            .map_or(String::new(), |seal| format!(r#","matched_queries":["{seal}"]"#));
        seen.lock().expect("no panic").push(seal);
        json(
            200,
            page(WHOLE, &[hit(5, SOURCES[0], &more), hit(6, SOURCES[1], &more)]),
        )
    })
    .await;
    let cluster = client(&config);
    for _ in 0..2 {
        let page = cluster.read_page(&query(&target(None))).await.expect("a page");
        let sources: Vec<_> = page.ops.iter().map(|op| op.change.clone()).collect();
        assert_eq!(
            sources,
            SOURCES.map(|source| Change::Index {
                source: Bytes::from_static(source.as_bytes())
            })
        );
    }
    let seals = seals.lock().expect("no panic");
    assert_eq!(
        seals.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true, false, true]
    );
    assert_ne!(seals[1], seals[3]);
}

#[tokio::test]
async fn points_in_time_are_asked_for_until_the_distribution_turns_out_to_lack_them() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let config = server(move |asked| {
        if asked.is("GET", "/") {
            return json(200, OLD_GREETING);
        }
        assert!(asked.is("POST", "/i/_pit") && asked.body.is_empty(), "{}", asked.uri);
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => json(403, r#"{"error":{"type":"security_exception","reason":"no"}}"#),
            1 => json(400, r#"{"error":{"type":"illegal_argument_exception","reason":"no data nodes with criteria [x]"}}"#),
            2 => json(200, r#"{"id":"p1"}"#),
            // As the distribution without x-pack says it, which takes the path for that of a document.
            _ => json(400, r#"{"error":{"type":"parse_exception","reason":"request body is required"}}"#),
        }
    })
    .await;
    let cluster = client(&config);
    let target = target(None);
    assert_eq!(
        cluster.open_pit(&target).await.expect_err("forbidden").kind,
        ErrorKind::Forbidden
    );
    assert_eq!(
        cluster.open_pit(&target).await.expect_err("moved").kind,
        ErrorKind::Incomplete
    );
    let pit = cluster
        .open_pit(&target)
        .await
        .expect("a pit")
        .expect("supported");
    assert_eq!(
        pit,
        Searcher {
            pit: Some(PitId("p1".into())),
            ..target.clone()
        }
    );
    for _ in 0..3 {
        assert_eq!(cluster.open_pit(&target).await.expect("no error"), None);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}
