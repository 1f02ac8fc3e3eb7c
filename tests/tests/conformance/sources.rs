//! Sources come back byte by byte: from realtime reads, from searches and from `_mget`.

use std::sync::Arc;

use crate::context::{Context, cases};

cases![
    blanks_and_newlines_survive_a_put,
    a_bulk_line_loses_only_its_carriage_return,
    numbers_keep_their_spelling,
    comments_survive,
    what_is_no_document_is_refused,
    escapes_and_other_alphabets_survive,
    null_arrays_and_empty_objects_survive,
];

/// Puts a source and expects exactly it from every way of reading.
async fn round_trip(c: &Context, id: &str, source: &str) {
    let (status, answer) =
        c.es.put_bytes(&c.at(&format!("/_doc/{id}?refresh=true")), source)
            .await;
    assert!(matches!(status, 200 | 201), "{source}: {answer}");
    expect(c, id, source).await;
}

async fn expect(c: &Context, id: &str, source: &str) {
    let mut wanted = b"\"_source\":".to_vec();
    wanted.extend_from_slice(source.as_bytes());
    let query = format!("{{\"query\":{{\"ids\":{{\"values\":[\"{id}\"]}}}},\"sort\":[\"_seq_no\"]}}");
    let json = |body: String| Some(("application/json", body.into_bytes()));
    for (method, path, body) in [
        ("GET", format!("/_doc/{id}"), None),
        ("POST", "/_search".to_owned(), json(query)),
        (
            "POST",
            "/_mget".to_owned(),
            json(format!("{{\"ids\":[\"{id}\"]}}")),
        ),
    ] {
        let (status, bytes) =
            c.es.try_send(method, &c.at(&path), body)
                .await
                .expect("an answer");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let found = bytes.windows(wanted.len()).any(|w| w == wanted);
        assert!(
            status == 200 && found,
            "{path} does not hold the very bytes of {source:?}: {text}"
        );
    }
}

async fn blanks_and_newlines_survive_a_put(c: Arc<Context>) {
    c.create_plain().await;
    round_trip(&c, "a", "  { \"n\" :\t1 ,\n \"t\" : \"x\" }  \n").await;
    round_trip(&c, "b", "{\r\n\"n\": 1\r\n}").await;
}

async fn a_bulk_line_loses_only_its_carriage_return(c: Arc<Context>) {
    c.create_plain().await;
    let lines =
        "{\"index\":{\"_id\":\"a\"}}\n  {\"n\": 1}  \r\n{\"index\":{\"_id\":\"b\"}}\n\t{\"n\":  2 }\t\n";
    let (_, answer) = c.es.bulk(&c.at("/_bulk?refresh=true"), lines).await;
    assert_eq!(answer["errors"], false, "{answer}");
    expect(&c, "a", "  {\"n\": 1}  ").await;
    expect(&c, "b", "\t{\"n\":  2 }\t").await;
}

async fn numbers_keep_their_spelling(c: Arc<Context>) {
    c.create(serde_json::json!({}), serde_json::json!({"dynamic": "false"}))
        .await;
    round_trip(
        &c,
        "a",
        "{\"n\":123456789012345678901234567890,\"d\":0.1000000000000000055511151231257827000}",
    )
    .await;
    round_trip(
        &c,
        "b",
        "{\"n\":1e400,\"m\":-0.0,\"e\":1E+2,\"z\":9223372036854775808}",
    )
    .await;
}

async fn comments_survive(c: Arc<Context>) {
    c.create_plain().await;
    round_trip(&c, "a", "{\"n\":1 /* one */, // two\n \"m\":2}").await;
}

async fn what_is_no_document_is_refused(c: Arc<Context>) {
    c.create_plain().await;
    for source in [
        "{\"n\":NaN}",
        "{\"n\":1,\"n\":2}",
        "{\"n\":",
        "[1]",
        "{\"n\":1} {\"m\":1}",
        "{\"_id\":1}",
        "{\"n\":01}",
        "text",
    ] {
        let (status, answer) = c.es.put_bytes(&c.at("/_doc/a"), source).await;
        assert_eq!(status, 400, "{source}: {answer}");
    }
    assert_eq!(c.shard_stats(0).await["seq_no"]["max_seq_no"], -1);
}

async fn escapes_and_other_alphabets_survive(c: Arc<Context>) {
    c.create_plain().await;
    round_trip(
        &c,
        "a",
        "{\"t\":\"\\u00e4 ä 漢字 😀 \\ud83d\\ude00 \\/ \\t\",\"ключ\":\"\\u0000\"}",
    )
    .await;
}

async fn null_arrays_and_empty_objects_survive(c: Arc<Context>) {
    c.create_plain().await;
    round_trip(
        &c,
        "a",
        "{\"r\":null,\"s\":[],\"u\":{},\"v\":[null,[1,[2]]],\"w.x\":1}",
    )
    .await;
    round_trip(&c, "b", "{}").await;
}
