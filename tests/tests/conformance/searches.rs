//! Searches as the window reader makes them, and those of a curious user.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::context::{Context, cases, error_type, ids};

cases![
    a_window_is_read_in_order,
    hits_tell_all_that_replication_needs,
    a_wrong_shard_looks_like_an_empty_one,
    pinned_nodes,
    counts_of_everything_come_with_a_window,
    histograms_count_live_documents,
    sparse_histograms_need_a_least_count,
    pages_have_a_largest_size,
    totals_are_exact_on_request_only,
    sorts_and_pages,
    queries_of_a_curious_user,
    counts_and_cat,
    points_in_time_stay,
    patterns_lists_and_aliases,
    filter_path_keeps_what_it_names,
];

/// Documents 0 to 9 in one shard, of which 3 is superseded (by sequence number 10) and 5 deleted (11).
async fn ten(c: &Context) {
    c.create(json!({"number_of_shards": 1, "refresh_interval": -1}), json!({}))
        .await;
    for n in 0..10 {
        c.put_ok(
            &format!("/_doc/d{n}"),
            json!({"n": n, "t": format!("Word{n} common"), "even": n % 2 == 0}),
        )
        .await;
    }
    c.put_ok("/_doc/d3", json!({"n": 3, "t": "again"})).await;
    c.delete("/_doc/d5").await;
    c.refresh().await;
}

fn window(above: i64, through: i64, size: u64) -> Value {
    json!({
        "size": size, "sort": ["_seq_no"], "track_total_hits": false, "seq_no_primary_term": true, "version": true,
        "query": {"range": {"_seq_no": {"gt": above, "lte": through}}},
    })
}

async fn a_window_is_read_in_order(c: Arc<Context>) {
    ten(&c).await;
    let pinned = "?preference=_shards:0&allow_partial_search_results=false";
    let page = c.search(pinned, window(1, 10, 100)).await;
    assert_eq!(page["_shards"]["total"], 1);
    assert_eq!(
        (&page["_shards"]["successful"], &page["_shards"]["failed"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(page["timed_out"], false);
    assert_eq!(ids(&page), ["d2", "d4", "d6", "d7", "d8", "d9", "d3"]);
    assert_eq!(page["hits"].get("total"), None);
    assert_eq!(ids(&c.search(pinned, window(1, 10, 2)).await), ["d2", "d4"]);
    let open = json!({"size": 3, "sort": [{"_seq_no": "asc"}], "query": {"bool": {"filter": [{"range": {"_seq_no": {"gt": 7}}}]}}});
    assert_eq!(ids(&c.search(pinned, open).await), ["d8", "d9", "d3"]);
    let bare = json!({"size": 100, "sort": ["_seq_no"], "_source": false, "query": {"range": {"_seq_no": {"gte": 8, "lt": 11}}}});
    let page = c.search(pinned, bare).await;
    let sorts: Vec<&Value> = page["hits"]["hits"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|h| &h["sort"][0])
        .collect();
    assert_eq!(sorts, [8, 9, 10]);
    assert_eq!(page["hits"]["hits"][0].get("_source"), None);
}

async fn hits_tell_all_that_replication_needs(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 1}), json!({})).await;
    c.put_ok(
        "/_doc/a?routing=r&version=7&version_type=external_gte&refresh=true",
        json!({"n": 1}),
    )
    .await;
    let hit = &c.search("?preference=_shards:0", window(-1, 100, 10)).await["hits"]["hits"][0];
    assert_eq!(hit["_id"], "a");
    assert_eq!((&hit["_routing"], &hit["_version"]), (&json!("r"), &json!(7)));
    assert_eq!(
        (&hit["_seq_no"], &hit["_primary_term"], &hit["sort"]),
        (&json!(0), &json!(1), &json!([0]))
    );
    assert_eq!(
        (&hit["_source"], &hit["_score"]),
        (&json!({"n": 1}), &Value::Null)
    );
    let typed = !c.opensearch && c.version.0 == 7 || c.opensearch && c.version.0 == 1;
    assert_eq!(hit.get("_type").is_some(), typed, "{hit}");
}

async fn a_wrong_shard_looks_like_an_empty_one(c: Arc<Context>) {
    ten(&c).await;
    let page = c.search("?preference=_shards:99", window(-1, 100, 10)).await;
    assert_eq!(
        (&page["_shards"]["total"], &page["_shards"]["failed"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(ids(&page), Vec::<String>::new());
}

async fn pinned_nodes(c: Arc<Context>) {
    ten(&c).await;
    let node = c.shard_stats(0).await["routing"]["node"]
        .as_str()
        .expect("a node")
        .to_owned();
    for suffix in [
        format!("_only_nodes:{node}"),
        format!("_prefer_nodes:{node}"),
        "_local".to_owned(),
    ] {
        let page = c
            .search(&format!("?preference=_shards:0%7C{suffix}"), window(7, 100, 10))
            .await;
        assert_eq!(ids(&page), ["d8", "d9", "d3"], "{suffix}");
    }
    let (status, answer) = c.get("/_search?preference=_shards:0%7C_only_nodes:zork").await;
    assert_eq!((status, error_type(&answer)), (400, "illegal_argument_exception"));
    let (status, answer) = c.get("/_search?preference=_primary").await;
    assert_eq!(status, if c.opensearch { 200 } else { 400 }, "{answer}");
    let (status, answer) = c.get("/_search?search_pipeline=_none").await;
    assert_eq!(status, if c.opensearch { 200 } else { 400 }, "{answer}");
}

async fn counts_of_everything_come_with_a_window(c: Arc<Context>) {
    ten(&c).await;
    let mut body = window(8, 100, 10);
    body["aggs"] = json!({
        "all": {"global": {}}, "seen": {"value_count": {"field": "_seq_no"}}, "top": {"max": {"field": "_seq_no"}},
    });
    let page = c.search("?preference=_shards:0", body).await;
    assert_eq!(page["aggregations"]["all"]["doc_count"], 9);
    assert_eq!(page["aggregations"]["seen"]["value"], 2);
    assert_eq!(page["aggregations"]["top"]["value"], 10.0);
    let count = c
        .search(
            "?preference=_shards:0",
            json!({"size": 0, "track_total_hits": true}),
        )
        .await;
    assert_eq!(count["hits"]["total"], json!({"value": 9, "relation": "eq"}));
}

async fn histograms_count_live_documents(c: Arc<Context>) {
    ten(&c).await;
    let body = |extra: Value| {
        let mut histogram = json!({"field": "_seq_no", "interval": 4});
        histogram
            .as_object_mut()
            .expect("object")
            .extend(extra.as_object().cloned().unwrap_or_default());
        json!({"size": 0, "aggs": {"h": {"histogram": histogram}}})
    };
    let dense = c.search("", body(json!({"min_doc_count": 1}))).await["aggregations"]["h"]["buckets"].clone();
    assert_eq!(
        dense,
        json!([{"key": 0.0, "doc_count": 3}, {"key": 4.0, "doc_count": 3}, {"key": 8.0, "doc_count": 3}])
    );
    for n in 0..10 {
        c.put_ok("/_doc/late", json!({"n": n})).await;
    }
    c.refresh().await;
    let sparse =
        c.search("", body(json!({"min_doc_count": 1}))).await["aggregations"]["h"]["buckets"].clone();
    let keys: Vec<&Value> = sparse
        .as_array()
        .expect("buckets")
        .iter()
        .map(|b| &b["key"])
        .collect();
    assert_eq!(keys, [0.0, 4.0, 8.0, 20.0]);
    let filled = c.search("", body(json!({}))).await["aggregations"]["h"]["buckets"].clone();
    assert_eq!(filled.as_array().map(Vec::len), Some(6));
    assert_eq!(filled[3], json!({"key": 12.0, "doc_count": 0}));
}

async fn sparse_histograms_need_a_least_count(c: Arc<Context>) {
    c.create_plain().await;
    c.put_ok("/_doc/a", json!({"n": 0})).await;
    c.put_ok("/_doc/b?refresh=true", json!({"n": 200_000})).await;
    let body = |least: u64| json!({"size": 0, "aggs": {"h": {"histogram": {"field": "n", "interval": 1, "min_doc_count": least}}}});
    let found = c.search("", body(1)).await;
    assert_eq!(
        found["aggregations"]["h"]["buckets"].as_array().map(Vec::len),
        Some(2)
    );
    let (status, answer) = c.post("/_search", body(0)).await;
    let expected = if crate::bulks::newer_names(&c) { 400 } else { 503 };
    assert_eq!(status, expected, "{answer}");
}

async fn pages_have_a_largest_size(c: Arc<Context>) {
    c.create_plain().await;
    let (status, answer) = c.post("/_search", json!({"size": 10_001})).await;
    assert_eq!(status, 400, "{answer}");
    c.put_ok("/_settings", json!({"index.max_result_window": 20_000}))
        .await;
    assert_eq!(c.post("/_search", json!({"size": 10_001})).await.0, 200);
}

async fn totals_are_exact_on_request_only(c: Arc<Context>) {
    ten(&c).await;
    let total = |page: Value| page["hits"]["total"].clone();
    assert_eq!(
        total(c.search("?size=1", json!({})).await),
        json!({"value": 9, "relation": "eq"})
    );
    assert_eq!(
        total(c.search("?size=0&track_total_hits=4", json!({})).await)["relation"],
        "gte"
    );
    assert_eq!(
        total(c.search("?track_total_hits=true&size=0", json!({})).await)["value"],
        9
    );
    assert_eq!(
        total(c.search("?track_total_hits=false&size=1", json!({})).await),
        Value::Null
    );
}

async fn sorts_and_pages(c: Arc<Context>) {
    ten(&c).await;
    let page = |body: Value| async {
        let mut body = body;
        body["_source"] = json!(false);
        ids(&c.search("", body).await)
    };
    assert_eq!(
        page(json!({"size": 3, "sort": [{"n": "desc"}]})).await,
        ["d9", "d8", "d7"]
    );
    assert_eq!(
        page(json!({"size": 2, "from": 2, "sort": ["n"]})).await,
        ["d2", "d3"]
    );
    assert_eq!(
        page(json!({"size": 2, "sort": ["n"], "search_after": [3]})).await,
        ["d4", "d6"]
    );
    assert_eq!(
        page(json!({"size": 2, "sort": ["_seq_no"], "search_after": [8]})).await,
        ["d9", "d3"]
    );
    let found = c
        .search("", json!({"size": 1, "sort": [{"t.keyword": {"order": "asc"}}]}))
        .await;
    assert_eq!(found["hits"]["hits"][0]["sort"], json!(["Word0 common"]));
    let found = c.search("", json!({"size": 1})).await;
    assert_eq!(found["hits"]["max_score"], 1.0);
}

async fn queries_of_a_curious_user(c: Arc<Context>) {
    ten(&c).await;
    for (query, expected) in [
        (json!({"match_all": {}}), 9),
        (json!({"term": {"n": 4}}), 1),
        (json!({"term": {"_id": "d4"}}), 1),
        (json!({"terms": {"_id": ["d4", "d5", "d6"]}}), 2),
        (json!({"ids": {"values": ["d1", "d2", "zork"]}}), 2),
        (json!({"range": {"n": {"gte": 6, "lt": 9}}}), 3),
        (json!({"match": {"t": "common"}}), 8),
        (json!({"term": {"t.keyword": "again"}}), 1),
        (json!({"exists": {"field": "even"}}), 8),
        (
            json!({"bool": {"filter": [{"term": {"even": true}}], "must_not": [{"term": {"n": 0}}]}}),
            4,
        ),
        (
            json!({"bool": {"should": [{"term": {"n": 1}}, {"term": {"n": 2}}]}}),
            2,
        ),
    ] {
        let (status, answer) = c.post("/_count", json!({"query": query})).await;
        assert_eq!(
            (status, &answer["count"]),
            (200, &json!(expected)),
            "{query}: {answer}"
        );
    }
}

async fn counts_and_cat(c: Arc<Context>) {
    ten(&c).await;
    let (_, count) = c.get("/_count").await;
    assert_eq!(
        (&count["count"], &count["_shards"]["total"]),
        (&json!(9), &json!(1))
    );
    let (_, rows) = c.es.get(&format!("/_cat/indices/{}?format=json", c.index)).await;
    let row = &rows[0];
    assert_eq!(
        (&row["health"], &row["status"], &row["index"]),
        (&json!("green"), &json!("open"), &json!(c.index))
    );
    assert_eq!(
        (&row["pri"], &row["rep"], &row["docs.count"]),
        (&json!("1"), &json!("0"), &json!("9"))
    );
    let (status, bytes) = c.es.get_bytes(&format!("/_cat/count/{}?v", c.index)).await;
    let text = String::from_utf8(bytes).expect("text");
    assert_eq!(
        (status, text.split_whitespace().collect::<Vec<_>>().len()),
        (200, 6),
        "{text}"
    );
    assert!(text.starts_with("epoch"), "{text}");
    let (_, bytes) = c.es.get_bytes(&format!("/_cat/indices/{}", c.index)).await;
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.starts_with("green open"), "{text}");
}

async fn points_in_time_stay(c: Arc<Context>) {
    ten(&c).await;
    if !c.opensearch {
        // Elasticsearch's own are not in its OSS releases, and the agents do not use them.
        return;
    }
    let (status, pit) = c
        .post(
            "/_search/point_in_time?keep_alive=1m&preference=_shards:0",
            json!({}),
        )
        .await;
    assert_eq!((status, &pit["_shards"]["total"]), (200, &json!(1)), "{pit}");
    c.put_ok("/_doc/d0?refresh=true", json!({"n": 100})).await;
    c.delete("/_doc/d1?refresh=true").await;
    let body = json!({"pit": {"id": pit["pit_id"], "keep_alive": "1m"}, "size": 20, "sort": ["_seq_no"], "track_total_hits": true});
    let (status, page) = c.es.post("/_search", &body).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(page["hits"]["total"]["value"], 9);
    assert_eq!(ids(&page)[..2], ["d0", "d1"]);
    assert!(page["pit_id"].is_string());
    let (status, answer) = c.es.post("/_search?preference=_shards:0", &body).await;
    assert_eq!(status, 400, "{answer}");
    let sent = json!({"pit_id": [pit["pit_id"]]}).to_string().into_bytes();
    let deleted =
        c.es.try_send(
            "DELETE",
            "/_search/point_in_time",
            Some(("application/json", sent)),
        )
        .await;
    let (status, bytes) = deleted.expect("an answer");
    let answer: Value = serde_json::from_slice(&bytes).expect("json");
    assert_eq!(
        (status, &answer["pits"][0]["successful"]),
        (200, &json!(true)),
        "{answer}"
    );
    assert_eq!(c.es.post("/_search", &body).await.0, 404);
}

async fn patterns_lists_and_aliases(c: Arc<Context>) {
    ten(&c).await;
    let other = format!("{}-2", c.index);
    let body = json!({"settings": {"number_of_replicas": 0}});
    assert_eq!(c.es.put(&format!("/{other}"), &body).await.0, 200);
    assert_eq!(
        c.es.put(&format!("/{other}/_doc/x?refresh=true"), &json!({"n": 4}))
            .await
            .0,
        201
    );
    let count = async |names: String| c.es.get(&format!("/{names}/_count")).await.1["count"].clone();
    assert_eq!(count(format!("{},{other}", c.index)).await, 10);
    assert_eq!(count(format!("{}*", c.index)).await, 10);
    assert_eq!(count(format!("{}*,-{other}", c.index)).await, 9);
    assert_eq!(count(format!("{}-none*", c.index)).await, 0);
    let alias = format!("{}-alias", c.index);
    let add = json!({"actions": [
        {"add": {"index": c.index, "alias": alias, "filter": {"term": {"n": 4}}}},
        {"add": {"index": other, "alias": alias}},
    ]});
    assert_eq!(c.es.post("/_aliases", &add).await.0, 200);
    assert_eq!(count(alias.clone()).await, 2);
    let (status, answer) = c.es.put(&format!("/{alias}/_doc/y"), &json!({})).await;
    assert_eq!(
        (status, error_type(&answer)),
        (400, "illegal_argument_exception"),
        "no write index: {answer}"
    );
}

async fn filter_path_keeps_what_it_names(c: Arc<Context>) {
    ten(&c).await;
    let (_, stats) = c
        .get("/_stats?level=shards&filter_path=indices.*.shards.*.seq_no")
        .await;
    let expected = json!({"indices": {&c.index: {"shards": {"0": [
        {"seq_no": {"max_seq_no": 11, "local_checkpoint": 11, "global_checkpoint": 11}}
    ]}}}});
    assert_eq!(stats, expected);
    let (_, page) = c
        .get("/_search?filter_path=hits.hits._id,took,-took&size=1")
        .await;
    assert_eq!(page, json!({"hits": {"hits": [{"_id": "d0"}]}}));
    let (status, refused) = c.es.get("/no-such-index/_search?filter_path=hits.hits._id").await;
    assert_eq!(
        (status, error_type(&refused)),
        (404, "index_not_found_exception"),
        "errors are shown whole: {refused}"
    );
}
