//! Who the cluster is, how it is, and who asks.

use super::*;

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
