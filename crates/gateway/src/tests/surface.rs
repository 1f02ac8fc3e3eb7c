//! The calls that the gateway serves itself.

use super::*;

#[tokio::test]
async fn both_prefixes_drive_the_agent() {
    let bench = Bench::new(None);
    for (prefix, body) in [
        (
            "_plugins",
            r#"{"leader_alias":"conn1","leader_index":"leader-01","settings":{"index":{"number_of_replicas":0}}}"#,
        ),
        (
            "_opendistro",
            r#"{"remote_cluster":"conn1","remote_index":"leader-01","settings":{"index.number_of_replicas":"0"}}"#,
        ),
    ] {
        let base = format!("/{prefix}/_replication");
        let done = (200, json!({"acknowledged": true}));
        assert_eq!(bench.send("PUT", &format!("{base}/f2/_start"), body).await, done);
        assert_eq!(
            bench
                .send(
                    "POST",
                    &format!("{base}/f1/_pause"),
                    r#"{"reason":"maintenance"}"#
                )
                .await,
            done
        );
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
        (
            "POST",
            "nope/_stop",
            "{}",
            400,
            "No replication in progress for index:nope",
        ),
        (
            "POST",
            "nope/_pause",
            "{}",
            400,
            "No replication in progress for index:nope",
        ),
        (
            "POST",
            "f1/_resume",
            "{}",
            400,
            "Replication on Index f1 is already running",
        ),
        (
            "POST",
            "f1/_stop",
            "",
            400,
            "request body or source parameter is required",
        ),
        (
            "POST",
            "f1/_pause",
            r#"{"bogus":1}"#,
            400,
            "[1:2] [PauseReplicationRequestParser] unknown field [bogus]",
        ),
        (
            "PUT",
            "f2/_start",
            r#"{"leader_alias":"no-conn","leader_index":"a"}"#,
            404,
            "no such remote cluster: [no-conn]",
        ),
        (
            "PUT",
            "f2/_start",
            &start("missing"),
            404,
            "no such index [missing]",
        ),
        (
            "PUT",
            "f1/_start",
            &start("a"),
            400,
            "Cant use same index again for replication. Delete the index:f1",
        ),
        (
            "PUT",
            "f2/_start?wait_for_restore=maybe",
            &start("a"),
            400,
            "Failed to parse value [maybe] as only [true] or [false] are allowed.",
        ),
        (
            "PUT",
            "F2/_start",
            &start("a"),
            400,
            "Validation Failed: 1: Value F2 must be lowercase;",
        ),
        (
            "GET",
            "f1/_status?verbos",
            "",
            400,
            "request [/_plugins/_replication/f1/_status] contains unrecognized parameter: [verbos]",
        ),
        (
            "GET",
            "f1/_stop",
            "",
            405,
            "Incorrect HTTP method for uri [/_plugins/_replication/f1/_stop] and method [GET], allowed: [POST]",
        ),
        (
            "GET",
            "_nothing",
            "",
            400,
            "no handler found for uri [/_plugins/_replication/_nothing] and method [GET]",
        ),
    ] {
        assert_eq!(
            bench.refused(method, &format!("{base}/{path}"), body).await,
            (status, reason.to_owned()),
            "{method} {path}"
        );
    }
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let bench = Bench::new(None);
    let request = Request::post("/_plugins/_replication/f1/_stop").header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(
        bench.raw(request.body(Body::from("{}")).unwrap()).await.0,
        StatusCode::NOT_ACCEPTABLE
    );
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn pausing_takes_no_body_too_unless_another_sites_page_asks() {
    let bench = Bench::new(None);
    let pause = || Request::post("/_plugins/_replication/f1/_pause");
    let (status, body) = bench.raw(pause().body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(bench.notes(), ["pause f1 for None"]);
    let foreign = pause().header(header::ORIGIN, "http://elsewhere.example");
    let (status, _) = bench.raw(foreign.body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(bench.notes().is_empty());
}

#[tokio::test]
async fn force_resume_is_taken_and_makes_no_difference() {
    let bench = Bench::new(None);
    let resume = "/_plugins/_replication/f1/_resume";
    for body in [r#"{"force_resume":true}"#, r#"{"force_resume":"false"}"#, "{}"] {
        let (status, reason) = bench.refused("POST", resume, body).await;
        assert_eq!(
            (status, reason.as_str()),
            (400, "Replication on Index f1 is already running"),
            "{body}"
        );
    }
    let (_, reason) = bench.refused("POST", resume, r#"{"force_resume":1}"#).await;
    assert_eq!(
        reason,
        "[1:2] [ResumeReplicationRequestParser] failed to parse field [force_resume]"
    );
}

#[tokio::test]
async fn answers_are_printed_as_asked() {
    let bench = Bench::new(None);
    let get = async |query: &str| {
        let uri = format!("/_plugins/_replication/{query}");
        let request = Request::get(uri).body(Body::empty()).unwrap();
        bench.raw(request).await.1
    };
    let base = "f1/_status?human=true&format=json&error_trace=false";
    assert_eq!(
        get(&format!("{base}&filter_path=status")).await,
        r#"{"status":"SYNCING"}"#
    );
    assert_eq!(
        get(&format!("{base}&pretty&filter_path=syncing_details.seq_no")).await,
        "{\n  \"syncing_details\" : {\n    \"seq_no\" : 1\n  }\n}\n"
    );
    // Statistics are always laid out.
    assert_eq!(
        get("follower_stats?filter_path=num_syncing_indices").await,
        "{\n  \"num_syncing_indices\" : 1\n}\n"
    );
    // An error is shown whole.
    assert!(
        get("f1/_status?bogus&filter_path=status")
            .await
            .contains("unrecognized parameter: [bogus]")
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_restore_answers_once_the_index_follows() {
    let bench = Bench::new(None);
    let body = r#"{"leader_alias":"conn1","leader_index":"a"}"#;
    for (index, status, reason) in [
        ("copied", 200, ""),
        (
            "copies-on",
            504,
            "Timed out when waiting for persistent task after 30s: the copy goes on, see _status",
        ),
        ("fails", 503, "[fails] did not come to follow: User initiated"),
        // An index that is gone while one waits is an error, not a wait.
        ("f2", 400, "No replication in progress for index:f2"),
    ] {
        let begun = tokio::time::Instant::now();
        let uri = format!("/_plugins/_replication/{index}/_start?wait_for_restore");
        assert_eq!(
            bench.refused("PUT", &uri, body).await,
            (status, reason.to_owned())
        );
        let waited = begun.elapsed().as_secs();
        assert_eq!(waited, if status == 504 { 30 } else { 0 }, "{index}");
        assert_eq!(bench.notes().len(), 1, "{index} was started");
    }
}

#[tokio::test]
async fn status_tells_of_indices_that_follow_and_that_do_not() {
    let bench = Bench::new(None);
    let none = bench
        .send("GET", "/_plugins/_replication/never/_status", "")
        .await;
    assert_eq!(none, (200, json!({"status": "REPLICATION NOT IN PROGRESS"})));
    let (_, answer) = bench
        .send("GET", "/_opendistro/_replication/f1/_status?verbose=true", "")
        .await;
    assert_eq!(
        answer["syncing_details"],
        json!({"leader_checkpoint": 0, "follower_checkpoint": 0, "seq_no": 1})
    );
    assert_eq!(answer["shard_replication_details"][0]["shard_id"], "[f1][0]");
    let request = Request::get("/_plugins/_replication/never/_status?pretty")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        bench.raw(request).await.1,
        "{\n  \"status\" : \"REPLICATION NOT IN PROGRESS\"\n}\n"
    );
}

#[tokio::test]
async fn leaders_are_registered_shown_and_forgotten_as_cluster_settings() {
    let bench = Bench::new(None);
    let body = r#"{"persistent":{"cluster":{"remote":{"leader-cluster":{"seeds":["127.0.0.1:9"]}}}}}"#;
    let (status, answer) = bench.send("PUT", "/_cluster/settings", body).await;
    let registered = json!({"cluster": {"remote": {"leader-cluster": {"seeds": ["127.0.0.1:9"]}}}});
    assert_eq!(
        (status, answer),
        (
            200,
            json!({"acknowledged": true, "persistent": registered, "transient": {}})
        )
    );
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
        assert_eq!(
            (status, answer),
            (
                200,
                json!({"acknowledged": true, "persistent": {}, "transient": {}})
            )
        );
    }
    let other =
        r#"{"persistent":{"cluster.remote.x.seeds":"h:1","indices.recovery.max_bytes_per_sec":"1mb"}}"#;
    let (status, reason) = bench.refused("PUT", "/_cluster/settings", other).await;
    assert_eq!(status, 400);
    assert!(reason.contains("indices.recovery.max_bytes_per_sec"), "{reason}");
    let (_, settings) = bench.send("GET", "/_cluster/settings", "").await;
    assert_eq!(
        settings["persistent"],
        json!({"cluster": {"remote": {"conn1": {"seeds": ["127.0.0.1:1"]}}}})
    );
}

#[tokio::test]
async fn without_a_way_to_the_target_writes_to_followers_are_forbidden_and_the_rest_is_not_found() {
    let bench = Bench::new(None);
    let blocked = "index [f1] blocked by: [FORBIDDEN/1000/index read-only(cross-cluster-replication)];";
    for (method, path) in [
        ("PUT", "/f1/_doc/1"),
        ("DELETE", "/f*"),
        ("POST", "/f1/_bulk"),
        ("DELETE", "/"),
    ] {
        let (status, reason) = bench.refused(method, path, "{}").await;
        assert_eq!((status, reason.as_str()), (403, blocked), "{method} {path}");
    }
    let (status, reason) = bench.refused("GET", "/f1/_search", "").await;
    assert_eq!(status, 404);
    assert!(
        reason.contains("slipstream's gateway") && reason.contains("proxy = true"),
        "{reason}"
    );
}

#[tokio::test]
async fn machines_and_people_can_watch() {
    let bench = Bench::new(None);
    let get = |path: &str| {
        Request::get(path)
            .header(header::ACCEPT, "text/html")
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(
        bench.raw(get("/healthz")).await,
        (StatusCode::OK, "ok\n".to_owned())
    );
    assert_eq!(
        bench.raw(get("/metrics")).await,
        (StatusCode::OK, "slipstream_up 1\n".to_owned())
    );
    let (_, indices) = bench.send("GET", "/_slipstream/v1/indices", "").await;
    assert_eq!(indices["indices"][0]["phase"], "SYNCING");
    assert_eq!(
        bench.send("GET", "/_slipstream/v1/indices/f1", "").await.1["follower_index"],
        "f1"
    );
    assert_eq!(bench.send("GET", "/_slipstream/v1/indices/nope", "").await.0, 404);
    assert_eq!(bench.send("GET", "/", "").await.1["name"], "slipstream gateway");
    let (status, readiness) = bench.send("GET", "/readyz", "").await;
    assert_eq!((status, &readiness["ready"]), (200, &json!(true)));
    assert_eq!(
        readiness["components"][1],
        json!({"name": "leader conn1", "ok": false, "needed": false, "reason": "does not answer"})
    );
    bench.shutdown.cancel();
    assert_eq!(bench.raw(get("/readyz")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn rules_are_made_and_ended_in_the_incumbents_words() {
    let bench = Bench::new(None);
    for (method, body, status, kind) in [
        (
            "POST",
            r#"{"leader_alias":"conn1","name":"r","pattern":"logs-*"}"#,
            200,
            "",
        ),
        (
            "POST",
            r#"{"leader_alias":"nope","name":"r","pattern":"logs-*"}"#,
            404,
            "no_such_remote_cluster_exception",
        ),
        (
            "POST",
            r#"{"leader_alias":"conn1","name":"known","pattern":"logs-*"}"#,
            400,
            "resource_already_exists_exception",
        ),
        (
            "POST",
            r#"{"leader_alias":"conn1","name":"r"}"#,
            400,
            "action_request_validation_exception",
        ),
        ("DELETE", r#"{"leader_alias":"conn1","name":"known"}"#, 200, ""),
        (
            "DELETE",
            r#"{"leader_alias":"conn1","name":"r"}"#,
            404,
            "resource_not_found_exception",
        ),
    ] {
        for prefix in ["_plugins", "_opendistro"] {
            let (found, answer) = bench
                .send(method, &format!("/{prefix}/_replication/_autofollow"), body)
                .await;
            assert_eq!(found, status, "{method} {body}: {answer}");
            if status == 200 {
                assert_eq!(answer["acknowledged"], true);
            } else {
                assert_eq!(answer["error"]["type"], kind, "{answer}");
            }
        }
    }
    let notes = bench.notes.lock().unwrap().clone();
    assert_eq!(notes[0], "follow logs-* of conn1 by r");
    assert_eq!(notes[2], "end rule known of conn1");
}

#[tokio::test]
async fn overrides_are_replaced_and_stats_told() {
    let bench = Bench::new(None);
    let update = "/_plugins/_replication/f1/_update?timeout=30s";
    let (status, answer) = bench
        .send(
            "PUT",
            update,
            r#"{"settings":{"index":{"number_of_replicas":1}}}"#,
        )
        .await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    assert_eq!(
        bench.notes.lock().unwrap()[0],
        r#"update f1 with {"index.number_of_replicas": String("1")}"#
    );
    let (status, answer) = bench
        .send(
            "PUT",
            "/_plugins/_replication/nope/_update",
            r#"{"index.hidden":true}"#,
        )
        .await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["error"]["reason"],
        "No replication in progress for index:nope"
    );
    for (stats, field) in [
        ("leader_stats", "num_replicated_indices"),
        ("follower_stats", "num_syncing_indices"),
        ("autofollow_stats", "num_success_start_replication"),
    ] {
        let (status, answer) = bench
            .send("GET", &format!("/_plugins/_replication/{stats}"), "")
            .await;
        assert_eq!(status, 200);
        assert!(answer[field].is_u64(), "{answer}");
    }
}

#[tokio::test]
async fn the_incumbents_settings_are_kept_and_shown() {
    let bench = Bench::new(None);
    let body = r#"{"persistent":{"plugins":{"replication":{"follower":{"poll_interval":"100ms","block.start":true}}}}}"#;
    let (status, answer) = bench.send("PUT", "/_cluster/settings?flat_settings", body).await;
    assert_eq!(status, 200, "{answer}");
    let (_, shown) = bench.send("GET", "/_cluster/settings?flat_settings", "").await;
    assert_eq!(
        shown["persistent"]["plugins.replication.follower.poll_interval"],
        "100ms"
    );
    assert_eq!(
        shown["persistent"]["plugins.replication.follower.block.start"],
        "true"
    );
    let body = r#"{"persistent":{"plugins.replication.follower.*":null,"plugins.replication.nonsense":1}}"#;
    let (status, reason) = bench.refused("PUT", "/_cluster/settings", body).await;
    assert_eq!(status, 400);
    assert!(reason.contains("not recognized"), "{reason}");
}

#[tokio::test]
async fn the_page_is_for_browsers_and_lets_nothing_else_in() {
    let bench = Bench::new(None);
    let files = ["/", "/_slipstream/page/app.js", "/_slipstream/page/style.css"];
    for (path, kind) in files
        .into_iter()
        .zip(["text/html", "text/javascript", "text/css"])
    {
        let request = Request::get(path).header(header::ACCEPT, "text/html");
        let response = bench.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        assert!(header("content-type").starts_with(kind), "{path}");
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "same-origin");
    }
    let (status, reason) = bench.refused("GET", "/_slipstream/page/nope.js", "").await;
    assert_eq!(
        (status, reason.as_str()),
        (404, "the status page has no file [nope.js]")
    );
}

#[tokio::test]
async fn an_overview_has_what_the_page_shows_and_only_the_rows_asked_for() {
    let bench = Bench::new(None);
    let (status, overview) = bench.send("GET", "/_slipstream/v1/overview", "").await;
    assert_eq!(status, 200, "{overview}");
    assert_eq!(
        (&overview["counts"]["all"], &overview["counts"]["SYNCING"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        overview["indices"][0]["readers"],
        json!([{"reader": "window", "shards": 1}])
    );
    assert_eq!(overview["indices"][0]["lag_seconds"], 0.0);
    assert_eq!(overview["lag"]["lag_seconds"], json!([null, 0.5]));
    assert_eq!(
        overview["surroundings"]["certificate"]["names"],
        json!(["follower.test"])
    );
    let (_, none) = bench
        .send("GET", "/_slipstream/v1/overview?match=nope&state=PAUSED", "")
        .await;
    assert_eq!((&none["matching"], &none["indices"]), (&json!(0), &json!([])));
    assert_eq!(none["counts"]["all"], 1);
    let (status, reason) = bench
        .refused("GET", "/_slipstream/v1/overview?size=501", "")
        .await;
    assert_eq!(status, 400);
    assert!(reason.contains("from 0 to 500"), "{reason}");

    let (_, lag) = bench.send("GET", "/_slipstream/v1/indices/f1/lag", "").await;
    assert_eq!((&lag["every_seconds"], &lag["samples"]), (&json!(5), &json!(360)));
    assert_eq!(
        bench.send("GET", "/_slipstream/v1/indices/nope/lag", "").await.0,
        404
    );
}
