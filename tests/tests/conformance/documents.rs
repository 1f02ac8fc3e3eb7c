//! Single documents: what writes answer, realtime reads, what a refresh makes visible, routing, `_mget`, updates.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;

use crate::context::{Context, cases, error_type, ids};

cases![
    writes_count_up_sequence_numbers_and_versions,
    reads_are_realtime_and_searches_wait_for_a_refresh,
    refresh_parameters_make_writes_visible,
    scheduled_refresh_shows_writes,
    every_refresh_counts,
    a_write_refreshes_its_own_shard_only,
    routing_decides_the_shard,
    routed_documents_need_their_routing,
    mget_tells_present_from_absent,
    updates_merge_and_notice_what_changes_nothing,
    missing_things_are_404,
    ids_have_a_longest_length,
    automatic_ids_and_automatic_indices,
    bodies_are_needed_and_must_be_json,
];

async fn writes_count_up_sequence_numbers_and_versions(c: Arc<Context>) {
    c.create_plain().await;
    let (status, first) = c.put("/_doc/a", json!({"n": 1})).await;
    assert_eq!((status, &first["result"]), (201, &json!("created")));
    assert_eq!(
        first["_shards"],
        json!({"total": 1, "successful": 1, "failed": 0})
    );
    let (status, second) = c.put("/_doc/a", json!({"n": 2})).await;
    assert_eq!((status, &second["result"]), (200, &json!("updated")));
    let (status, missing) = c.delete("/_doc/b").await;
    assert_eq!((status, &missing["result"]), (404, &json!("not_found")));
    let (status, gone) = c.delete("/_doc/a").await;
    assert_eq!((status, &gone["result"]), (200, &json!("deleted")));
    let (status, again) = c.put("/_create/a", json!({"n": 3})).await;
    assert_eq!((status, &again["result"]), (201, &json!("created")));
    let numbers = |v: &Value| {
        (
            v["_seq_no"].as_i64(),
            v["_version"].as_i64(),
            v["_primary_term"].as_i64(),
        )
    };
    assert_eq!(numbers(&first), (Some(0), Some(1), Some(1)));
    assert_eq!(numbers(&second), (Some(1), Some(2), Some(1)));
    assert_eq!(numbers(&missing), (Some(2), Some(1), Some(1)));
    assert_eq!(numbers(&gone), (Some(3), Some(3), Some(1)));
    assert_eq!(numbers(&again), (Some(4), Some(4), Some(1)));
    let stats = c.shard_stats(0).await;
    assert_eq!(
        stats["seq_no"],
        json!({"max_seq_no": 4, "local_checkpoint": 4, "global_checkpoint": 4})
    );
}

async fn reads_are_realtime_and_searches_wait_for_a_refresh(c: Arc<Context>) {
    c.create(json!({"refresh_interval": -1}), json!({})).await;
    c.put_ok("/_doc/a", json!({"n": 1})).await;
    let (status, doc) = c.get("/_doc/a").await;
    assert_eq!(
        (status, &doc["found"], &doc["_source"]),
        (200, &json!(true), &json!({"n": 1}))
    );
    assert_eq!(
        (&doc["_seq_no"], &doc["_primary_term"], &doc["_version"]),
        (&json!(0), &json!(1), &json!(1))
    );
    assert_eq!(ids(&c.search("", json!({})).await), Vec::<String>::new());
    c.refresh().await;
    assert_eq!(ids(&c.search("", json!({})).await), ["a"]);
    // A superseded document is seen in its old state until the next refresh, a deleted one too.
    c.put_ok("/_doc/a", json!({"n": 2})).await;
    let hit = &c.search("?seq_no_primary_term=true", json!({})).await["hits"]["hits"][0];
    assert_eq!((&hit["_source"]["n"], &hit["_seq_no"]), (&json!(1), &json!(0)));
    c.delete("/_doc/a").await;
    assert_eq!(ids(&c.search("", json!({})).await), ["a"]);
    assert_eq!(c.get("/_doc/a").await.0, 404);
    c.refresh().await;
    assert_eq!(ids(&c.search("", json!({})).await), Vec::<String>::new());
}

async fn refresh_parameters_make_writes_visible(c: Arc<Context>) {
    c.create(json!({"refresh_interval": -1}), json!({})).await;
    c.put_ok("/_doc/a?refresh=true", json!({"n": 1})).await;
    assert_eq!(ids(&c.search("", json!({})).await), ["a"]);
    c.put_ok("/_settings", json!({"index.refresh_interval": "100ms"}))
        .await;
    c.put_ok("/_doc/b?refresh=wait_for", json!({"n": 1})).await;
    assert_eq!(c.search("", json!({})).await["hits"]["total"]["value"], 2);
    let (status, answer) = c.put("/_doc/c?refresh=zork", json!({})).await;
    assert_eq!((status, error_type(&answer)), (400, "illegal_argument_exception"));
}

async fn scheduled_refresh_shows_writes(c: Arc<Context>) {
    c.create(json!({"refresh_interval": "200ms"}), json!({})).await;
    c.put_ok("/_doc/a", json!({"n": 1})).await;
    eventually("the scheduled refresh", Duration::from_secs(10), async || {
        let total = c.search("", json!({})).await["hits"]["total"]["value"].clone();
        if total == 1 { Ok(()) } else { Err(total) }
    })
    .await;
}

async fn every_refresh_counts(c: Arc<Context>) {
    c.create(json!({"refresh_interval": -1}), json!({})).await;
    let total = async || {
        c.shard_stats(0).await["refresh"]["external_total"]
            .as_u64()
            .expect("a count")
    };
    c.put_ok("/_doc/a", json!({"n": 1})).await;
    let before = total().await;
    c.refresh().await;
    let after = total().await;
    assert_eq!(after, before + 1);
    c.refresh().await;
    assert_eq!(total().await, after + 1, "one without anything new counts too");
}

async fn a_write_refreshes_its_own_shard_only(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 5, "refresh_interval": -1}), json!({}))
        .await;
    let elsewhere = |id: &String| expected_shard(id) != expected_shard("a");
    let other = (0..100).map(|n| format!("d{n}")).find(elsewhere).expect("an id");
    c.put_ok(&format!("/_doc/{other}"), json!({})).await;
    c.put_ok("/_doc/a?refresh=true", json!({})).await;
    assert_eq!(ids(&c.search("", json!({})).await), ["a"]);
}

async fn routing_decides_the_shard(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 5}), json!({})).await;
    // The shards of these were computed by engines' own hashing; the product's is held against the same.
    for n in 0..40 {
        c.put_ok(&format!("/_doc/d{n}"), json!({"n": n})).await;
        c.put_ok(&format!("/_doc/r{n}?routing=r{}", n % 7), json!({"n": n}))
            .await;
    }
    c.refresh().await;
    let mut seen = 0;
    for shard in 0..5 {
        let found = c
            .search(&format!("?preference=_shards:{shard}&size=100"), json!({}))
            .await;
        for hit in found["hits"]["hits"].as_array().expect("hits") {
            let id = hit["_id"].as_str().expect("an id");
            let routing = hit["_routing"].as_str().unwrap_or(id);
            assert_eq!(expected_shard(routing), shard, "{id} with routing {routing}");
            seen += 1;
        }
    }
    assert_eq!(seen, 80);
}

/// Murmur3 over UTF-16LE, written down a second time on purpose, for five shards of 640 slots.
fn expected_shard(routing: &str) -> i64 {
    let bytes: Vec<u8> = routing.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut hash = 0_u32;
    for chunk in bytes.chunks(4) {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = u32::from_le_bytes(word)
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593);
        hash ^= mixed;
        if chunk.len() == 4 {
            hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
    }
    hash ^= u32::try_from(bytes.len()).expect("short");
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    i64::from(i32::from_ne_bytes((hash ^ (hash >> 16)).to_ne_bytes())).rem_euclid(640) / 128
}

async fn routed_documents_need_their_routing(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 5}), json!({})).await;
    // `r0` and `a` hash to different shards of five.
    assert_ne!(expected_shard("r0"), expected_shard("a"));
    c.put_ok("/_doc/a?routing=r0", json!({"n": 1})).await;
    assert_eq!(c.get("/_doc/a").await.0, 404);
    let (status, doc) = c.get("/_doc/a?routing=r0").await;
    assert_eq!((status, &doc["_routing"]), (200, &json!("r0")));
    assert_eq!(c.delete("/_doc/a").await.0, 404);
    assert_eq!(c.get("/_doc/a?routing=r0").await.0, 200);
    assert_eq!(c.delete("/_doc/a?routing=r0").await.0, 200);
}

async fn mget_tells_present_from_absent(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 5, "refresh_interval": -1}), json!({}))
        .await;
    c.put_ok("/_doc/a", json!({"n": 1})).await;
    c.put_ok("/_doc/b?routing=q", json!({"n": 2})).await;
    let docs = json!({"docs": [{"_id": "a"}, {"_id": "zz"}, {"_id": "b", "routing": "q", "_source": false}]});
    let (status, answer) = c.post("/_mget", docs).await;
    assert_eq!(status, 200, "{answer}");
    let docs = &answer["docs"];
    assert_eq!(
        (&docs[0]["found"], &docs[0]["_source"], &docs[0]["_seq_no"]),
        (&json!(true), &json!({"n": 1}), &json!(0))
    );
    assert_eq!((&docs[1]["found"], docs[1].get("error")), (&json!(false), None));
    assert_eq!(
        (&docs[2]["found"], docs[2].get("_source"), &docs[2]["_routing"]),
        (&json!(true), None, &Value::Null)
    );
    let (_, answer) = c
        .post("/_mget", json!({"docs": [{"_id": "b", "routing": "q"}]}))
        .await;
    assert_eq!(
        answer["docs"][0]["_routing"], "q",
        "a read without the source has no routing, one with it has"
    );
    let missing = format!("{}-missing", c.index);
    let (status, answer) =
        c.es.post("/_mget", &json!({"docs": [{"_index": missing, "_id": "a"}]}))
            .await;
    assert_eq!(
        (status, error_type(&answer["docs"][0])),
        (200, "index_not_found_exception")
    );
    let (_, answer) = c.post("/_mget", json!({"ids": ["a"]})).await;
    assert_eq!(answer["docs"][0]["found"], true);
}

async fn updates_merge_and_notice_what_changes_nothing(c: Arc<Context>) {
    c.create_plain().await;
    let (status, answer) = c.post("/_update/a", json!({"doc": {"n": 1}})).await;
    assert_eq!((status, error_type(&answer)), (404, "document_missing_exception"));
    let (status, answer) = c
        .post(
            "/_update/a",
            json!({"doc": {"n": 1}, "upsert": {"n": 7, "o": {"x": 1}}}),
        )
        .await;
    assert_eq!((status, &answer["result"]), (201, &json!("created")));
    let (status, answer) = c.post("/_update/a", json!({"doc": {"o": {"y": 2}}})).await;
    assert_eq!(
        (status, &answer["result"], &answer["_version"]),
        (200, &json!("updated"), &json!(2))
    );
    let (status, answer) = c.post("/_update/a", json!({"doc": {"n": 7}})).await;
    assert_eq!(
        (status, &answer["result"], &answer["_seq_no"]),
        (200, &json!("noop"), &json!(1))
    );
    let (_, doc) = c.get("/_doc/a").await;
    assert_eq!(doc["_source"], json!({"n": 7, "o": {"x": 1, "y": 2}}));
    assert_eq!(c.shard_stats(0).await["seq_no"]["max_seq_no"], 1);
}

async fn missing_things_are_404(c: Arc<Context>) {
    for path in [
        "/_doc/1",
        "/_search",
        "/_stats",
        "/_mapping",
        "/_settings",
        "/_count",
        "",
    ] {
        let (status, answer) = c.get(path).await;
        assert_eq!(
            (status, error_type(&answer)),
            (404, "index_not_found_exception"),
            "{path}: {answer}"
        );
        assert_eq!(answer["status"], 404);
        assert_eq!(
            answer["error"]["root_cause"][0]["type"],
            "index_not_found_exception"
        );
        assert_eq!(answer["error"]["index"], json!(c.index), "{path}");
    }
    let (status, answer) = c.delete("").await;
    assert_eq!((status, error_type(&answer)), (404, "index_not_found_exception"));
    let (status, found) = c.get("/_search?ignore_unavailable=true").await;
    assert_eq!((status, &found["hits"]["total"]["value"]), (200, &json!(0)));
    c.create_plain().await;
    let (status, answer) = c.get("/_doc/1").await;
    assert_eq!((status, &answer["found"]), (404, &json!(false)));
}

async fn ids_have_a_longest_length(c: Arc<Context>) {
    c.create_plain().await;
    c.put_ok(&format!("/_doc/{}", "x".repeat(512)), json!({})).await;
    let (status, answer) = c.put(&format!("/_doc/{}", "x".repeat(513)), json!({})).await;
    assert_eq!(
        (status, error_type(&answer)),
        (400, "action_request_validation_exception")
    );
    c.put_ok("/_doc/a%2Fb%20%C3%A4", json!({"n": 1})).await;
    let (_, doc) = c.get("/_doc/a%2Fb%20%C3%A4").await;
    assert_eq!(doc["_id"], "a/b ä");
}

async fn automatic_ids_and_automatic_indices(c: Arc<Context>) {
    let (status, answer) = c.post("/_doc", json!({"n": 1})).await;
    assert_eq!((status, &answer["_version"]), (201, &json!(1)));
    assert_eq!(answer["_id"].as_str().map(str::len), Some(20));
    assert_eq!(
        answer["_shards"]["total"], 2,
        "an automatic index has a replica: {answer}"
    );
    let (_, settings) = c.get("/_settings").await;
    let index = &settings[&c.index]["settings"]["index"];
    assert_eq!(
        (&index["number_of_shards"], &index["number_of_replicas"]),
        (&json!("1"), &json!("1"))
    );
}

async fn bodies_are_needed_and_must_be_json(c: Arc<Context>) {
    c.create_plain().await;
    let (status, answer) = c.es.put_bytes(&c.at("/_doc/a"), "").await;
    assert_eq!(status, 400, "{answer}");
    let sent =
        c.es.try_send(
            "PUT",
            &c.at("/_doc/a"),
            Some(("application/zork", b"{}".to_vec())),
        )
        .await;
    assert_eq!(sent.expect("an answer").0, 406);
    let (status, answer) = c.post("/_search", json!({"query": {"zork": {}}})).await;
    assert_eq!((status, error_type(&answer)), (400, "parsing_exception"));
}
