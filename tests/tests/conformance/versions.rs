//! Versions: internal, external, with tombstones and after them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;

use crate::context::{Context, cases, error_type};

cases![
    external_gte_takes_equal_and_higher_and_refuses_lower,
    external_takes_higher_only,
    refused_writes_take_no_sequence_number,
    the_first_and_the_last_version_are_versions,
    a_tombstone_refuses_lower_versions_for_gc_deletes,
    without_gc_deletes_a_tombstone_is_soon_forgotten,
    an_internal_version_goes_on_after_a_delete,
    every_delete_leaves_a_fresh_tombstone,
    sequence_numbers_guard_a_write,
    versions_that_contradict_are_refused,
];

fn external(id: &str, version: i64, kind: &str) -> String {
    format!("/_doc/{id}?version={version}&version_type={kind}")
}

async fn gte(c: &Context, id: &str, version: i64) -> (u16, Value) {
    c.put(&external(id, version, "external_gte"), json!({"v": version}))
        .await
}

async fn external_gte_takes_equal_and_higher_and_refuses_lower(c: Arc<Context>) {
    c.create_plain().await;
    assert_eq!(gte(&c, "a", 5).await.0, 201);
    let (status, again) = gte(&c, "a", 5).await;
    assert_eq!(
        (status, &again["_version"], &again["_seq_no"]),
        (200, &json!(5), &json!(1))
    );
    assert_eq!(gte(&c, "a", 9).await.1["_version"], 9);
    let (status, refused) = gte(&c, "a", 8).await;
    assert_eq!(
        (status, error_type(&refused)),
        (409, "version_conflict_engine_exception")
    );
    assert_eq!(refused["error"]["index"], json!(c.index));
    assert_eq!(refused["error"]["shard"], "0");
    let reason = refused["error"]["reason"].as_str().unwrap_or("").to_owned();
    assert!(
        reason.contains("current version [9] is higher than the one provided [8]"),
        "{reason}"
    );
}

async fn external_takes_higher_only(c: Arc<Context>) {
    c.create_plain().await;
    assert_eq!(c.put(&external("a", 5, "external"), json!({})).await.0, 201);
    assert_eq!(c.put(&external("a", 5, "external"), json!({})).await.0, 409);
    assert_eq!(c.put(&external("a", 6, "external"), json!({})).await.0, 200);
    assert_eq!(c.delete(&external("a", 6, "external")).await.0, 409);
    let (status, gone) = c.delete(&external("a", 7, "external")).await;
    assert_eq!((status, &gone["_version"]), (200, &json!(7)));
    // A delete may come before its document.
    let (status, gone) = c.delete(&external("b", 4, "external_gte")).await;
    assert_eq!(
        (status, &gone["_version"], &gone["result"]),
        (404, &json!(4), &json!("not_found"))
    );
}

async fn refused_writes_take_no_sequence_number(c: Arc<Context>) {
    c.create_plain().await;
    gte(&c, "a", 5).await;
    gte(&c, "a", 4).await;
    c.put("/_create/a", json!({})).await;
    c.put("/_doc/a?if_seq_no=7&if_primary_term=1", json!({})).await;
    c.put_ok("/_mapping", json!({"properties": {"n": {"type": "long"}}}))
        .await;
    c.put("/_doc/b", json!({"n": "text"})).await;
    assert_eq!(c.shard_stats(0).await["seq_no"]["max_seq_no"], 0);
    assert_eq!(gte(&c, "a", 6).await.1["_seq_no"], 1);
}

async fn the_first_and_the_last_version_are_versions(c: Arc<Context>) {
    c.create_plain().await;
    assert_eq!(gte(&c, "a", 0).await.0, 201);
    assert_eq!(gte(&c, "a", 0).await.0, 200);
    assert_eq!(gte(&c, "a", i64::MAX).await.1["_version"], json!(i64::MAX));
    let (status, gone) = c.delete("/_doc/a").await;
    assert_eq!((status, &gone["_version"]), (200, &json!(i64::MIN)));
}

async fn a_tombstone_refuses_lower_versions_for_gc_deletes(c: Arc<Context>) {
    c.create_plain().await;
    gte(&c, "a", 9).await;
    assert_eq!(c.delete(&external("a", 10, "external_gte")).await.0, 200);
    let (status, refused) = gte(&c, "a", 9).await;
    assert_eq!(
        (status, error_type(&refused)),
        (409, "version_conflict_engine_exception")
    );
    let (status, back) = gte(&c, "a", 10).await;
    assert_eq!(
        (status, &back["result"], &back["_version"]),
        (201, &json!("created"), &json!(10))
    );
}

async fn without_gc_deletes_a_tombstone_is_soon_forgotten(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 1, "gc_deletes": "0s"}), json!({}))
        .await;
    let index = &c.index;
    let lines = format!(
        "{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"a\",\"version\":9,\"version_type\":\"external_gte\"}}}}\n{{}}\n\
         {{\"delete\":{{\"_index\":\"{index}\",\"_id\":\"a\"}}}}\n\
         {{\"index\":{{\"_index\":\"{index}\",\"_id\":\"a\",\"version\":3,\"version_type\":\"external_gte\"}}}}\n{{}}\n"
    );
    let (_, answer) = c.es.bulk("/_bulk", lines).await;
    assert_eq!(answer["items"][1]["delete"]["_version"], 10, "{answer}");
    assert_eq!(
        answer["items"][2]["index"]["status"], 409,
        "within one bulk it still counts: {answer}"
    );
    eventually(
        "the tombstone to be forgotten",
        Duration::from_secs(10),
        async || {
            let (status, answer) = gte(&c, "a", 3).await;
            if status == 201 { Ok(()) } else { Err(answer) }
        },
    )
    .await;
}

async fn an_internal_version_goes_on_after_a_delete(c: Arc<Context>) {
    c.create_plain().await;
    gte(&c, "a", 41).await;
    assert_eq!(c.delete("/_doc/a").await.1["_version"], 42);
    let (status, back) = c.put("/_doc/a", json!({})).await;
    assert_eq!(
        (status, &back["_version"], &back["result"]),
        (201, &json!(43), &json!("created"))
    );
}

async fn every_delete_leaves_a_fresh_tombstone(c: Arc<Context>) {
    c.create_plain().await;
    let versions = [1, 2, 3];
    for expected in versions {
        let (status, gone) = c.delete("/_doc/a").await;
        assert_eq!(
            (status, &gone["_version"], &gone["_seq_no"]),
            (404, &json!(expected), &json!(expected - 1))
        );
    }
}

async fn sequence_numbers_guard_a_write(c: Arc<Context>) {
    c.create_plain().await;
    let (status, answer) = c.put("/_doc/a?if_seq_no=0&if_primary_term=1", json!({})).await;
    assert_eq!(
        (status, error_type(&answer)),
        (409, "version_conflict_engine_exception")
    );
    c.put_ok("/_doc/a", json!({})).await;
    assert_eq!(
        c.put("/_doc/a?if_seq_no=0&if_primary_term=1", json!({})).await.1["_version"],
        2
    );
    assert_eq!(
        c.put("/_doc/a?if_seq_no=0&if_primary_term=1", json!({})).await.0,
        409
    );
    assert_eq!(
        c.put("/_doc/a?if_seq_no=1&if_primary_term=2", json!({})).await.0,
        409
    );
    assert_eq!(c.delete("/_doc/a?if_seq_no=1&if_primary_term=1").await.0, 200);
    assert_eq!(c.put("/_create/a", json!({})).await.0, 201);
    assert_eq!(c.put("/_create/a", json!({})).await.0, 409);
}

async fn versions_that_contradict_are_refused(c: Arc<Context>) {
    c.create_plain().await;
    for path in [
        "/_doc/a?version=3",
        "/_doc/a?version_type=external",
        "/_doc/a?version=-3&version_type=external",
        "/_create/a?version=3&version_type=external",
        "/_doc/a?if_seq_no=3",
    ] {
        let (status, answer) = c.put(path, json!({})).await;
        assert_eq!(
            (status, error_type(&answer)),
            (400, "action_request_validation_exception"),
            "{path}: {answer}"
        );
    }
}
