//! Whatever a document was stored as comes back byte for byte, and nothing that it holds makes another hit.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SEAL: &str = "4be0643f1d98573b97cdca98a65347dd";

/// A hit as the engines print it, with the source put in as it is.
fn printed(id: &str, routing: Option<&str>, seq_no: u64, source: &[u8], seal: Option<&str>) -> Vec<u8> {
    let mut hit = format!(
        r#"{{"_index":"i","_type":"_doc","_id":{},"_version":{},"_seq_no":{seq_no},"_primary_term":3,"_score":null,"#,
        json!(id),
        seq_no + 7,
    );
    if let Some(routing) = routing {
        let _ = write!(hit, r#""_routing":{},"#, json!(routing));
    }
    hit.push_str(r#""_source":"#);
    let mut hit = hit.into_bytes();
    hit.extend_from_slice(source);
    hit.extend_from_slice(format!(r#","sort":[{seq_no}]"#).as_bytes());
    if let Some(seal) = seal {
        hit.extend_from_slice(format!(r#","matched_queries":["{seal}"]"#).as_bytes());
    }
    hit.push(b'}');
    hit
}

fn answer(hits: &[Vec<u8>]) -> Bytes {
    let mut body = br#"{"took":3,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"max_score":null,"hits":["#.to_vec();
    body.extend_from_slice(&hits.join(&b','));
    body.extend_from_slice(br#"]},"aggregations":{"live":{"doc_count":41}}}"#);
    Bytes::from(body)
}

fn sources(sliced: &Sliced) -> Vec<&[u8]> {
    sliced
        .ops
        .iter()
        .filter_map(|op| match &op.change {
            Change::Index { source } => Some(&source[..]),
            _ => None,
        })
        .collect()
}

fn one(source: &[u8]) -> ScanResult<Vec<u8>> {
    let sliced = slice(
        &answer(&[
            printed("a", None, 0, source, None),
            printed("b", None, 1, b"{}", None),
        ]),
        None,
        2,
    )?;
    assert_eq!(sliced.ops.len(), 2, "the hit behind it is found");
    Ok(sources(&sliced)[0].to_vec())
}

#[test]
fn a_page_is_cut_into_operations() {
    let body = answer(&[
        printed("a\"\\\u{1}é😀", Some("r\"/"), 5, br#"{"x":"}\"{"}"#, None),
        printed("b", None, 9, b"{}", None),
    ]);
    let sliced = slice(&body, None, 10).expect("an answer");
    assert_eq!(sliced.live, Some(41));
    assert_eq!(
        sliced.outcome.shards,
        ShardCounts {
            total: 1,
            successful: 1,
            failed: 0
        }
    );
    assert!(!sliced.outcome.timed_out);
    assert_eq!(
        sliced.ops[0],
        Op {
            seq_no: SeqNo::new(5),
            term: PrimaryTerm(3),
            version: Version(12),
            doc: DocRef {
                id: "a\"\\\u{1}é😀".into(),
                routing: Some("r\"/".into())
            },
            change: Change::Index {
                source: Bytes::from_static(br#"{"x":"}\"{"}"#)
            },
        }
    );
    assert_eq!(
        sliced.ops[1].doc,
        DocRef {
            id: "b".into(),
            routing: None
        }
    );
}

#[test]
fn sources_are_slices_of_the_answer() {
    let body = answer(&[printed("a", None, 0, br#"{"x":1}"#, None)]);
    let sliced = slice(&body, None, 1).expect("an answer");
    let range = body.as_ptr_range();
    assert!(
        sources(&sliced)
            .iter()
            .all(|source| range.contains(&source.as_ptr()))
    );
}

#[test]
fn whatever_an_engine_stores_comes_back_byte_for_byte() {
    for source in [
        &b"{}"[..],
        b" \n\t{ \"a\" : 1 }\r\n ",
        b"\n\n{\"a\":1}\n",
        b"/* { \" */{\"a\":1}/* } , \" */",
        b"// \" { [\n{\"a\":1}",
        b"// \" { [\r{\"a\":1}",
        b"{\"a\":1 // }\" ,\n, /* \"]} */ \"b\":[1,/*]*/2]}",
        b"{\"a\":NaN,\"b\":-Infinity,\"a\":+1,\"c\":1e400,\"d\":00000.10}",
        b"{\"a\":\"// no comment /* \\\" \\\\\"}",
        b"{\"a\":\"\\\\\",\"b\":\"\\\\\\\"}\"}",
        b"{\"sort\":[0],\"_source\":{\"_id\":\"x\",\"_seq_no\":99},\"hits\":{\"hits\":[]}}",
        b"{\"a\":{\"b\":[{\"c\":[[],{}]}]}}   ",
        b"\xef\xbb\xbf{\"a\":1}",
        "{\"ключ\":\"значение 😀\u{2028}\"}".as_bytes(),
        b"{\"a\":\"0123456789abcdef\\\"0123456789abcdef0123456789\\\\\"}",
        b"{\"a\":\"0123456789abcde\\\\\",\"b\":\"0123456789abcdef\"}",
    ] {
        assert_eq!(
            one(source).expect("a source").escape_ascii().to_string(),
            source.escape_ascii().to_string()
        );
    }
}

/// Found on real servers: the comment's end is not stored where the body had no newline behind it.
#[test]
fn a_line_comment_behind_the_object_needs_a_seal() {
    for source in [
        &b"{\"a\":1}//x"[..],
        b"{\"a\":1} // x\n",
        b"{\"a\":1}//",
        b"{}/**/ //a\n//b\n  ",
    ] {
        let error = one(source).expect_err("ambiguous");
        assert!(error.wants_seal(), "{error}");
        let body = answer(&[
            printed("a", None, 0, source, Some(SEAL)),
            printed("b", None, 1, source, Some(SEAL)),
            printed("c", None, 2, b"{\n}", Some(SEAL)),
        ]);
        let sliced = slice(&body, Some(SEAL), 3).expect("sealed");
        assert_eq!(sources(&sliced), [source, source, b"{\n}"]);
    }
}

/// In a point in time a tie-breaker follows the sequence number.
#[test]
fn the_seal_is_found_behind_several_sort_values() {
    let hit = format!(
        r#"{{"_id":"a","_version":1,"_seq_no":0,"_primary_term":1,"_source":{{}}//x,"sort":[0,-4294967296],"matched_queries":["{SEAL}"]}}"#
    );
    let sliced = slice(&answer(&[hit.into_bytes()]), Some(SEAL), 1).expect("sealed");
    assert_eq!(sources(&sliced), [b"{}//x"]);
}

#[test]
fn a_document_cannot_pretend_to_be_another_hit() {
    let forged =
        br#"{"a":1}//,"sort":[0]},{"_id":"victim","_version":1,"_seq_no":1,"_primary_term":1,"_source":{}"#;
    assert!(one(forged).expect_err("ambiguous").wants_seal());
    let mut with_newline = forged.to_vec();
    with_newline.push(b'\n');
    for source in [&forged[..], &with_newline] {
        let body = answer(&[
            printed("a", None, 0, source, Some(SEAL)),
            printed("b", None, 2, b"{}", Some(SEAL)),
        ]);
        let sliced = slice(&body, Some(SEAL), 2).expect("sealed");
        assert_eq!(sources(&sliced), [source, b"{}"]);
    }
    // UTF-16, where a quote or a brace can be half of another character.
}

/// Engines take these; half of a character can look like a quote or a brace.
#[test]
fn wide_encodings_need_a_seal() {
    let text = "{\"a\":\"∢ ⁽ Ｂ {\"}";
    let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = [b"\xff\xfe", &le[..]].concat();
    let wide: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let blank = [b" \0", &le[..]].concat();
    for source in [le, be, marked, wide, blank] {
        assert!(one(&source).expect_err("no UTF-8").wants_seal());
        let body = answer(&[
            printed("a", None, 0, &source, Some(SEAL)),
            printed("b", None, 2, b"{}", Some(SEAL)),
        ]);
        let sliced = slice(&body, Some(SEAL), 2).expect("sealed");
        assert_eq!(sources(&sliced), [&source[..], b"{}"]);
    }
}

#[test]
fn member_order_and_blanks_between_do_not_matter() {
    let body = br#" { "hits" : { "hits" : [ { "sort" : [ 4 ] , "_source":{"a":1}, "_routing" : "r" , "_primary_term" : 2 ,
        "fields" : { "x" : [ "}" , null , true ] } , "_version" : 9 , "_id" : "a" , "_seq_no" : 4 } ] , "total" : { "value" : 1 } } ,
        "pit_id" : "p" , "_shards" : { "failed" : 0 , "failures" : [ ] , "successful" : 1 , "total" : 1 } , "timed_out" : true } "#;
    let sliced = slice(&Bytes::from_static(body), None, 1).expect("an answer");
    assert_eq!(sources(&sliced), [br#"{"a":1}"#]);
    assert_eq!(
        sliced.ops[0].doc,
        DocRef {
            id: "a".into(),
            routing: Some("r".into())
        }
    );
    assert!(sliced.outcome.timed_out);
    assert_eq!(sliced.live, None);
}

#[test]
fn no_hits_is_an_answer_too() {
    let sliced = slice(&answer(&[]), None, 1).expect("an answer");
    assert!(sliced.ops.is_empty());
}

#[test]
fn a_hit_without_a_source_is_an_error_that_says_why() {
    let body = answer(&[br#"{"_id":"a","_version":1,"_seq_no":0,"_primary_term":1,"sort":[0]}"#.to_vec()]);
    let error = slice(&body, None, 1).expect_err("no source");
    assert!(error.to_string().contains("no `_source`"), "{error}");
}

#[test]
fn what_no_engine_answers_is_refused() {
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"<html>",
        br#"{"timed_out":false}"#,
        br#"{"_shards":{"total":1},"hits":{"hits":[{}]}}"#,
        br#"{"_shards":{"total":-1},"hits":{"hits":[]}}"#,
        br#"{"_shards":{"total":1},"hits":{"hits":[]}} x"#,
        br#"{"_shards":{"total":1},"hits":{"hits":[{"_id":"a","_version":1,"_seq_no":-2,"_primary_term":0,"_source":{}}]}}"#,
        br#"{"_shards":{"total":1},"hits":{"hits":[{"_id":"a","_version":1,"_seq_no":1,"_primary_term":1,"_source":"x"}]}}"#,
        br#"{"_shards":{"total":1},"hits":{"hits":[{"_id":"a","_version":1,"_seq_no":1,"_primary_term":1,"_source":{} x}]}}"#,
        br#"{"_shards":{"total":1},"hits":{"hits":[{"_id":"\ud800","_version":1,"_seq_no":1,"_primary_term":1,"_source":{}}]}}"#,
        b"{\"_shards\":{\"total\":1},\"hits\":{\"hits\":[{\"_id\":\"\xff\",\"_version\":1,\"_seq_no\":1,\"_primary_term\":1,\"_source\":{}}]}}",
    ] {
        let outcome = slice(&Bytes::copy_from_slice(body), None, 1);
        assert!(outcome.is_err(), "{}", body.escape_ascii());
    }
}

/// Blanks and comments as they may stand between tokens; a line comment only with its end.
fn filler() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        "[ \t\r\n]{1,3}",
        r#"[a-z"{}\[\],:\\/ ]{0,8}"#.prop_map(|text| format!("/*{}*/", text.replace("*/", ""))),
        (r#"[a-z"{}\[\],:\\/* ]{0,8}"#, "[\r\n]").prop_map(|(text, end)| format!("//{text}{end}")),
    ];
    prop::collection::vec(piece, 0..2).prop_map(|pieces| pieces.concat())
}

fn string_token() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", r#"[\\"/{}\[\],*é😀]{0,24}"#].prop_map(|text| json!(text).to_string())
}

/// A value as Jackson takes it.
fn value_token() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string_token(),
        "-?[0-9]{1,20}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        prop::sample::select(vec!["true", "false", "null", "NaN", "-Infinity"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let part = (filler(), inner, filler())
            .prop_map(|(a, value, b)| format!("{a}{value}{b}"))
            .boxed();
        let member = (filler(), string_token(), filler(), part.clone())
            .prop_map(|(a, name, b, value)| format!("{a}{name}{b}:{value}"));
        prop_oneof![
            prop::collection::vec(part, 0..4).prop_map(|parts| format!("[{}]", parts.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A stored document with what may be stored around it.
fn source() -> impl Strategy<Value = String> {
    let member = (
        filler(),
        string_token(),
        filler(),
        filler(),
        value_token(),
        filler(),
    )
        .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
    let tail = prop_oneof![3 => Just(String::new()), 1 => r#"//[a-z"{}\[\],:\\/ ]{0,12}"#];
    (filler(), prop::collection::vec(member, 0..5), filler(), tail)
        .prop_map(|(before, members, after, tail)| format!("{before}{{{}}}{after}{tail}", members.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Every source comes back byte for byte, with the seal always, and without it or with a request for it.
    #[test]
    fn any_page_is_cut_exactly(
        docs in prop::collection::vec((".{1,10}", prop::option::of(".{1,10}"), source()), 0..6),
    ) {
        for seal in [None, Some(SEAL)] {
            let hits: Vec<_> = docs
                .iter()
                .enumerate()
                .map(|(at, (id, routing, source))| printed(id, routing.as_deref(), at as u64, source.as_bytes(), seal))
                .collect();
            let sliced = match slice(&answer(&hits), seal, docs.len()) {
                Ok(sliced) => sliced,
                Err(error) => {
                    prop_assert!(seal.is_none() && error.wants_seal(), "{}", error);
                    continue;
                }
            };
            prop_assert_eq!(sliced.ops.len(), docs.len());
            prop_assert_eq!(sliced.live, Some(41));
            for ((op, cut), (id, routing, source)) in sliced.ops.iter().zip(sources(&sliced)).zip(&docs) {
                prop_assert_eq!(cut, source.as_bytes());
                prop_assert_eq!(&op.doc.id, id);
                prop_assert_eq!(&op.doc.routing, routing);
            }
        }
    }

    /// Neither noise nor an answer that was cut off anywhere makes operations or a panic.
    #[test]
    fn broken_answers_are_errors(
        docs in prop::collection::vec(source(), 1..4),
        at in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let hits: Vec<_> = docs.iter().map(|source| printed("a", None, 0, source.as_bytes(), None)).collect();
        let whole = answer(&hits);
        let cut = whole.slice(..at.index(whole.len()));
        prop_assert!(slice(&cut, None, 1).is_err());
        prop_assert!(slice(&cut, Some(SEAL), 1).is_err());
        let mut noisy = whole.to_vec();
        let at = at.index(noisy.len());
        noisy.splice(at..at, noise);
        let _ = slice(&Bytes::from(noisy), Some(SEAL), 1);
    }
}

/// `cargo test -p slipstream-cluster --release -- --ignored --nocapture slicing_speed`
#[test]
#[ignore = "a measurement"]
fn slicing_speed() {
    let source = br#"{"@timestamp":"2026-11-24T08:49:12.123Z","level":"info","message":"request served in 12 ms for client 10.0.0.7","status":200,"bytes":48213,"user":{"id":"u-20931","name":"Someone Else"},"tags":["a","bb","ccc"],"path":"/api/v1/items/20931?expand=all","agent":"Mozilla/5.0 (X11; Linux x86_64)"}"#;
    let hits: Vec<_> = (0..10_000)
        .map(|n| printed(&format!("doc-{n}"), None, n, source, None))
        .collect();
    let body = answer(&hits);
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let mut rounds = 0u32;
        while started.elapsed().as_millis() < 300 {
            assert_eq!(slice(&body, None, 10_000).expect("an answer").ops.len(), 10_000);
            rounds += 1;
        }
        let bytes = f64::from(rounds) * body.len() as f64;
        println!("{:.2} GB/s", bytes / started.elapsed().as_secs_f64() / 1e9);
    }
}
