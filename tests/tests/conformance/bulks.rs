//! `_bulk`: outcomes in order, each item for itself, and what refuses a bulk as a whole.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::context::{Context, cases, error_type, ids};

cases![
    items_are_answered_in_order_each_for_itself,
    items_of_one_document_take_effect_in_order,
    malformed_bulks_are_refused_whole,
    empty_lines_and_default_parameters,
    pipelines_that_do_not_exist_fail_their_items,
    routing_and_versions_travel_with_items,
    replaying_a_bulk_changes_nothing_but_sequence_numbers,
];

async fn bulk(c: &Context, params: &str, lines: &str) -> (u16, Value) {
    c.es.bulk(&c.at(&format!("/_bulk{params}")), lines.to_owned())
        .await
}

async fn items_are_answered_in_order_each_for_itself(c: Arc<Context>) {
    c.create(
        json!({"number_of_shards": 1}),
        json!({"properties": {"n": {"type": "long"}}}),
    )
    .await;
    let lines = r#"{"index":{"_id":"a"}}
{"n":1}
{"create":{"_id":"a"}}
{"n":1}
{"delete":{"_id":"none"}}
{"index":{"_id":"b"}}
{"n":"text"}
{"update":{"_id":"none"}}
{"doc":{"n":1}}
{"update":{"_id":"a"}}
{"doc":{"n":2}}
{"index":{"_id":"c"}}
{"n":3
{"create":{"_id":"d"}}
{"n":4}
"#;
    let (status, answer) = bulk(&c, "", lines).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(true)));
    let expected = [
        ("index", "a", 201, "no error"),
        ("create", "a", 409, "version_conflict_engine_exception"),
        ("delete", "none", 404, "no error"),
        (
            "index",
            "b",
            400,
            if newer_names(&c) {
                "document_parsing_exception"
            } else {
                "mapper_parsing_exception"
            },
        ),
        ("update", "none", 404, "document_missing_exception"),
        ("update", "a", 200, "no error"),
        (
            "index",
            "c",
            400,
            if newer_names(&c) {
                "document_parsing_exception"
            } else {
                "mapper_parsing_exception"
            },
        ),
        ("create", "d", 201, "no error"),
    ];
    let items = answer["items"].as_array().expect("items");
    assert_eq!(items.len(), expected.len(), "{answer}");
    for (item, (verb, id, status, error)) in items.iter().zip(expected) {
        let body = &item[verb];
        assert_eq!(body["_id"], id, "{item}");
        assert_eq!(
            (&body["status"], error_type(body)),
            (&json!(status), error),
            "{item}"
        );
        assert_eq!(body["_index"], json!(c.index));
    }
    assert_eq!(items[2]["delete"]["result"], "not_found");
    assert_eq!(c.shard_stats(0).await["seq_no"]["max_seq_no"], 3);
}

/// Elasticsearch 8 renamed the exception that a document gets which does not fit its mapping.
pub(crate) fn newer_names(c: &Context) -> bool {
    !c.opensearch && c.version.0 >= 8
}

async fn items_of_one_document_take_effect_in_order(c: Arc<Context>) {
    c.create_plain().await;
    let lines = "{\"index\":{\"_id\":\"a\"}}\n{\"n\":1}\n{\"delete\":{\"_id\":\"a\"}}\n{\"index\":{\"_id\":\"a\"}}\n{\"n\":2}\n";
    let (_, answer) = bulk(&c, "?refresh=true", lines).await;
    let results: Vec<&Value> = answer["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|i| {
            i.as_object()
                .and_then(|o| o.values().next())
                .map_or(&Value::Null, |v| &v["result"])
        })
        .collect();
    assert_eq!(results, ["created", "deleted", "created"]);
    assert_eq!(c.get("/_doc/a").await.1["_source"]["n"], 2);
    assert_eq!(ids(&c.search("", json!({})).await), ["a"]);
}

async fn malformed_bulks_are_refused_whole(c: Arc<Context>) {
    c.create_plain().await;
    for (lines, kind) in [
        (
            "{\"index\":{\"_id\":\"a\"}}\n{\"n\":1}",
            "illegal_argument_exception",
        ),
        (
            "{\"index\":{\"_id\":\"a\"}}\n{\"n\":1}\n{\"index\":{\"_id\":\"b\",\"zork\":1}}\n{\"n\":1}\n",
            "illegal_argument_exception",
        ),
        (
            "{\"index\":{\"_id\":\"a\",\"version\":3}}\n{\"n\":1}\n",
            "action_request_validation_exception",
        ),
        ("", "parse_exception"),
    ] {
        let (status, answer) = bulk(&c, "", lines).await;
        assert_eq!(status, 400, "{lines}: {answer}");
        assert!(
            error_type(&answer) == kind || lines.is_empty(),
            "{lines}: {answer}"
        );
    }
    let (status, answer) =
        c.es.bulk("/_bulk", "{\"index\":{\"_id\":\"a\"}}\n{\"n\":1}\n")
            .await;
    assert_eq!(
        (status, error_type(&answer)),
        (400, "action_request_validation_exception"),
        "no index: {answer}"
    );
    assert_eq!(c.get("/_doc/a").await.0, 404);
}

async fn empty_lines_and_default_parameters(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 5}), json!({})).await;
    let lines = "{\"index\":{\"_id\":\"a\"}}\n{\"n\":1}\n\n{\"index\":{\"_id\":\"b\",\"routing\":\"own\"}}\n{\"n\":2}\n";
    let (status, answer) = bulk(&c, "?routing=all&refresh=true", lines).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    let hits = c.search("", json!({"sort": ["n"]})).await["hits"]["hits"].clone();
    assert_eq!(
        (&hits[0]["_routing"], &hits[1]["_routing"]),
        (&json!("all"), &json!("own"))
    );
}

async fn pipelines_that_do_not_exist_fail_their_items(c: Arc<Context>) {
    c.create(
        json!({"number_of_shards": 1, "default_pipeline": "zork"}),
        json!({}),
    )
    .await;
    let lines = "{\"index\":{\"_id\":\"a\"}}\n{\"n\":1}\n";
    let (status, answer) = bulk(&c, "", lines).await;
    assert_eq!(
        (status, &answer["items"][0]["index"]["status"]),
        (200, &json!(400)),
        "{answer}"
    );
    assert_eq!(
        error_type(&answer["items"][0]["index"]),
        "illegal_argument_exception"
    );
    let (_, answer) = bulk(&c, "?pipeline=_none", lines).await;
    assert_eq!(answer["items"][0]["index"]["status"], 201, "{answer}");
    assert_eq!(c.put("/_doc/b", json!({})).await.0, 400);
    assert_eq!(c.put("/_doc/b?pipeline=_none", json!({})).await.0, 201);
}

async fn routing_and_versions_travel_with_items(c: Arc<Context>) {
    c.create(json!({"number_of_shards": 3}), json!({})).await;
    let lines = r#"{"index":{"_id":"a","routing":"r1","version":77,"version_type":"external_gte"}}
{"n":1}
{"index":{"_id":"a","routing":"r1","version":76,"version_type":"external_gte"}}
{"n":2}
{"delete":{"_id":"a","routing":"r1","version":78,"version_type":"external_gte"}}
"#;
    let (_, answer) = bulk(&c, "?pipeline=_none", lines).await;
    let statuses: Vec<&Value> = ["index", "index", "delete"]
        .iter()
        .enumerate()
        .map(|(n, v)| &answer["items"][n][v]["status"])
        .collect();
    assert_eq!(statuses, [201, 409, 200], "{answer}");
    assert_eq!(answer["items"][2]["delete"]["_version"], 78);
}

async fn replaying_a_bulk_changes_nothing_but_sequence_numbers(c: Arc<Context>) {
    c.create_plain().await;
    let mut lines = String::new();
    for n in 0..50 {
        let action =
            json!({"index": {"_id": format!("d{n}"), "version": n + 1, "version_type": "external_gte"}});
        lines.extend([format!("{action}\n{{\"n\":{n}}}\n")]);
    }
    for round in 0..2 {
        let (_, answer) = bulk(&c, "", &lines).await;
        assert_eq!(answer["errors"], false, "round {round}: {answer}");
    }
    let (_, doc) = c.get("/_doc/d9").await;
    assert_eq!((&doc["_version"], &doc["_source"]["n"]), (&json!(10), &json!(9)));
    assert_eq!(c.shard_stats(0).await["seq_no"]["max_seq_no"], 99);
}
