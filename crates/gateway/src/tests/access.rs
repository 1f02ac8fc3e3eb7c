//! Who gets through, who does not, and what is written down about it.

use axum::extract::ConnectInfo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipstream_cluster::{Cluster, ClusterConfig};
use slipstream_model::Pattern;
use slipstream_wire::identity::Identity;

use super::*;
use crate::access::Peer;

const START: &str = "/_plugins/_replication/f2/_start";
const BODY: &str = r#"{"leader_alias":"conn1","leader_index":"leader-01"}"#;

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn allow(whom: Whom, role: Role, indices: Option<&str>) -> AllowRule {
    AllowRule {
        whom,
        role,
        indices: indices.map(|pattern| vec![Pattern::new(pattern)]),
    }
}

fn user(name: &str, role: Role, indices: Option<&str>) -> AllowRule {
    allow(Whom::User(name.to_owned()), role, indices)
}

fn access(authority: Authority, allow: Vec<AllowRule>, users: Users) -> AccessConfig {
    AccessConfig {
        authority,
        rules: AccessRules { allow, users },
        audit_file: None,
        this_host_only: false,
    }
}

/// `vera` may look, `otto` operate `f*`, `ada` everything, `nina` nothing; each one's password is the name.
fn static_users() -> AccessConfig {
    static FILE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let line = |name: &str| format!("{name}:{}\n", crate::access::hash(name, 10_000).unwrap());
        ["vera", "otto", "ada", "nina"].map(line).concat()
    });
    let rules = vec![
        user("vera", Role::View, None),
        user("otto", Role::Operate, Some("f*")),
        user("ada", Role::Administer, None),
    ];
    access(Authority::Users, rules, Users::parse(&FILE).unwrap())
}

/// Sends with these headers; status, answer, and the way that a 401 names to authenticate.
async fn send(
    bench: &Bench,
    method: &str,
    uri: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> (u16, Value, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    answered(bench, request).await
}

async fn answered(bench: &Bench, request: Request<Body>) -> (u16, Value, String) {
    let response = bench.answer(request).await;
    let status = response.status().as_u16();
    let scheme = response.headers().get(header::WWW_AUTHENTICATE);
    let scheme = scheme.map_or_else(String::new, |value| value.to_str().unwrap().to_owned());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
        scheme,
    )
}

async fn status_for(bench: &Bench, name: &str, method: &str, uri: &str, body: &str) -> u16 {
    send(bench, method, uri, body, &[("authorization", &basic(name, name))])
        .await
        .0
}

#[tokio::test]
async fn users_may_what_their_role_says_and_no_more() {
    let bench = Bench::with(None, Access::new(static_users()).unwrap());
    let settings = r#"{"persistent":{"cluster.remote.x.seeds":"127.0.0.1:9"}}"#;
    let rule = r#"{"leader_alias":"conn1","name":"r","pattern":"logs-*"}"#;
    let other = START.replace("f2", "g2");
    for (method, uri, body, vera, otto, ada, nina) in [
        ("GET", "/healthz", "", 200, 200, 200, 200),
        ("GET", "/metrics", "", 200, 200, 200, 403),
        ("GET", "/_slipstream/v1/indices", "", 200, 200, 200, 403),
        (
            "GET",
            "/_opendistro/_replication/f1/_status",
            "",
            200,
            200,
            200,
            403,
        ),
        ("PUT", START, BODY, 403, 200, 200, 403),
        ("PUT", other.as_str(), BODY, 403, 403, 200, 403),
        (
            "POST",
            "/_plugins/_replication/_autofollow",
            rule,
            403,
            403,
            200,
            403,
        ),
        ("PUT", "/_cluster/settings", settings, 403, 403, 200, 403),
        ("GET", "/other/_search", "", 404, 404, 404, 403),
        ("PUT", "/other/_doc/1", "{}", 403, 403, 404, 403),
        ("POST", "/other/_search", "{}", 404, 404, 404, 403),
        ("POST", "/other/_doc/_search", "{}", 403, 403, 404, 403),
    ] {
        for (name, expected) in [("vera", vera), ("otto", otto), ("ada", ada), ("nina", nina)] {
            let found = status_for(&bench, name, method, uri, body).await;
            assert_eq!(found, expected, "{name}: {method} {uri}");
        }
    }
    let (_, answer, _) = send(
        &bench,
        "PUT",
        START,
        BODY,
        &[("authorization", &basic("vera", "vera"))],
    )
    .await;
    assert_eq!(
        answer["error"],
        json!({
            "root_cause": [{"type": "security_exception", "reason": answer["error"]["reason"]}],
            "type": "security_exception",
            "reason": "no permissions for [indices:admin/plugins/replication/index/start] and User [name=vera, \
                       backend_roles=[], requestedTenant=null]"
        })
    );
}

#[tokio::test]
async fn without_credentials_or_with_wrong_ones_nothing_is_told_or_done() {
    let bench = Bench::with(None, Access::new(static_users()).unwrap());
    let wrong = basic("ada", "wrong");
    let nobody = basic("nobody", "ada");
    for (headers, reason) in [
        (vec![], "missing authentication credentials for REST request ["),
        (
            vec![("authorization", wrong.as_str())],
            "unable to authenticate user [ada] for REST request [",
        ),
        (
            vec![("authorization", nobody.as_str())],
            "unable to authenticate user [nobody] for REST request [",
        ),
        (
            vec![("authorization", "Bearer x")],
            "unable to authenticate for REST request [",
        ),
    ] {
        for (method, uri) in [
            ("PUT", START),
            ("GET", "/"),
            ("GET", "/metrics"),
            ("PUT", "/f1/_doc/1"),
            ("DELETE", "/"),
        ] {
            let (status, answer, scheme) = send(&bench, method, uri, BODY, &headers).await;
            assert_eq!(
                (status, answer["error"]["type"].as_str()),
                (401, Some("security_exception")),
                "{method} {uri}"
            );
            assert!(scheme.starts_with("Basic realm="), "{scheme}");
            let said = answer["error"]["reason"].as_str().unwrap();
            assert!(said.starts_with(reason), "{said}");
        }
    }
    assert!(bench.notes().is_empty());
    assert_eq!(send(&bench, "GET", "/healthz", "", &[]).await.0, 200);
    assert_eq!(send(&bench, "GET", "/readyz", "", &[]).await.0, 200);
    bench.shutdown.cancel();
    let (status, said, _) = send(&bench, "GET", "/readyz", "", &[]).await;
    assert_eq!((status, said), (503, json!("not ready\n")), "and not why");
}

#[tokio::test]
async fn the_gateways_own_passwords_never_reach_the_target() {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&noted);
    let serve = move |headers: axum::http::HeaderMap| async move {
        notes
            .lock()
            .unwrap()
            .push(headers.contains_key(header::AUTHORIZATION));
        axum::Json(json!({"persistent": {}, "transient": {}}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(serve)).await });
    let bench = Bench::with(Some(proxy), Access::new(static_users()).unwrap());
    for (method, uri) in [
        ("GET", "/other/_search"),
        ("PUT", "/other/_doc/1"),
        ("GET", "/_cluster/settings"),
        ("GET", "/"),
    ] {
        assert_eq!(
            status_for(&bench, "ada", method, uri, "{}").await,
            200,
            "{method} {uri}"
        );
    }
    let noted = noted.lock().unwrap();
    assert!(noted.len() >= 4 && noted.iter().all(|shown| !shown), "{noted:?}");
}

#[tokio::test]
async fn certificates_are_people_too() {
    let rules = vec![allow(
        Whom::Identity(Identity::new("prometheus.example")),
        Role::View,
        None,
    )];
    let bench = Bench::with(
        None,
        Access::new(access(Authority::Certificates, rules, Users::default())).unwrap(),
    );
    let from = |names: &[&str], method: &str, uri: &str| {
        let peer = Peer {
            address: "192.0.2.1:5000".parse().unwrap(),
            identities: names.iter().map(|name| Identity::new(name)).collect(),
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .extension(ConnectInfo(peer));
        request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(BODY))
            .unwrap()
    };
    let known = &["other.example", "Prometheus.example"];
    assert_eq!(answered(&bench, from(known, "GET", "/metrics")).await.0, 200);
    let (status, answer, _) = answered(&bench, from(known, "PUT", START)).await;
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(
        status == 403 && reason.contains("User [name=prometheus.example,"),
        "{status} {reason}"
    );
    assert_eq!(
        answered(&bench, from(&["stranger.example"], "GET", "/metrics"))
            .await
            .0,
        403
    );
    let (status, _, scheme) = answered(&bench, from(&[], "GET", "/metrics")).await;
    assert_eq!((status, scheme.as_str()), (401, ""), "a password is no way in");
}

/// A target with OpenSearch's security, which notes who it was asked about.
async fn secured() -> (TargetSecurity, Arc<Mutex<Vec<String>>>) {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&noted);
    let serve = move |uri: Uri, headers: axum::http::HeaderMap| async move {
        if uri.path() == "/" {
            let version = json!({"number": "2.19.1", "distribution": "opensearch"});
            return axum::Json(json!({"cluster_name": "c", "cluster_uuid": "u", "version": version}))
                .into_response();
        }
        let shown = headers
            .get(header::AUTHORIZATION)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        notes.lock().unwrap().push(shown.clone());
        let known = |name: &str, role: &str| {
            let user = format!("User [name={name}, backend_roles=[b], requestedTenant=null]");
            axum::Json(json!({"user": user, "user_name": name, "roles": [role, "own_index"]})).into_response()
        };
        if shown == basic("testuser", "t") {
            known("testuser", "cross_cluster_replication_follower_full_access")
        } else if shown == "ApiKey a2V5" {
            known("automation", "cross_cluster_replication_follower_full_access")
        } else if shown == "Bearer dG9rZW4=" {
            known("dashboards", "readall_and_monitor")
        } else if shown == basic("other", "o") {
            known("other", "some_role")
        } else {
            (StatusCode::UNAUTHORIZED, "Unauthorized").into_response()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = Cluster::new(&ClusterConfig::new(format!(
        "http://{}",
        listener.local_addr().unwrap()
    )))
    .unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(serve)).await });
    (TargetSecurity::new(cluster.clone(), cluster), noted)
}

#[tokio::test]
async fn the_target_is_asked_who_somebody_is_once_in_a_while() {
    let (target, asked) = secured().await;
    let bench = Bench::with(
        None,
        Access::new(access(Authority::Target(target), Vec::new(), Users::default())).unwrap(),
    );
    let testuser = basic("testuser", "t");
    for _ in 0..3 {
        assert_eq!(
            send(&bench, "PUT", START, BODY, &[("authorization", &testuser)])
                .await
                .0,
            200
        );
    }
    assert_eq!(asked.lock().unwrap().len(), 1, "a verdict is kept for a moment");
    let other = basic("other", "o");
    let (status, answer, _) = send(&bench, "PUT", START, BODY, &[("authorization", &other)]).await;
    assert_eq!(
        (status, answer["error"]["reason"].as_str().unwrap()),
        (
            403,
            "no permissions for [indices:admin/plugins/replication/index/start] and User [name=other, backend_roles=[b], requestedTenant=null]"
        )
    );
    let wrong = basic("testuser", "x");
    assert_eq!(
        send(&bench, "PUT", START, BODY, &[("authorization", &wrong)])
            .await
            .0,
        401
    );
    assert_eq!(send(&bench, "PUT", START, BODY, &[]).await.0, 401);
    assert_eq!(bench.notes().len(), 3);
}

#[tokio::test]
async fn api_keys_and_tokens_are_shown_to_the_target_as_they_came() {
    let (target, asked) = secured().await;
    let config = access(Authority::Target(target), Vec::new(), Users::default());
    let bench = Bench::with(None, Access::new(config).unwrap());
    for (shown, look, operate) in [
        ("ApiKey a2V5", 200, 200),
        ("Bearer dG9rZW4=", 200, 403),
        ("ApiKey bm9uZQ==", 401, 401),
        ("Bearer ", 401, 401),
        ("Negotiate x", 401, 401),
    ] {
        let headers = [("authorization", shown)];
        let (status, ..) = send(&bench, "GET", "/_slipstream/v1/indices", "", &headers).await;
        assert_eq!(status, look, "{shown}");
        let (status, ..) = send(&bench, "PUT", START, BODY, &headers).await;
        assert_eq!(status, operate, "{shown}");
        assert_eq!(
            asked.lock().unwrap().drain(..).collect::<Vec<_>>(),
            [shown.trim_end()]
        );
    }
    assert_eq!(bench.notes().len(), 1);
}

#[tokio::test]
async fn rules_may_name_the_targets_roles_and_change_while_serving() {
    let (target, _) = secured().await;
    let rule = allow(
        Whom::TargetRole("some_role".to_owned()),
        Role::Operate,
        Some("g*"),
    );
    let access = Access::new(access(Authority::Target(target), vec![rule], Users::default())).unwrap();
    let bench = Bench::with(None, access.clone());
    let other = basic("other", "o");
    let start = async |index: &str| {
        send(
            &bench,
            "PUT",
            &START.replace("f2", index),
            BODY,
            &[("authorization", &other)],
        )
        .await
        .0
    };
    assert_eq!((start("g2").await, start("f2").await), (200, 403));
    let testuser = basic("testuser", "t");
    let (status, ..) = send(&bench, "PUT", START, BODY, &[("authorization", &testuser)]).await;
    assert_eq!(
        status, 403,
        "rules that name roles take the place of the stock ones"
    );
    access.reload(AccessRules::default());
    assert_eq!(start("g2").await, 403);
}

#[tokio::test]
async fn a_target_that_cannot_tell_is_no_way_in() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let cluster = Cluster::new(&ClusterConfig::new(format!("http://{gone}"))).unwrap();
    let target = TargetSecurity::new(cluster.clone(), cluster);
    let bench = Bench::with(
        None,
        Access::new(access(Authority::Target(target), Vec::new(), Users::default())).unwrap(),
    );
    let (status, answer, _) = send(&bench, "PUT", START, BODY, &[("authorization", "Basic YTpi")]).await;
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(
        status == 503 && reason.contains("the target cannot tell who you are"),
        "{status} {reason}"
    );
}

#[tokio::test]
async fn other_peoples_pages_change_nothing() {
    let bench = Bench::new(None);
    let stop = "/_plugins/_replication/f1/_stop";
    for headers in [
        &[("host", "127.0.0.1:9710"), ("origin", "http://evil.example")][..],
        &[("host", "127.0.0.1:9710"), ("sec-fetch-site", "cross-site")],
        &[("host", "127.0.0.1:9710"), ("origin", "null")],
    ] {
        let (status, answer, _) = send(&bench, "POST", stop, "{}", headers).await;
        assert_eq!(
            (status, answer["error"]["type"].as_str()),
            (403, Some("security_exception"))
        );
        assert_eq!(
            send(&bench, "DELETE", "/other", "", headers).await.0,
            403,
            "nor past us"
        );
        assert_eq!(
            send(&bench, "GET", "/_slipstream/v1/indices", "", headers)
                .await
                .0,
            200
        );
    }
    assert!(bench.notes().is_empty());
    let ours = [
        ("host", "127.0.0.1:9710"),
        ("origin", "http://127.0.0.1:9710"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(send(&bench, "POST", stop, "{}", &ours).await.0, 200);
}

#[tokio::test]
async fn without_users_only_names_of_this_host_lead_here() {
    let mut config = access(Authority::Nobody, Vec::new(), Users::default());
    config.this_host_only = true;
    let bench = Bench::with(None, Access::new(config).unwrap());
    let get = async |host: &str| send(&bench, "GET", "/_slipstream/v1/indices", "", &[("host", host)]).await;
    for host in ["localhost:9710", "127.0.0.1:9710", "[::1]:9710"] {
        assert_eq!(get(host).await.0, 200, "{host}");
    }
    let (status, answer, _) = get("evil.example:9710").await;
    assert_eq!(status, 403);
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("[evil.example:9710]") && reason.contains("trust_network"),
        "{reason}"
    );
}

#[tokio::test]
async fn every_change_is_written_down_with_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut config = static_users();
    config.audit_file = Some(path.clone());
    let bench = Bench::with(None, Access::new(config).unwrap());
    for (name, uri, body) in [
        ("otto", START, BODY),
        (
            "otto",
            "/_plugins/_replication/f9/_start",
            r#"{"leader_alias":"nope","leader_index":"a"}"#,
        ),
        ("vera", START, BODY),
        ("vera", "/_plugins/_replication/f9/_start", "nonsense"),
    ] {
        status_for(&bench, name, "PUT", uri, body).await;
    }
    status_for(&bench, "vera", "GET", "/_slipstream/v1/indices", "").await;
    let text = std::fs::read_to_string(&path).unwrap();
    let found: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            json!([
                line["who"],
                line["index"],
                line["status"],
                line["outcome"],
                line["request"]["leader_alias"]
            ])
        })
        .collect();
    assert_eq!(
        found,
        [
            json!(["otto", "f2", 200, "done", "conn1"]),
            json!(["otto", "f9", 404, "refused", "nope"]),
            json!(["vera", "f2", 403, "denied", null]),
            json!(["vera", "f9", 403, "denied", null]),
        ]
    );
    assert!(text.contains("no such remote cluster: [nope]"), "{text}");
    assert!(!text.contains("Basic"), "{text}");
}
