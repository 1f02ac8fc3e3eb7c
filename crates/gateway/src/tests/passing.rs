//! What passes to the target, and what does not.

use super::*;

/// A target that notes what reaches it; `al` is an alias of `f1` there, and only the caller may ask.
async fn target() -> (Proxy, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&notes);
    let serve = move |method: Method, uri: Uri, headers: axum::http::HeaderMap, body: String| async move {
        if headers
            .get(header::AUTHORIZATION)
            .is_none_or(|given| given != "Basic caller")
        {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        answer(&noted, &method, &uri, &body)
    };
    let router = axum::Router::new().fallback(serve);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (proxy, notes)
}

fn answer(notes: &Mutex<Vec<String>>, method: &Method, uri: &Uri, body: &str) -> Response {
    let path = uri.path();
    if path.ends_with("/_alias") {
        let f1 = json!({"f1": {"aliases": {"al": {}}}, "other": {"aliases": {}}});
        return axum::Json(if path.contains("al/") {
            f1
        } else {
            json!({"other": {"aliases": {}}})
        })
        .into_response();
    }
    notes.lock().unwrap().push(format!("{method} {uri} {body}"));
    let items: Vec<Value> = body
        .lines()
        .filter(|l| l.contains("_index"))
        .map(|_| json!({"index": {"status": 201}}))
        .collect();
    let answer = match path {
        "/_bulk" => json!({"took": 1, "errors": false, "items": items}),
        "/_cluster/settings" => {
            json!({"acknowledged": true, "persistent": {"a": {"b": "1"}}, "transient": {}})
        }
        _ => json!({"passed": true}),
    };
    axum::Json(answer).into_response()
}

#[tokio::test]
async fn with_the_proxy_everything_passes_but_writes_to_followers() {
    let (proxy, notes) = target().await;
    let bench = Bench::new(Some(proxy));
    for (method, path, body) in [
        ("GET", "/f1/_search?q=a%20b", ""),
        ("POST", "/f1/_search", "{}"),
        ("PUT", "/other/_doc/1?refresh=true", r#"{"v": 1.0}"#),
    ] {
        assert_eq!(
            bench.send(method, path, body).await,
            (200, json!({"passed": true})),
            "{method} {path}"
        );
        assert_eq!(
            notes.lock().unwrap().pop().unwrap(),
            format!("{method} {path} {body}")
        );
    }
    for (method, path, body) in [
        ("PUT", "/f1/_doc/1", "{}"),
        ("PUT", "/al/_doc/1", "{}"),
        ("PUT", "/x/../f1/_doc/1", "{}"),
        ("DELETE", "/other,f*", ""),
        (
            "POST",
            "/_reindex",
            r#"{"source":{"index":"a"},"dest":{"index":"al"}}"#,
        ),
        (
            "POST",
            "/_aliases",
            r#"{"actions":[{"remove_index":{"index":"f1"}}]}"#,
        ),
    ] {
        assert_eq!(bench.refused(method, path, body).await.0, 403, "{method} {path}");
    }
    assert!(notes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bulk_items_for_followers_are_refused_one_by_one() {
    let (proxy, notes) = target().await;
    let bench = Bench::new(Some(proxy));
    let line = |index: &str| format!("{{\"index\":{{\"_index\":\"{index}\"}}}}\n{{\"v\":1.0}}\n");
    let body = [line("f1"), line("other"), line("al")].concat();
    let (status, answer) = bench
        .send("POST", "/_bulk?refresh=true&filter_path=items", &body)
        .await;
    assert_eq!((status, &answer["errors"]), (200, &json!(true)));
    let statuses: Vec<&Value> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["index"]["status"])
        .collect();
    assert_eq!(statuses, [403, 201, 403]);
    assert_eq!(
        notes.lock().unwrap().as_slice(),
        [format!("POST /_bulk?refresh=true {}", line("other"))]
    );
}

#[tokio::test]
async fn with_the_proxy_other_settings_are_the_targets() {
    let (proxy, notes) = target().await;
    let bench = Bench::new(Some(proxy));
    let body = r#"{"persistent":{"cluster.remote.x.seeds":"h:1","a.b":"1"}}"#;
    let (status, answer) = bench.send("PUT", "/_cluster/settings", body).await;
    let joined = json!({"a": {"b": "1"}, "cluster": {"remote": {"x": {"seeds": ["h:1"]}}}});
    assert_eq!((status, &answer["persistent"]), (200, &joined));
    assert_eq!(
        notes.lock().unwrap().pop().unwrap(),
        r#"PUT /_cluster/settings {"persistent":{"a.b":"1"},"transient":{}}"#
    );
}

#[tokio::test]
async fn compressed_bodies_are_understood_and_passed_on_as_what_they_were() {
    use std::io::Write;
    let (proxy, notes) = target().await;
    let bench = Bench::new(Some(proxy));
    let send = async |method: &str, uri: &str, body: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(body.as_bytes()).unwrap();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, "Basic caller")
            .header(header::CONTENT_ENCODING, "gzip")
            .header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(packer.finish().unwrap())).unwrap();
        bench.raw(request).await
    };
    let (status, answer) = send(
        "POST",
        "/_plugins/_replication/f1/_pause",
        r#"{"reason":"packed"}"#,
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(bench.notes(), [r#"pause f1 for Some("packed")"#]);
    let bomb = format!("{{\"reason\":\"{}\"}}", " ".repeat(2 << 20));
    assert_eq!(
        send("POST", "/_plugins/_replication/f1/_pause", &bomb).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );

    let settings = r#"{"persistent":{"cluster.remote.x.seeds":"h:1","a.b":"1"}}"#;
    assert_eq!(
        send("PUT", "/_cluster/settings", settings).await.0,
        StatusCode::OK
    );
    assert_eq!(
        notes.lock().unwrap().pop().unwrap(),
        r#"PUT /_cluster/settings {"persistent":{"a.b":"1"},"transient":{}}"#
    );
    let line = |index: &str| format!("{{\"index\":{{\"_index\":\"{index}\"}}}}\n{{}}\n");
    let (status, answer) = send("POST", "/_bulk", &[line("f1"), line("other")].concat()).await;
    assert!(
        status == StatusCode::OK && answer.contains("cluster_block_exception"),
        "{answer}"
    );
    assert_eq!(
        notes.lock().unwrap().pop().unwrap(),
        format!("POST /_bulk {}", line("other"))
    );
}

#[tokio::test]
async fn a_target_that_is_down_is_said_to_be() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let bench = Bench::new(Some(Proxy::to(&format!("http://{gone}"), None).unwrap()));
    let (status, reason) = bench.refused("GET", "/_cat/indices", "").await;
    assert_eq!(status, 502);
    assert!(reason.contains("does not answer"), "{reason}");
}
