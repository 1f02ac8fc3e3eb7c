//! Operations that an encoding could get wrong, one of each kind, in one shard. They are also the fixtures of the
//! parser's own tests.

use serde_json::json;
use slipstream_testkit::servers::{Engine, Release};

use crate::book::{Book, Item, Source};

/// A text field that is indexed as one term takes what the mapping lets pass and Lucene does not.
pub(crate) const ONE_TERM: &str = "one_term";

/// A mapping with that field and none that depends on the documents.
pub(crate) fn mapping() -> serde_json::Value {
    json!({"dynamic": false, "properties": {ONE_TERM: {"type": "text", "analyzer": "keyword"}}})
}

/// More bytes than a term may have.
pub(crate) fn too_long() -> Source {
    Source::json(format!("{{\"{ONE_TERM}\":\"{}\"}}", "x".repeat(33_000)))
}

/// `{"a": 1, "b": "🦀"}` in CBOR, as a map without a length.
pub(crate) fn cbor() -> Source {
    Source {
        kind: "application/cbor",
        bytes: b"\xbf\x61a\x01\x61b\x64\xf0\x9f\xa6\x80\xff".to_vec(),
    }
}

/// `{"a": 1}` in SMILE, with its header.
fn smile() -> Source {
    Source {
        kind: "application/smile",
        bytes: b":)\n\x01\xfa\x80a\xc2\xfb".to_vec(),
    }
}

fn yaml() -> Source {
    Source {
        kind: "application/yaml",
        bytes: b"---\na: 1\nb: \"\xc3\xa9\"\n".to_vec(),
    }
}

/// Creates the index and writes all of it. Releases that have mapping types get one of another name than `_doc`.
pub(crate) async fn write(book: &mut Book, release: Release) {
    create(book, release).await;
    singles(book).await;
    versions(book).await;
    bulks(book).await;
    deletions(book).await;
    book.fail("never there", None, too_long()).await;
    let words = "larger than a generation 🦀 ".repeat(700);
    book.put(
        "large",
        None,
        Source::json(format!("{{\"text\":\"{words}\"}}")),
        "",
    )
    .await;
    book.delete("large", None, "").await;
    book.put("last", Some("one"), Source::json("{}"), "").await;
}

async fn create(book: &Book, release: Release) {
    let typed = match release.engine() {
        Engine::Elasticsearch => release.version().0 < 8,
        Engine::OpenSearch => release.version().0 < 2,
    };
    let settings = json!({"number_of_shards": 1, "number_of_replicas": 0,
        "translog.generation_threshold_size": "4kb"});
    let (query, mappings) = if typed {
        ("?include_type_name=true", json!({"tweet": mapping()}))
    } else {
        ("", mapping())
    };
    let body = json!({"settings": {"index": settings}, "mappings": mappings});
    let (status, answer) = book.client.put(&format!("/{}{query}", book.index()), &body).await;
    assert_eq!(status, 200, "{answer}");
}

async fn singles(book: &mut Book) {
    let ids = [
        "1",
        "0012",
        "12345678901234567890",
        "plain",
        "AbCdEf-_0123",
        "crab 🦀",
        "👨‍👩‍👧",
        "文档",
        "é\u{301}",
        "\u{ffff}\u{10ffff}\u{fffd}",
        "a/b?c=d&e#f%20,*",
        " ",
        "quote\"back\\slash\ttab",
    ];
    for id in ids {
        let source = format!("{{ \"id\" :\t{} }} ", json!(id));
        book.put(id, None, Source::json(source), "").await;
    }
    for long in ["x".repeat(512), "漢".repeat(170), "🦀".repeat(128)] {
        book.put(&long, None, Source::json("{\"long\":true}"), "").await;
    }
    for routing in ["r", "路由", "🦀", "a b/c", "%2F?#"] {
        book.put(
            "routed",
            Some(routing),
            Source::json("{\n  \"routed\": true\r\n}\n"),
            "",
        )
        .await;
        book.put(
            "crab 🦀",
            Some(routing),
            Source::json("{\"🦀\":\"\\ud83e\\udd80\\u0000\"}"),
            "",
        )
        .await;
    }
    for routing in [None, Some("r")] {
        book.post(routing, Source::json("{\"auto\":true}")).await;
    }
    for (id, source) in [("cbor", cbor()), ("smile", smile()), ("yaml", yaml())] {
        book.put(id, Some("🦀"), source, "").await;
    }
    book.put("created", None, Source::json("{}"), "&op_type=create")
        .await;
    book.put("created", None, Source::json("{}"), "&op_type=create")
        .await;
    book.update("created", None, "{\"merged\":\"🦀\",\"n\":1.0}")
        .await;
    book.update("created", None, "{\"merged\":\"🦀\"}").await;
}

async fn versions(book: &mut Book) {
    for version in ["0", "5", "4", "9223372036854775807"] {
        let more = format!("&version={version}&version_type=external");
        book.put(
            "external",
            None,
            Source::json(format!("{{\"v\":{version}}}")),
            &more,
        )
        .await;
    }
    let more = "&version=7&version_type=external_gte";
    for _ in 0..2 {
        book.put("external_gte", None, Source::json("{\"v\":7}"), more)
            .await;
    }
    book.delete("external_gte", None, "&version=8&version_type=external")
        .await;
}

async fn bulks(book: &mut Book) {
    let item = |action, id: Option<&str>, routing: Option<&str>, source: &str| Item {
        action,
        id: id.map(str::to_owned),
        routing: routing.map(str::to_owned),
        source: source.to_owned(),
    };
    book.bulk(vec![
        item("index", Some("nul\0in the middle"), None, "  { \"bulk\" : 1 }\t"),
        item("create", Some("crab 🦀 bulk"), Some("🦀"), "{\"bulk\":2}"),
        item("create", Some("crab 🦀 bulk"), Some("🦀"), "{\"bulk\":3}"),
        item("index", None, None, "{\"auto\":1e400,\"unmapped\":\"\\u00e9\"}"),
        item("delete", Some("nul\0 and missing"), None, ""),
        item("delete", Some("文档"), None, ""),
        item("index", Some("文档"), None, "{}"),
    ])
    .await;
}

async fn deletions(book: &mut Book) {
    for (id, routing) in [
        ("1", None),
        ("0012", None),
        ("AbCdEf-_0123", None),
        ("crab 🦀", Some("🦀")),
        ("\u{ffff}\u{10ffff}\u{fffd}", None),
        ("missing", None),
        ("missing 🦀", Some("r")),
    ] {
        book.delete(id, routing, "").await;
    }
}
