//! Servers that answer late, too much, half, or not at all.

use super::*;

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
