//! The surface as a caller sees it: requests go through the router, to an agent and a target that only take notes.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use slipstream_follower::{ControlError, IndexStatus, Leaders, ShardStatus, StartRequest};
use slipstream_model::{IndexName, Phase, Reason};
use tower::ServiceExt;

use super::*;

/// An agent in which `f1` follows `leader-01`.
struct Fake {
    leaders: Mutex<Leaders>,
    notes: Arc<Mutex<Vec<String>>>,
    phase: Phase,
}

fn following(phase: Phase) -> IndexStatus {
    let shard = ShardStatus {
        shard: 0,
        leader_checkpoint: 0,
        follower_checkpoint: 0,
        scanned: 0,
        bootstrap_through: None,
        reader: Some("window".to_owned()),
        lag_seconds: 0.0,
        operations_written: 1,
        bytes_read: 10,
        retries: 0,
    };
    IndexStatus {
        follower_index: "f1".into(),
        leader_alias: "conn1".to_owned(),
        leader_index: "leader-01".into(),
        phase,
        reason: Reason::new(""),
        waiting_for: None,
        started_at_millis: 1,
        shards: vec![shard],
        warnings: Vec::new(),
    }
}

impl Fake {
    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }

    fn known(&self, index: &IndexName) -> Result<(), ControlError> {
        if index.as_str() == "f1" { Ok(()) } else { Err(ControlError::NotReplicating(index.clone())) }
    }
}

#[async_trait]
impl Control for Fake {
    async fn start(&self, request: StartRequest) -> Result<(), ControlError> {
        if !self.leaders.lock().unwrap().contains_key(&request.leader_alias) {
            return Err(ControlError::NoSuchLeader(request.leader_alias));
        }
        if request.follower_index.as_str() == "f1" {
            return Err(ControlError::FollowerExists(request.follower_index));
        }
        if request.leader_index.as_str() == "missing" {
            return Err(ControlError::NoSuchLeaderIndex(request.leader_index));
        }
        self.note(format!(
            "start {} from {}:{} with {:?}",
            request.follower_index, request.leader_alias, request.leader_index, request.overrides
        ));
        Ok(())
    }

    async fn stop(&self, index: &IndexName) -> Result<(), ControlError> {
        self.known(index)?;
        self.note(format!("stop {index}"));
        Ok(())
    }

    async fn pause(&self, index: &IndexName, reason: Option<String>) -> Result<(), ControlError> {
        self.known(index)?;
        self.note(format!("pause {index} for {reason:?}"));
        Ok(())
    }

    async fn resume(&self, index: &IndexName) -> Result<(), ControlError> {
        self.known(index)?;
        Err(ControlError::AlreadyRunning(index.clone()))
    }

    fn status(&self, index: &IndexName) -> Option<IndexStatus> {
        (index.as_str() == "f1").then(|| following(self.phase))
    }

    fn list(&self) -> Vec<IndexStatus> {
        vec![following(self.phase)]
    }

    async fn register_leader(&self, alias: &str, agents: Vec<String>) -> Result<(), ControlError> {
        self.leaders.lock().unwrap().insert(alias.to_owned(), agents);
        Ok(())
    }

    async fn remove_leader(&self, alias: &str) -> Result<(), ControlError> {
        match self.leaders.lock().unwrap().remove(alias) {
            Some(_) => Ok(()),
            None => Err(ControlError::NoSuchLeader(alias.to_owned())),
        }
    }

    fn leaders(&self) -> Leaders {
        self.leaders.lock().unwrap().clone()
    }
}

/// A gateway in front of the fake agent, and what the agent was told.
struct Bench {
    router: axum::Router,
    notes: Arc<Mutex<Vec<String>>>,
    shutdown: CancellationToken,
}

impl Bench {
    fn new(proxy: Option<Proxy>) -> Bench {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let leaders = Mutex::new(Leaders::from([("conn1".to_owned(), vec!["127.0.0.1:1".to_owned()])]));
        let control = Arc::new(Fake { leaders, notes: Arc::clone(&notes), phase: Phase::Syncing });
        let shutdown = CancellationToken::new();
        let gateway = Gateway {
            control,
            proxy,
            metrics: Arc::new(|| "slipstream_up 1\n".to_owned()),
            shutdown: shutdown.clone(),
        };
        Bench { router: routes::router(Arc::new(gateway)), notes, shutdown }
    }

    async fn raw(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn send(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, "Basic caller");
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned()));
        let (status, body) = self.raw(request.unwrap()).await;
        (status.as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Status and reason of a refusal.
    async fn refused(&self, method: &str, uri: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.send(method, uri, body).await;
        let error = &answer["error"];
        (status, error["reason"].as_str().or(error.as_str()).unwrap_or_default().to_owned())
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }
}

#[tokio::test]
async fn both_prefixes_drive_the_agent() {
    let bench = Bench::new(None);
    for (prefix, body) in [
        ("_plugins", r#"{"leader_alias":"conn1","leader_index":"leader-01","settings":{"index":{"number_of_replicas":0}}}"#),
        ("_opendistro", r#"{"remote_cluster":"conn1","remote_index":"leader-01","settings":{"index.number_of_replicas":"0"}}"#),
    ] {
        let base = format!("/{prefix}/_replication");
        let done = (200, json!({"acknowledged": true}));
        assert_eq!(bench.send("PUT", &format!("{base}/f2/_start"), body).await, done);
        assert_eq!(bench.send("POST", &format!("{base}/f1/_pause"), r#"{"reason":"maintenance"}"#).await, done);
        assert_eq!(bench.send("POST", &format!("{base}/f1/_stop"), "{}").await, done);
        assert_eq!(
            bench.notes(),
            [
                r#"start f2 from conn1:leader-01 with {"index.number_of_replicas": String("0")}"#,
                r#"pause f1 for Some("maintenance")"#,
                "stop f1"
            ]
        );
    }
}

#[tokio::test]
async fn mistakes_are_the_callers_and_change_nothing() {
    let bench = Bench::new(None);
    let start = |index: &str| format!(r#"{{"leader_alias":"conn1","leader_index":"{index}"}}"#);
    let base = "/_plugins/_replication";
    for (method, path, body, status, reason) in [
        ("POST", "nope/_stop", "{}", 400, "No replication in progress for index:nope"),
        ("POST", "nope/_pause", "{}", 400, "No replication in progress for index:nope"),
        ("POST", "f1/_resume", "{}", 400, "Replication on Index f1 is already running"),
        ("POST", "f1/_stop", "", 400, "request body or source parameter is required"),
        ("POST", "f1/_pause", r#"{"bogus":1}"#, 400, "[1:2] [PauseReplicationRequestParser] unknown field [bogus]"),
        ("POST", "f1/_resume", r#"{"force_resume":true}"#, 400, "[1:2] [ResumeReplicationRequestParser] unknown field [force_resume]"),
        ("PUT", "f2/_start", r#"{"leader_alias":"no-conn","leader_index":"a"}"#, 404, "no such remote cluster: [no-conn]"),
        ("PUT", "f2/_start", &start("missing"), 404, "no such index [missing]"),
        ("PUT", "f1/_start", &start("a"), 400, "Cant use same index again for replication. Delete the index:f1"),
        ("PUT", "f2/_start?wait_for_restore=maybe", &start("a"), 400, "Failed to parse value [maybe] as only [true] or [false] are allowed."),
        ("PUT", "F2/_start", &start("a"), 400, "Validation Failed: 1: Value F2 must be lowercase;"),
        ("GET", "f1/_status?verbos", "", 400, "request [/_plugins/_replication/f1/_status] contains unrecognized parameter: [verbos]"),
        ("GET", "f1/_stop", "", 405, "Incorrect HTTP method for uri [/_plugins/_replication/f1/_stop] and method [GET], allowed: [POST]"),
        ("GET", "_nothing", "", 400, "no handler found for uri [/_plugins/_replication/_nothing] and method [GET]"),
    ] {
        assert_eq!(bench.refused(method, &format!("{base}/{path}"), body).await, (status, reason.to_owned()), "{method} {path}");
    }
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let bench = Bench::new(None);
    let request = Request::post("/_plugins/_replication/f1/_stop").header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(bench.raw(request.body(Body::from("{}")).unwrap()).await.0, StatusCode::NOT_ACCEPTABLE);
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn waiting_for_restore_answers_once_the_index_follows() {
    let bench = Bench::new(None);
    let body = r#"{"leader_alias":"conn1","leader_index":"a"}"#;
    // The fake knows the status of `f1` only: an index that is gone while one waits is an error, not a wait.
    let (status, reason) = bench.refused("PUT", "/_plugins/_replication/f2/_start?wait_for_restore", body).await;
    assert_eq!((status, reason.as_str()), (400, "No replication in progress for index:f2"));
}

#[tokio::test]
async fn status_tells_of_indices_that_follow_and_that_do_not() {
    let bench = Bench::new(None);
    let none = bench.send("GET", "/_plugins/_replication/never/_status", "").await;
    assert_eq!(none, (200, json!({"status": "REPLICATION NOT IN PROGRESS"})));
    let (_, answer) = bench.send("GET", "/_opendistro/_replication/f1/_status?verbose=true", "").await;
    assert_eq!(answer["syncing_details"], json!({"leader_checkpoint": 0, "follower_checkpoint": 0, "seq_no": 1}));
    assert_eq!(answer["shard_replication_details"][0]["shard_id"], "[f1][0]");
    let request = Request::get("/_plugins/_replication/never/_status?pretty").body(Body::empty()).unwrap();
    assert_eq!(bench.raw(request).await.1, "{\n  \"status\" : \"REPLICATION NOT IN PROGRESS\"\n}\n");
}

#[tokio::test]
async fn leaders_are_registered_shown_and_forgotten_as_cluster_settings() {
    let bench = Bench::new(None);
    let body = r#"{"persistent":{"cluster":{"remote":{"leader-cluster":{"seeds":["127.0.0.1:9"]}}}}}"#;
    let (status, answer) = bench.send("PUT", "/_cluster/settings", body).await;
    let registered = json!({"cluster": {"remote": {"leader-cluster": {"seeds": ["127.0.0.1:9"]}}}});
    assert_eq!((status, answer), (200, json!({"acknowledged": true, "persistent": registered, "transient": {}})));
    let (_, settings) = bench.send("GET", "/_cluster/settings?flat_settings", "").await;
    assert_eq!(
        settings["persistent"],
        json!({"cluster.remote.conn1.seeds": ["127.0.0.1:1"], "cluster.remote.leader-cluster.seeds": ["127.0.0.1:9"]})
    );
    let (_, info) = bench.send("GET", "/_remote/info", "").await;
    assert_eq!(info["leader-cluster"]["connected"], false);
    assert_eq!(info["leader-cluster"]["seeds"], json!(["127.0.0.1:9"]));
    for _ in 0..2 {
        let body = r#"{"persistent":{"cluster.remote.leader-cluster.seeds":null}}"#;
        let (status, answer) = bench.send("PUT", "/_cluster/settings", body).await;
        assert_eq!((status, answer), (200, json!({"acknowledged": true, "persistent": {}, "transient": {}})));
    }
    let other = r#"{"persistent":{"cluster.remote.x.seeds":"h:1","indices.recovery.max_bytes_per_sec":"1mb"}}"#;
    let (status, reason) = bench.refused("PUT", "/_cluster/settings", other).await;
    assert_eq!(status, 400);
    assert!(reason.contains("indices.recovery.max_bytes_per_sec"), "{reason}");
    let (_, settings) = bench.send("GET", "/_cluster/settings", "").await;
    assert_eq!(settings["persistent"], json!({"cluster": {"remote": {"conn1": {"seeds": ["127.0.0.1:1"]}}}}));
}

#[tokio::test]
async fn without_a_way_to_the_target_writes_to_followers_are_forbidden_and_the_rest_is_not_found() {
    let bench = Bench::new(None);
    let blocked = "index [f1] blocked by: [FORBIDDEN/1000/index read-only(cross-cluster-replication)];";
    for (method, path) in [("PUT", "/f1/_doc/1"), ("DELETE", "/f*"), ("POST", "/f1/_bulk"), ("DELETE", "/")] {
        let (status, reason) = bench.refused(method, path, "{}").await;
        assert_eq!((status, reason.as_str()), (403, blocked), "{method} {path}");
    }
    let (status, reason) = bench.refused("GET", "/f1/_search", "").await;
    assert_eq!(status, 404);
    assert!(reason.contains("slipstream's gateway") && reason.contains("proxy = true"), "{reason}");
}

#[tokio::test]
async fn machines_and_people_can_watch() {
    let bench = Bench::new(None);
    let get = |path: &str| Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
    assert_eq!(bench.raw(get("/healthz")).await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(bench.raw(get("/metrics")).await, (StatusCode::OK, "slipstream_up 1\n".to_owned()));
    assert!(bench.raw(get("/")).await.1.contains("<td>f1<td>conn1:leader-01"));
    let (_, indices) = bench.send("GET", "/_slipstream/v1/indices", "").await;
    assert_eq!(indices["indices"][0]["phase"], "SYNCING");
    assert_eq!(bench.send("GET", "/_slipstream/v1/indices/f1", "").await.1["follower_index"], "f1");
    assert_eq!(bench.send("GET", "/_slipstream/v1/indices/nope", "").await.0, 404);
    assert_eq!(bench.send("GET", "/", "").await.1["name"], "slipstream gateway");
    assert_eq!(bench.raw(get("/readyz")).await.0, StatusCode::OK);
    bench.shutdown.cancel();
    assert_eq!(bench.raw(get("/readyz")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_openapi_document_lists_exactly_what_is_served() {
    let (_, document) = Bench::new(None).send("GET", "/_slipstream/v1/openapi.json", "").await;
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            documented.insert(format!("{method} {path}"));
            assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        }
    }
    let served: BTreeSet<String> = routes::all()
        .iter()
        .flat_map(|route| route.methods.iter().map(|method| format!("{method} {}", route.path)))
        .collect();
    assert_eq!(documented, served);
    let text = observe::OPENAPI;
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name = text[at..].trim_start_matches("#/components/schemas/").split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// A target that notes what reaches it; `al` is an alias of `f1` there, and only the caller may ask.
async fn target() -> (Proxy, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&notes);
    let serve = move |method: Method, uri: Uri, headers: axum::http::HeaderMap, body: String| async move {
        if headers.get(header::AUTHORIZATION).is_none_or(|given| given != "Basic caller") {
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
        return axum::Json(if path.contains("al/") { f1 } else { json!({"other": {"aliases": {}}}) }).into_response();
    }
    notes.lock().unwrap().push(format!("{method} {uri} {body}"));
    let items: Vec<Value> = body.lines().filter(|l| l.contains("_index")).map(|_| json!({"index": {"status": 201}})).collect();
    let answer = match path {
        "/_bulk" => json!({"took": 1, "errors": false, "items": items}),
        "/_cluster/settings" => json!({"acknowledged": true, "persistent": {"a": {"b": "1"}}, "transient": {}}),
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
        assert_eq!(bench.send(method, path, body).await, (200, json!({"passed": true})), "{method} {path}");
        assert_eq!(notes.lock().unwrap().pop().unwrap(), format!("{method} {path} {body}"));
    }
    for (method, path, body) in [
        ("PUT", "/f1/_doc/1", "{}"),
        ("PUT", "/al/_doc/1", "{}"),
        ("PUT", "/x/../f1/_doc/1", "{}"),
        ("DELETE", "/other,f*", ""),
        ("POST", "/_reindex", r#"{"source":{"index":"a"},"dest":{"index":"al"}}"#),
        ("POST", "/_aliases", r#"{"actions":[{"remove_index":{"index":"f1"}}]}"#),
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
    let (status, answer) = bench.send("POST", "/_bulk?refresh=true&filter_path=items", &body).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(true)));
    let statuses: Vec<&Value> = answer["items"].as_array().unwrap().iter().map(|i| &i["index"]["status"]).collect();
    assert_eq!(statuses, [403, 201, 403]);
    assert_eq!(notes.lock().unwrap().as_slice(), [format!("POST /_bulk?refresh=true {}", line("other"))]);
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
async fn a_target_that_is_down_is_said_to_be() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = Bench::new(Some(Proxy::to(&format!("http://{gone}"), None).unwrap()));
    let (status, reason) = bench.refused("GET", "/_cat/indices", "").await;
    assert_eq!(status, 502);
    assert!(reason.contains("does not answer"), "{reason}");
}

#[tokio::test]
async fn serving_ends_when_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = CancellationToken::new();
    let control = Fake { leaders: Mutex::default(), notes: Arc::default(), phase: Phase::Syncing };
    let server = tokio::spawn(serve(listener, control, GatewayConfig::default(), Arc::new(String::new), shutdown.clone()));
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}
