//! Settings, aliases, blocks, closed indices: what an operator changes and how clients see it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::context::{Context, cases, error_type};

cases![
    settings_are_put_shown_and_put_back,
    settings_that_cannot_be_are_refused,
    static_settings_wait_for_a_closed_index,
    aliases_have_filters_and_routing,
    aliases_come_and_go_together,
    an_alias_has_one_write_index,
    a_closed_index_answers_nothing,
    blocks_block,
    names_follow_rules,
    an_index_is_there_once,
    an_index_shows_itself,
    cluster_settings_are_kept,
];

async fn flat(c: &Context) -> Value {
    let (status, answer) = c.get("/_settings?flat_settings=true").await;
    assert_eq!(status, 200, "{answer}");
    answer[&c.index]["settings"].clone()
}

async fn settings_are_put_shown_and_put_back(c: Arc<Context>) {
    c.create(
        json!({"number_of_shards": 2, "index": {"gc_deletes": "0s"}}),
        json!({}),
    )
    .await;
    let before = c.state().await;
    let shown = flat(&c).await;
    assert_eq!(
        (&shown["index.number_of_shards"], &shown["index.gc_deletes"]),
        (&json!("2"), &json!("0s"))
    );
    assert_eq!(shown["index.provided_name"], json!(c.index));
    assert!(shown["index.uuid"].as_str().is_some_and(|u| u.len() == 22));
    assert!(shown["index.creation_date"].is_string() && shown["index.version.created"].is_string());
    c.put_ok(
        "/_settings",
        json!({"index": {"refresh_interval": "5s", "translog.durability": "async"}}),
    )
    .await;
    let shown = flat(&c).await;
    assert_eq!(shown["index.refresh_interval"], "5s");
    assert!(
        shown["index.translog.durability"]
            .as_str()
            .is_some_and(|d| d.eq_ignore_ascii_case("async"))
    );
    let after = c.state().await;
    assert!(after["settings_version"].as_u64() > before["settings_version"].as_u64());
    c.put_ok("/_settings", json!({"index.refresh_interval": "5s"}))
        .await;
    assert_eq!(c.state().await["settings_version"], after["settings_version"]);
    c.put_ok(
        "/_settings",
        json!({"settings": {"index.refresh_interval": null, "gc_deletes": null}}),
    )
    .await;
    let shown = flat(&c).await;
    assert_eq!(
        (shown.get("index.refresh_interval"), shown.get("index.gc_deletes")),
        (None, None)
    );
    let (_, nested) = c.get("/_settings").await;
    assert_eq!(nested[&c.index]["settings"]["index"]["number_of_shards"], "2");
    let (_, one) = c.get("/_settings/index.number_of_s*?flat_settings=true").await;
    assert_eq!(one[&c.index]["settings"], json!({"index.number_of_shards": "2"}));
}

/// Whether a setting was refused. OpenSearch 3 gave some of these refusals a name of their own.
fn is_refusal(c: &Context, status: u16, answer: &Value) -> bool {
    let kind = error_type(answer);
    let renamed = c.opensearch && c.version.0 >= 3 && kind == "settings_exception";
    status == 400 && (renamed || kind == "illegal_argument_exception")
}

async fn settings_that_cannot_be_are_refused(c: Arc<Context>) {
    c.create_plain().await;
    let before = flat(&c).await;
    for change in [
        json!({"index.zork": 1, "index.refresh_interval": "9s"}),
        json!({"index.number_of_shards": 4}),
        json!({"index.codec": "best_compression"}),
        json!({"index.refresh_interval": "zz"}),
        json!({"index.number_of_replicas": -2}),
    ] {
        let (status, answer) = c.put("/_settings", change.clone()).await;
        assert!(is_refusal(&c, status, &answer), "{change}: {answer}");
    }
    assert_eq!(flat(&c).await, before);
    for settings in [
        json!({"foo.bar": 1}),
        json!({"refresh_interval": "zz"}),
        json!({"number_of_shards": 0}),
        json!({"number_of_shards": 2, "number_of_routing_shards": 3}),
    ] {
        let (status, answer) =
            c.es.put(&format!("/{}-2", c.index), &json!({"settings": settings}))
                .await;
        assert!(is_refusal(&c, status, &answer), "{settings}: {answer}");
    }
}

async fn static_settings_wait_for_a_closed_index(c: Arc<Context>) {
    c.create_plain().await;
    assert_eq!(c.post_empty("/_close").await.0, 200);
    c.put_ok("/_settings", json!({"index.codec": "best_compression"}))
        .await;
    let (status, answer) = c.put("/_settings", json!({"index.number_of_shards": 4})).await;
    assert!(is_refusal(&c, status, &answer), "{answer}");
    assert_eq!(c.post_empty("/_open").await.0, 200);
    assert_eq!(flat(&c).await["index.codec"], "best_compression");
}

async fn aliases_have_filters_and_routing(c: Arc<Context>) {
    let alias = format!("{}-a", c.index);
    let body = json!({
        "settings": {"number_of_shards": 3, "number_of_replicas": 0},
        "aliases": {&alias: {"filter": {"term": {"n": 1}}, "routing": "r"}},
    });
    assert_eq!(c.es.put(&c.at(""), &body).await.0, 200);
    let (_, shown) = c.get("/_alias").await;
    let expected = json!({"filter": {"term": {"n": 1}}, "index_routing": "r", "search_routing": "r"});
    let filter = &shown[&c.index]["aliases"][&alias];
    assert_eq!(
        (&filter["index_routing"], &filter["search_routing"]),
        (&expected["index_routing"], &expected["search_routing"])
    );
    assert!(filter["filter"]["term"].get("n").is_some(), "{filter}");
    assert_eq!(
        c.es.put(&format!("/{alias}/_doc/1?refresh=true"), &json!({"n": 1}))
            .await
            .0,
        201
    );
    assert_eq!(
        c.es.put(&format!("/{alias}/_doc/2?refresh=true"), &json!({"n": 2}))
            .await
            .0,
        201
    );
    assert_eq!(c.get("/_doc/1?routing=r").await.1["_routing"], "r");
    assert_eq!(c.es.get(&format!("/{alias}/_count")).await.1["count"], 1);
    assert_eq!(c.get("/_count").await.1["count"], 2);
    assert_eq!(c.state().await["aliases"], json!([alias]));
}

async fn an_alias_has_one_write_index(c: Arc<Context>) {
    c.create_plain().await;
    let (other, alias) = (format!("{}-other", c.index), format!("{}-w", c.index));
    assert_eq!(c.es.put(&format!("/{other}"), &json!({})).await.0, 200);
    let add = |index: &str| json!({"add": {"index": index, "alias": alias, "is_write_index": true}});
    let to = |actions: Value| json!({ "actions": actions });
    let first = to(json!([add(&other)]));
    assert_eq!(c.es.post("/_aliases", &first).await.0, 200);
    let second = to(json!([add(&c.index), {"add": {"index": c.index, "alias": format!("{alias}-2")}}]));
    let (status, answer) = c.es.post("/_aliases", &second).await;
    assert_eq!((status, error_type(&answer)), (500, "illegal_state_exception"));
    assert_eq!(
        c.get("/_alias").await.1,
        json!({&c.index: {"aliases": {}}}),
        "all or none"
    );
    let born = json!({"aliases": {&alias: {"is_write_index": true}}});
    let (status, answer) = c.es.put(&format!("/{}-born", c.index), &born).await;
    assert_eq!((status, error_type(&answer)), (500, "illegal_state_exception"));
    assert_eq!(c.es.get(&format!("/{}-born", c.index)).await.0, 404);
    let moved = to(json!([{"remove": {"index": other, "alias": alias}}, add(&c.index)]));
    assert_eq!(c.es.post("/_aliases", &moved).await.0, 200);
    assert_eq!(c.es.delete(&format!("/{other}")).await.0, 200);
}

async fn aliases_come_and_go_together(c: Arc<Context>) {
    c.create_plain().await;
    let before = c.state().await["aliases_version"].as_u64();
    let (one, two) = (format!("{}-1", c.index), format!("{}-2", c.index));
    c.put_ok(&format!("/_alias/{one}"), json!({})).await;
    assert!(c.state().await["aliases_version"].as_u64() > before);
    let swap = json!({"actions": [
        {"add": {"index": c.index, "alias": two, "is_write_index": true}}, {"remove": {"index": c.index, "alias": one}},
    ]});
    let (status, answer) = c.es.post("/_aliases", &swap).await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)));
    let (_, shown) = c.get("/_alias").await;
    assert_eq!(
        shown[&c.index]["aliases"],
        json!({&two: {"is_write_index": true}})
    );
    let (status, answer) =
        c.es.post(
            "/_aliases",
            &json!({"actions": [{"remove": {"index": c.index, "alias": "zork"}}]}),
        )
        .await;
    assert_eq!(
        (status, error_type(&answer)),
        (404, "aliases_not_found_exception")
    );
    let (status, answer) = c.get("/_alias/zork").await;
    assert_eq!((status, &answer["status"]), (404, &json!(404)), "{answer}");
    assert_eq!(c.delete(&format!("/_alias/{two}")).await.0, 200);
    assert_eq!(c.delete(&format!("/_alias/{two}")).await.0, 404);
    assert_eq!(c.get("/_alias").await.1, json!({&c.index: {"aliases": {}}}));
}

async fn a_closed_index_answers_nothing(c: Arc<Context>) {
    c.create_plain().await;
    c.put_ok("/_doc/1", json!({"n": 1})).await;
    let before = c.state().await;
    let (status, answer) = c.post_empty("/_close").await;
    assert_eq!(
        (status, &answer["indices"][&c.index]["closed"]),
        (200, &json!(true)),
        "{answer}"
    );
    for path in [
        "/_search",
        "/_doc/1",
        "/_stats",
        "/_count",
        "/_search?preference=_shards:0",
    ] {
        let (status, answer) = c.get(path).await;
        assert_eq!(
            (status, error_type(&answer)),
            (400, "index_closed_exception"),
            "{path}: {answer}"
        );
    }
    let (status, answer) = c.post_empty("/_refresh").await;
    assert_eq!(
        (status, error_type(&answer)),
        (400, "index_closed_exception"),
        "{answer}"
    );
    let (status, answer) = c.put("/_doc/2", json!({})).await;
    assert_eq!((status, error_type(&answer)), (400, "index_closed_exception"));
    let (_, answer) =
        c.es.bulk(&c.at("/_bulk"), "{\"index\":{\"_id\":\"2\"}}\n{}\n")
            .await;
    let item = &answer["items"][0]["index"];
    assert_eq!(
        (&item["status"], error_type(item)),
        (&json!(400), "index_closed_exception")
    );
    let (_, answer) = c.post("/_mget", json!({"ids": ["1"]})).await;
    assert_eq!(error_type(&answer["docs"][0]), "index_closed_exception");
    assert_eq!(c.state().await["state"], "close");
    assert_eq!(
        c.es.get(&format!("/{}*/_search", c.index)).await.1["hits"]["total"]["value"],
        0
    );
    let (_, rows) = c.es.get(&format!("/_cat/indices/{}?format=json", c.index)).await;
    assert_eq!(rows[0]["status"], "close");
    assert_eq!(c.post_empty("/_open").await.0, 200);
    c.es.get(&format!(
        "/_cluster/health/{}?wait_for_status=green&timeout=30s",
        c.index
    ))
    .await;
    let after = c.state().await;
    assert_eq!(after["state"], "open");
    assert!(
        after["primary_terms"]["0"].as_u64() > before["primary_terms"]["0"].as_u64(),
        "{after}"
    );
    assert_eq!(c.get("/_doc/1").await.1["_source"]["n"], 1);
    let more = c.put_ok("/_doc/2", json!({})).await;
    assert_eq!(more["_seq_no"], 1);
    assert_eq!(more["_primary_term"], after["primary_terms"]["0"]);
}

async fn blocks_block(c: Arc<Context>) {
    c.create_plain().await;
    c.put_ok("/_doc/1?refresh=true", json!({"n": 1})).await;
    let set = async |block: &str, on: Value| {
        c.put_ok("/_settings", json!({ format!("index.blocks.{block}"): on }))
            .await;
    };
    let line = "{\"index\":{\"_id\":\"2\"}}\n{}\n";
    for (block, write, read, stats) in [
        ("write", 403, 200, 200),
        ("read_only", 403, 200, 200),
        ("read_only_allow_delete", 429, 200, 200),
        ("read", 200, 403, 200),
        ("metadata", 200, 200, 403),
    ] {
        set(block, json!(true)).await;
        let (status, answer) = c.put("/_doc/1", json!({"n": 1})).await;
        assert_eq!(status, write, "{block}: {answer}");
        if write != 200 {
            assert_eq!(error_type(&answer), "cluster_block_exception");
            let (_, answer) = c.es.bulk(&c.at("/_bulk"), line).await;
            assert_eq!(answer["items"][0]["index"]["status"], write, "{block}: {answer}");
        }
        assert_eq!(c.get("/_search").await.0, read, "{block}");
        assert_eq!(c.get("/_stats").await.0, stats, "{block}");
        set(block, Value::Null).await;
    }
    set("read_only", json!(true)).await;
    assert_eq!(c.delete("").await.0, 403);
    assert_eq!(
        c.put("/_mapping", json!({"properties": {"z": {"type": "long"}}}))
            .await
            .0,
        403
    );
    set("read_only", json!(false)).await;
    assert_eq!(c.put("/_doc/1", json!({"n": 1})).await.0, 200);
}

async fn names_follow_rules(c: Arc<Context>) {
    for name in ["Upper", "_first", "-first", "a%20b", "a%23b"] {
        let (status, answer) = c.es.put(&format!("/{name}"), &json!({})).await;
        assert_eq!(
            (status, error_type(&answer)),
            (400, "invalid_index_name_exception"),
            "{name}: {answer}"
        );
    }
}

async fn an_index_is_there_once(c: Arc<Context>) {
    c.create_plain().await;
    c.put_ok("/_doc/1", json!({"n": 1})).await;
    let (status, answer) = c.put("", json!({})).await;
    assert_eq!(
        (status, error_type(&answer)),
        (400, "resource_already_exists_exception")
    );
    let first = (
        flat(&c).await["index.uuid"].clone(),
        c.shard_stats(0).await["commit"]["user_data"]["history_uuid"].clone(),
    );
    assert!(first.1.as_str().is_some_and(|u| u.len() == 22), "{first:?}");
    assert_eq!(c.delete("").await.0, 200);
    c.create_plain().await;
    let second = (
        flat(&c).await["index.uuid"].clone(),
        c.shard_stats(0).await["commit"]["user_data"]["history_uuid"].clone(),
    );
    assert!(first.0 != second.0 && first.1 != second.1, "{first:?} {second:?}");
    assert_eq!(
        c.shard_stats(0).await["seq_no"],
        json!({"max_seq_no": -1, "local_checkpoint": -1, "global_checkpoint": -1})
    );
    assert_eq!(c.get("/_doc/1").await.0, 404);
}

async fn an_index_shows_itself(c: Arc<Context>) {
    c.create(
        json!({"number_of_shards": 2}),
        json!({"properties": {"a": {"type": "long"}}}),
    )
    .await;
    let (status, about) = c.get("").await;
    let about = &about[&c.index];
    assert_eq!((status, &about["aliases"]), (200, &json!({})));
    assert_eq!(about["mappings"], json!({"properties": {"a": {"type": "long"}}}));
    assert_eq!(about["settings"]["index"]["number_of_shards"], "2");
    let head = async |path: String| c.es.try_send("HEAD", &path, None).await.expect("an answer").0;
    assert_eq!((head(c.at("")).await, head(c.at("-none")).await), (200, 404));
    c.put_ok("/_doc/1", json!({})).await;
    assert_eq!(
        (head(c.at("/_doc/1")).await, head(c.at("/_doc/2")).await),
        (200, 404)
    );
}

async fn cluster_settings_are_kept(c: Arc<Context>) {
    let name = "cluster.routing.allocation.node_concurrent_recoveries";
    let (status, answer) =
        c.es.put("/_cluster/settings", &json!({"persistent": {name: 3}}))
            .await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    let (_, shown) = c.es.get("/_cluster/settings?flat_settings=true").await;
    assert_eq!(shown["persistent"][name], "3");
    c.es.put("/_cluster/settings", &json!({"persistent": {name: null}}))
        .await;
    let (_, shown) = c.es.get("/_cluster/settings?flat_settings=true").await;
    assert_eq!(shown["persistent"].get(name), None);
    let (status, answer) =
        c.es.put("/_cluster/settings", &json!({"persistent": {"zork.zork": 3}}))
            .await;
    assert!(is_refusal(&c, status, &answer), "{answer}");
}
