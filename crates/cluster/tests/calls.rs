//! What a caller sees of servers that answer late, wrongly, too much, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use slipstream_cluster::{
    Auth, BulkItem, ClientCert, Cluster, ClusterConfig, Engine, ErrorKind, ItemOutcome, PageQuery, PitId,
    RetryReason, Searcher,
};
use slipstream_model::{
    Change, Checkpoint, DocRef, IndexName, Op, PrimaryTerm, SeqNo, SeqRange, ShardId, Version,
};
use tokio::net::TcpListener;

const GREETING: &str = r#"{"name":"n","cluster_name":"c","cluster_uuid":"u","version":{"number":"2.19.1","distribution":"opensearch"}}"#;
const OLD_GREETING: &str =
    r#"{"name":"n","cluster_name":"c","cluster_uuid":"u","version":{"number":"7.10.2"}}"#;

/// What a test server was asked.
struct Asked {
    method: String,
    /// Path and parameters, as they came over the wire.
    uri: String,
    headers: axum::http::HeaderMap,
    body: Bytes,
}

impl Asked {
    fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.uri.split('?').next() == Some(path)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server that answers as told; `None` never answers.
async fn server(answer: impl Fn(Asked) -> Option<Response> + Send + Sync + 'static) -> ClusterConfig {
    let answer = Arc::new(answer);
    let app = Router::new().fallback(move |request: Request| {
        let answer = Arc::clone(&answer);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            let asked = Asked {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                headers: parts.headers,
                body,
            };
            match answer(asked) {
                Some(response) => response,
                None => std::future::pending().await,
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    ClusterConfig::new(format!("http://{address}"))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the servers' closures return it as it is"
)]
fn json(status: u16, body: impl Into<String>) -> Option<Response> {
    let status = axum::http::StatusCode::from_u16(status).expect("a status");
    Some((status, [("content-type", "application/json")], body.into()).into_response())
}

fn client(config: &ClusterConfig) -> Cluster {
    Cluster::new(config).expect("a client")
}

fn index() -> IndexName {
    IndexName::from("i")
}

fn target(pit: Option<&str>) -> Searcher {
    Searcher {
        pit: pit.map(|id| PitId(id.to_owned())),
        ..Searcher::new(index(), ShardId(2), "node")
    }
}

fn query(target: &Searcher) -> PageQuery<'_> {
    PageQuery {
        target,
        range: SeqRange::new(Checkpoint::new(4), Checkpoint::new(9)),
        unbounded: false,
        size: 2,
        max_bytes: 1 << 20,
        count_live: false,
    }
}

fn doc(id: &str, source: &'static [u8]) -> Op {
    Op {
        seq_no: SeqNo::ZERO,
        term: PrimaryTerm(1),
        version: Version(7),
        doc: DocRef {
            id: id.into(),
            routing: None,
        },
        change: Change::Index {
            source: Bytes::from_static(source),
        },
    }
}

fn hit(seq: u64, source: &str, more: &str) -> String {
    format!(
        r#"{{"_index":"i","_id":"d{seq}","_version":1,"_seq_no":{seq},"_primary_term":1,"_source":{source},"sort":[{seq}]{more}}}"#
    )
}

fn page(shards: &str, hits: &[String]) -> String {
    format!(
        r#"{{"timed_out":false,"_shards":{shards},"hits":{{"hits":[{}]}}}}"#,
        hits.join(",")
    )
}

const WHOLE: &str = r#"{"total":1,"successful":1,"skipped":0,"failed":0}"#;

#[tokio::test]
async fn reads_are_repeated_while_the_cluster_is_busy_and_then_given_up() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let config = server(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => json(
            429,
            r#"{"error":{"type":"circuit_breaking_exception","reason":"hot"}}"#,
        ),
        1 => json(503, ""),
        2 => json(200, r#"{"version":17}"#),
        _ => json(504, ""),
    })
    .await;
    let cluster = client(&config);
    assert_eq!(cluster.state_version().await.expect("the third attempt"), 17);
    let error = cluster.state_version().await.expect_err("never");
    assert_eq!((error.kind, error.status()), (ErrorKind::Unknown, Some(504)));
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn writes_are_sent_once() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let config = server(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        json(
            503,
            r#"{"error":{"type":"cluster_block_exception","reason":"no master"}}"#,
        )
    })
    .await;
    let op = doc("a", b"{}");
    let error = client(&config)
        .bulk(&index(), &[BulkItem::Index { op: &op }], "t")
        .await
        .expect_err("busy");
    assert!(error.kind == ErrorKind::Server && error.is_transient(), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_listening_is_told_from_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let cluster = client(&ClusterConfig::new(format!("http://{address}")));
    let error = cluster.state_version().await.expect_err("nobody");
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(std::error::Error::source(&error).is_some());

    let mut config = server(|_| None).await;
    config.timeouts.read = Duration::from_millis(50);
    config.timeouts.bulk = Duration::from_millis(50);
    let error = client(&config).state_version().await.expect_err("silence");
    assert_eq!(error.kind, ErrorKind::Unknown, "{error}");
    let op = doc("a", b"{}");
    let error = client(&config)
        .bulk(&index(), &[BulkItem::Index { op: &op }], "t")
        .await
        .expect_err("silence");
    assert_eq!(error.kind, ErrorKind::Unknown, "{error}");
}

/// An answer that breaks off after a bulk was carried out.
#[tokio::test]
async fn a_broken_answer_leaves_the_outcome_unknown() {
    let config = server(|_| {
        Some(
            Response::builder()
                .header("content-length", "100")
                .body(Body::from("{"))
                .expect("ok"),
        )
    })
    .await;
    let op = doc("a", b"{}");
    let error = client(&config)
        .bulk(&index(), &[BulkItem::Index { op: &op }], "t")
        .await
        .expect_err("cut");
    assert_eq!(error.kind, ErrorKind::Unknown, "{error}");
}

#[tokio::test]
async fn answers_beyond_the_limit_are_refused_whether_their_length_is_told_or_not() {
    for told in [true, false] {
        let config = server(move |asked| {
            if asked.is("GET", "/") {
                return json(200, GREETING);
            }
            let body = page(
                WHOLE,
                &[hit(5, &format!("{{\"a\":\"{}\"}}", "x".repeat(5_000)), "")],
            );
            if told {
                return json(200, body);
            }
            let chunks: Vec<std::io::Result<Bytes>> = body
                .as_bytes()
                .chunks(100)
                .map(|c| Ok(Bytes::copy_from_slice(c)))
                .collect();
            let stream = futures_stream(chunks);
            Some(Response::new(Body::from_stream(stream)))
        })
        .await;
        let target = target(None);
        let cluster = client(&config);
        let error = cluster
            .read_page(&PageQuery {
                max_bytes: 5_000,
                ..query(&target)
            })
            .await
            .expect_err("large");
        assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        let page = cluster
            .read_page(&PageQuery {
                max_bytes: 5_500,
                ..query(&target)
            })
            .await
            .expect("fits");
        assert!(page.ops.len() == 1 && page.body_bytes > 5_000 && !page.full);
    }
}

fn futures_stream(
    chunks: Vec<std::io::Result<Bytes>>,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::iter(chunks)
}

#[tokio::test]
async fn who_the_cluster_is_is_asked_until_it_is_known_and_then_remembered() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let config = server(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => json(200, OLD_GREETING.replace("\"u\"", "\"_na_\"")),
        _ => json(200, OLD_GREETING),
    })
    .await;
    let cluster = client(&config);
    assert_eq!(
        cluster.identity().await.expect_err("forming").kind,
        ErrorKind::Incomplete
    );
    for _ in 0..3 {
        let identity = cluster.clone().identity().await.expect("identity");
        assert_eq!(
            (identity.engine, identity.version.to_string()),
            (Engine::Elasticsearch, "7.10.2".into())
        );
        assert_eq!((identity.name.as_str(), identity.uuid.as_str()), ("c", "u"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn how_the_cluster_is_is_asked_each_time() {
    let times = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&times);
    let config = server(move |request| {
        assert!(request.is("GET", "/_cluster/health"), "{}", request.uri);
        let status = ["green", "red"][asked.fetch_add(1, Ordering::Relaxed) as usize % 2];
        let health = format!(r#"{{"status":"{status}","number_of_nodes":3,"unassigned_shards":0}}"#);
        json(200, health)
    })
    .await;
    let cluster = client(&config);
    for status in ["green", "red"] {
        let health = cluster.health().await.expect("health");
        assert_eq!((health.status.as_str(), health.nodes), (status, 3));
    }
}

#[tokio::test]
async fn unsupported_and_unknown_servers_are_refused_with_a_reason() {
    let six = server(|_| json(200, OLD_GREETING.replace("7.10.2", "6.8.23"))).await;
    let error = client(&six).identity().await.expect_err("old");
    assert!(
        error.kind == ErrorKind::Unsupported && error.to_string().contains("6.8.23"),
        "{error}"
    );
    let web = server(|_| json(200, "<html>hello</html>")).await;
    assert_eq!(
        client(&web).identity().await.expect_err("a web server").kind,
        ErrorKind::Protocol
    );
    let moved = server(|_| json(301, "")).await;
    assert_eq!(
        client(&moved).identity().await.expect_err("a redirect").kind,
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn an_opensearch_that_pretends_to_be_7_10_is_asked_again() {
    let config = server(|asked| {
        if asked.is("GET", "/_nodes/_local") {
            json(200, r#"{"nodes":{"x":{"version":"1.3.20"}}}"#)
        } else {
            json(200, GREETING.replace("2.19.1", "7.10.2"))
        }
    })
    .await;
    let identity = client(&config).identity().await.expect("identity");
    assert_eq!(
        (identity.engine, identity.version.to_string()),
        (Engine::OpenSearch, "1.3.20".into())
    );
}

/// As the small zip of Elasticsearch 8.
#[tokio::test]
async fn an_elasticsearch_without_a_root_page_is_known_by_its_state() {
    let config = server(|asked| {
        if asked.is("GET", "/_nodes/_local") {
            json(200, r#"{"nodes":{"x":{"version":"8.19.21"}}}"#)
        } else if asked.is("GET", "/_cluster/state/version") {
            json(200, r#"{"cluster_name":"c","cluster_uuid":"u"}"#)
        } else {
            json(405, r#"{"error":"Incorrect HTTP method for uri [/] and method [GET], allowed: [DELETE]","status":405}"#)
        }
    })
    .await;
    let identity = client(&config).identity().await.expect("identity");
    assert_eq!(
        (identity.engine, identity.version.to_string()),
        (Engine::Elasticsearch, "8.19.21".into())
    );
    assert_eq!(identity.uuid.as_str(), "u");
}

#[tokio::test]
async fn credentials_are_sent_and_their_refusal_is_told() {
    let config = server(|asked| match asked.header("authorization") {
        Some("Basic dTpw") => json(200, r#"{"version":1}"#),
        Some("ApiKey key==") => json(200, r#"{"version":2}"#),
        Some(_) => json(403, r#"{"error":{"type":"security_exception","reason":"no"}}"#),
        None => json(
            401,
            r#"{"error":{"type":"security_exception","reason":"missing"}}"#,
        ),
    })
    .await;
    let with = |auth| {
        client(&ClusterConfig {
            auth,
            ..config.clone()
        })
    };
    let basic = |password: &str| Auth::Basic {
        username: "u".into(),
        password: password.into(),
    };
    assert_eq!(with(basic("p")).state_version().await.expect("basic"), 1);
    assert_eq!(
        with(Auth::ApiKey("key==".into()))
            .state_version()
            .await
            .expect("key"),
        2
    );
    assert_eq!(
        with(Auth::None).state_version().await.expect_err("none").kind,
        ErrorKind::Unauthorized
    );
    let error = with(basic("sesame")).state_version().await.expect_err("wrong");
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(!format!("{error} {error:?}").contains("sesame") && !error.is_transient());
    let error = with(Auth::ApiKey("ses\name".into()))
        .state_version()
        .await
        .expect_err("no header");
    assert!(
        error.kind == ErrorKind::Config && !format!("{error:?}").contains("name\""),
        "{error:?}"
    );
}

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
        let config = server(move |asked| {
            json(
                200,
                if asked.is("GET", "/") {
                    GREETING.into()
                } else {
                    page(shards, &[])
                },
            )
        })
        .await;
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
    let config = server(move |asked| {
        json(
            200,
            if asked.is("GET", "/") {
                GREETING.to_owned()
            } else {
                late.clone()
            },
        )
    })
    .await;
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
        let config = server(move |asked| {
            json(
                200,
                if asked.is("GET", "/") {
                    GREETING.to_owned()
                } else {
                    body.clone()
                },
            )
        })
        .await;
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

#[tokio::test]
async fn every_item_of_a_bulk_is_judged_by_itself() {
    let config = server(|asked| {
        assert!(asked.is("POST", "/i/_bulk") && asked.uri.contains("pipeline=_none"));
        assert_eq!(asked.header("x-opaque-id"), Some("lane-3"));
        assert_eq!(asked.header("content-type"), Some("application/x-ndjson"));
        json(
            200,
            r#"{"items":[{"index":{"status":201}},{"index":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"c"}}},
            {"delete":{"status":404}},{"delete":{"status":200}},{"delete":{"status":404,"error":{"type":"index_not_found_exception","reason":"n"}}},
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
            ItemOutcome::Applied,
            ItemOutcome::Conflict,
            ItemOutcome::Applied,
            ItemOutcome::Applied,
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
    let config = server(|asked| json(201, format!(r#"{{"uri":"{}"}}"#, asked.uri))).await;
    let cluster = client(&config);
    for id in [".", "..", "a/b", "%2e", "é😀 ?#&+", "...", "_create"] {
        let outcome = cluster
            .put_document(&index(), &doc(id, b"{\n}"), "t")
            .await
            .expect("put");
        assert_eq!(outcome, ItemOutcome::Applied);
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
        0 => json(200, r#"{"tasks":[{"action":"indices:data/write/bulk[s]","headers":{"X-Opaque-Id":"mine"}}],"node_failures":[{"type":"f","reason":"x"}]}"#),
        1 => json(200, r#"{"tasks":[{"headers":{}}],"node_failures":[{"type":"failed_node_exception","reason":"x"}]}"#),
        _ => json(200, r#"{"tasks":[{"headers":{"X-Opaque-Id":"other"}}]}"#),
    })
    .await;
    let cluster = client(&config);
    assert!(cluster.bulk_running(&["mine"]).await.expect("seen"));
    assert_eq!(
        cluster.bulk_running(&["mine"]).await.expect_err("open").kind,
        ErrorKind::Incomplete
    );
    assert!(!cluster.bulk_running(&["mine"]).await.expect("gone"));
}

/// A description that changes while it is read is read again.
#[tokio::test]
async fn descriptions_are_of_one_moment() {
    let reads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&reads);
    let config = server(move |asked| {
        let mapping_reads = counted.load(Ordering::SeqCst);
        // The mapping moves on right after it was read for the first time.
        let version = if mapping_reads == 0 { 3 } else { 4 };
        match asked.uri.split('?').next().unwrap_or_default() {
            "/_cluster/state/metadata,version,blocks/i" => json(
                200,
                format!(
                    r#"{{"version":{},"metadata":{{"indices":{{"i":{{"mapping_version":{version},"settings_version":1,"aliases_version":1,"state":"open",
                    "routing_num_shards":1024,"settings":{{"index":{{"uuid":"U","number_of_shards":"1"}}}},"primary_terms":{{"0":2}}}}}}}}}}"#,
                    version + 10
                ),
            ),
            "/_cluster/state/version" => json(200, r#"{"version":14}"#),
            "/i/_mapping" => {
                counted.fetch_add(1, Ordering::SeqCst);
                json(200, format!(r#"{{"i":{{"mappings":{{"n": {version}.0 }}}}}}"#))
            }
            "/i/_settings" => json(200, r#"{"i":{"settings":{"index.refresh_interval":"1s"}}}"#),
            "/i/_alias" => json(200, r#"{"i":{"aliases":{}}}"#),
            other => panic!("{other}"),
        }
    })
    .await;
    let description = client(&config)
        .describe(&index())
        .await
        .expect("describe")
        .expect("there");
    assert_eq!(description.mapping.get(), r#"{"n": 4.0 }"#);
    assert_eq!(
        (
            description.state.versions.mapping,
            description.state.state_version
        ),
        (4, 14)
    );
    assert_eq!(reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn statistics_are_of_started_primaries_and_asked_in_portions() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let config = server(move |asked| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(asked.uri.len() < 4_000, "the engines' limit");
        let copy = |state: &str, primary: bool, max: i64| {
            format!(
                r#"{{"routing":{{"state":"{state}","primary":{primary},"node":"n"}},"seq_no":{{"max_seq_no":{max},"local_checkpoint":{max},"global_checkpoint":-2}},
                "commit":{{"user_data":{{"history_uuid":"h"}}}},"refresh":{{"total":9}}}}"#
            )
        };
        json(
            200,
            format!(
                r#"{{"indices":{{"alias-of":{{"uuid":"x","shards":{{}}}},"index-with-a-long-name-0":{{"uuid":"U","shards":{{"0":[{},{},{}],"1":[{}]}}}}}}}}"#,
                copy("STARTED", false, 7),
                copy("INITIALIZING", true, 3),
                copy("RELOCATING", true, 8),
                copy("INITIALIZING", true, 0),
            ),
        )
    })
    .await;
    let names: Vec<_> = (0..500)
        .map(|n| IndexName::new(format!("index-with-a-long-name-{n}")))
        .collect();
    let stats = client(&config).seq_stats(&names).await.expect("stats");
    assert_eq!(stats.len(), 1);
    let shards = &stats[&names[0]].shards;
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[&ShardId(0)].max_seq_no, Checkpoint::new(8));
    assert_eq!(shards[&ShardId(0)].global_checkpoint.0, Checkpoint::NONE);
    assert_eq!(shards[&ShardId(0)].refreshes, 9);
    assert!(calls.load(Ordering::SeqCst) > 1);
    assert!(client(&config).seq_stats(&[]).await.expect("none").is_empty());
}

#[tokio::test]
async fn names_that_mean_more_than_one_index_are_never_sent() {
    let config = server(|asked| panic!("{}", asked.uri)).await;
    let cluster = client(&config);
    for name in ["*", "_all", "a,b", "", "-a"] {
        let name = IndexName::from(name);
        assert_eq!(
            cluster.delete_index(&name).await.expect_err("refused").kind,
            ErrorKind::BadRequest
        );
        assert_eq!(
            cluster.close_index(&name).await.expect_err("refused").kind,
            ErrorKind::BadRequest
        );
    }
}

#[test]
fn unusable_configuration_is_refused_before_anything_is_sent() {
    for url in [
        "",
        "127.0.0.1:9200",
        "ftp://h",
        "http://user:sesame@h:9200",
        "http://h/?x=1",
    ] {
        let error = Cluster::new(&ClusterConfig::new(url)).expect_err(url);
        assert_eq!(error.kind, ErrorKind::Config, "{url}");
        assert!(!format!("{error} {error:?}").contains("sesame"));
    }
    assert_eq!(
        client(&ClusterConfig::new("http://h:9200/prefix/")).url(),
        "http://h:9200/prefix"
    );
    let config = ClusterConfig {
        ca_pem: Some(b"no PEM".to_vec()),
        ..ClusterConfig::new("https://h")
    };
    assert_eq!(Cluster::new(&config).expect_err("no CA").kind, ErrorKind::Config);
    let cert = ClientCert {
        cert_pem: b"x".to_vec(),
        key_pem: "sesame".into(),
    };
    let config = ClusterConfig {
        client_cert: Some(cert),
        ..ClusterConfig::new("http://h")
    };
    let error = Cluster::new(&config).expect_err("no certificate");
    assert!(!format!("{error} {error:?}").contains("sesame"));
}
