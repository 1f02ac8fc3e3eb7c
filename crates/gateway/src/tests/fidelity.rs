//! The way to the target over real connections: what arrives there is what the caller sent, as it sends it, and so is what
//! comes back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(20);
/// Larger than any buffer on the way.
const LARGE: usize = 48 << 20;

/// What the target has seen.
#[derive(Clone, Default)]
struct Seen {
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    /// Bytes of bodies that have arrived so far.
    bytes: Arc<AtomicUsize>,
}

/// A gateway that passes on to a target of these routes.
struct Way {
    gateway: SocketAddr,
    seen: Seen,
    _shutdown: tokio_util::sync::DropGuard,
}

async fn way() -> Way {
    let seen = Seen::default();
    let connections = Arc::clone(&seen.connections);
    let target = axum::Router::new()
        .route("/large", get(large))
        .route("/drip", get(drip))
        .route("/take", post(take))
        .fallback(any(echo))
        .with_state(seen.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counting = axum::serve::ListenerExt::tap_io(listener, move |_| {
        connections.fetch_add(1, Ordering::SeqCst);
    });
    tokio::spawn(async move { axum::serve(counting, target).await });

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let control = Fake {
        leaders: Mutex::default(),
        switches: Mutex::default(),
        notes: Arc::default(),
        phase: Phase::Syncing,
    };
    let config = GatewayConfig {
        proxy: Some(Proxy::to(&format!("http://{address}"), None).unwrap()),
        access: Access::of_this_host(),
        tls: None,
    };
    tokio::spawn(serve(
        listener,
        control,
        config,
        Arc::new(String::new),
        shutdown.clone(),
    ));
    Way {
        gateway,
        seen,
        _shutdown: shutdown.drop_guard(),
    }
}

async fn large() -> Bytes {
    Bytes::from(vec![b'x'; LARGE])
}

/// One piece now, and the other only when the caller has had the first.
async fn drip() -> Body {
    let pieces = ["first\n", "second\n"].into_iter().enumerate();
    Body::from_stream(futures::stream::iter(pieces).then(|(at, piece)| async move {
        if at > 0 {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Ok::<_, Infallible>(piece)
    }))
}

async fn take(State(seen): State<Seen>, body: Body) -> String {
    let mut body = body.into_data_stream();
    let mut total = 0;
    while let Some(Ok(bytes)) = body.next().await {
        total += bytes.len();
        seen.bytes.store(total, Ordering::SeqCst);
    }
    total.to_string()
}

async fn echo(
    State(seen): State<Seen>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path().ends_with("/_alias") {
        // The gateway asks whether the name leads to a following index.
        return axum::Json(json!({})).into_response();
    }
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    seen.heads
        .lock()
        .unwrap()
        .push(format!("{method} {uri}\n{}\n\n{}", lines.join("\n"), body.len()));
    let answer = [
        ("x-elastic-product", "target"),
        ("warning", "299 old"),
        ("content-type", "application/smile"),
    ];
    (StatusCode::IM_A_TEAPOT, answer, body).into_response()
}

/// Sends text as it is, and reads until the connection is closed.
async fn talk(way: &Way, said: &str) -> String {
    let mut stream = TcpStream::connect(way.gateway).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    timeout(SOON, stream.read_to_end(&mut heard))
        .await
        .expect("an end")
        .unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn head_and_body_arrive_as_they_were_sent_and_so_does_the_answer() {
    let way = way().await;
    let said = "PUT /a%2Fb/_doc/%C3%A9?routing=x%20y&pretty HTTP/1.1\r\nHost: localhost:1\r\nAuthorization: ApiKey s3cret\r\n\
        X-Opaque-Id: mine\r\nContent-Encoding: gzip\r\nAccept-Encoding: br\r\nConnection: close\r\nContent-Length: 3\r\n\r\n\x01\x02\x03";
    let heard = talk(&way, said).await;
    assert!(heard.starts_with("HTTP/1.1 418 "), "{heard}");
    for line in [
        "x-elastic-product: target\r\n",
        "warning: 299 old\r\n",
        "content-type: application/smile\r\n",
    ] {
        assert!(heard.contains(line), "{heard}");
    }
    assert!(heard.ends_with("\x01\x02\x03"), "{heard}");
    let head = way.seen.heads.lock().unwrap().pop().unwrap();
    assert!(
        head.starts_with("PUT /a%2Fb/_doc/%C3%A9?routing=x%20y&pretty\n"),
        "{head}"
    );
    for line in [
        "authorization: ApiKey s3cret\n",
        "x-opaque-id: mine\n",
        "content-encoding: gzip\n",
        "accept-encoding: br\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
    assert!(
        !head.contains("host: localhost:1") && !head.contains("close"),
        "{head}"
    );
}

#[tokio::test]
async fn a_request_without_a_body_arrives_without_one() {
    let way = way().await;
    for method in ["GET", "DELETE", "POST"] {
        let said = format!("{method} /a/_count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let heard = talk(&way, &said).await;
        assert!(heard.starts_with("HTTP/1.1 418 "), "{heard}");
        let head = way.seen.heads.lock().unwrap().pop().unwrap();
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
}

#[tokio::test]
async fn a_chunked_body_and_one_that_waits_for_leave_arrive() {
    let way = way().await;
    let said = "POST /take HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
        5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let heard = talk(&way, said).await;
    assert!(
        heard.starts_with("HTTP/1.1 200 ") && heard.contains("11"),
        "{heard}"
    );

    let mut stream = TcpStream::connect(way.gateway).await.unwrap();
    let head = "POST /take HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut leave = [0; 25];
    timeout(SOON, stream.read_exact(&mut leave))
        .await
        .expect("leave to go on")
        .unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut heard = String::new();
    timeout(SOON, stream.read_to_string(&mut heard))
        .await
        .expect("an end")
        .unwrap();
    assert!(
        heard.starts_with("HTTP/1.1 200 ") && heard.ends_with('4'),
        "{heard}"
    );
}

#[tokio::test]
async fn a_question_about_a_head_gets_the_head_alone() {
    let way = way().await;
    let heard = talk(
        &way,
        "HEAD /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    assert!(heard.contains(&format!("content-length: {LARGE}\r\n")), "{heard}");
    assert!(heard.ends_with("\r\n\r\n"), "{heard}");
}

#[tokio::test]
async fn bodies_stream_both_ways_however_large_and_slow() {
    let way = way().await;
    // An answer is handed on while the target is still making it.
    let mut stream = TcpStream::connect(way.gateway).await.unwrap();
    stream
        .write_all(b"GET /drip HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut heard = String::new();
    let begun = tokio::time::Instant::now();
    while !heard.contains("first") {
        let mut piece = [0; 4096];
        let length = timeout(SOON, stream.read(&mut piece))
            .await
            .expect("a piece")
            .unwrap();
        assert!(length > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    assert!(
        !heard.contains("second") && begun.elapsed() < Duration::from_secs(2),
        "{heard}"
    );
    timeout(SOON, stream.read_to_string(&mut heard))
        .await
        .expect("an end")
        .unwrap();
    assert!(heard.contains("second"), "{heard}");

    // A request reaches the target while the caller is still sending it.
    let mut stream = TcpStream::connect(way.gateway).await.unwrap();
    stream
        .write_all(
            b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nfirst",
        )
        .await
        .unwrap();
    let arrived = async {
        while way.seen.bytes.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, arrived)
        .await
        .expect("the first half at the target");
    stream.write_all(b"other").await.unwrap();
    let mut heard = String::new();
    timeout(SOON, stream.read_to_string(&mut heard))
        .await
        .expect("an end")
        .unwrap();
    assert!(heard.ends_with("10"), "{heard}");

    // A caller that reads slowly gets everything of an answer that fits nowhere.
    let mut stream = TcpStream::connect(way.gateway).await.unwrap();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut total, mut piece) = (0, vec![0; 1 << 20]);
    loop {
        let length = timeout(SOON, stream.read(&mut piece))
            .await
            .expect("more")
            .unwrap();
        if length == 0 {
            break;
        }
        total += piece[..length]
            .iter()
            .map(|byte| usize::from(*byte == b'x'))
            .sum::<usize>();
    }
    // The head has no such letter in it.
    assert_eq!(total, LARGE);
}

#[tokio::test]
async fn connections_are_used_again_on_both_sides() {
    let way = way().await;
    let mut stream = TcpStream::connect(way.gateway).await.unwrap();
    for round in 0..20 {
        stream
            .write_all(b"GET /one HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut heard = String::new();
        while !heard.contains("\r\n\r\n") {
            let mut piece = [0; 4096];
            let length = timeout(SOON, stream.read(&mut piece))
                .await
                .expect("an answer")
                .unwrap();
            assert!(length > 0, "round {round}: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        assert!(heard.starts_with("HTTP/1.1 418 "), "{heard}");
    }
    assert_eq!(way.seen.connections.load(Ordering::SeqCst), 1);
}
