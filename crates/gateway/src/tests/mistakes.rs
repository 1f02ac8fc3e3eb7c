//! Every route with every kind of mistake: the answer is a 4xx in the engines' envelope that says what is wrong, and the agent
//! has been asked for nothing.
//!
//! The matrix is generated from the list of routes, so a new call is tested by being there.

use super::*;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy)]
enum Badness {
    NoBody,
    NotJson,
    Truncated,
    NotAnObject,
    UnknownField,
    FieldTwice,
    WrongTypes,
    TooLarge,
    TooDeep,
    NotUtf8,
    OtherMediaType,
    UnknownParameter,
    BadFlag,
    BadTime,
    BadQuery,
    BadName,
    OtherMethod,
}

const ALL: [Badness; 17] = [
    Badness::NoBody,
    Badness::NotJson,
    Badness::Truncated,
    Badness::NotAnObject,
    Badness::UnknownField,
    Badness::FieldTwice,
    Badness::WrongTypes,
    Badness::TooLarge,
    Badness::TooDeep,
    Badness::NotUtf8,
    Badness::OtherMediaType,
    Badness::UnknownParameter,
    Badness::BadFlag,
    Badness::BadTime,
    Badness::BadQuery,
    Badness::BadName,
    Badness::OtherMethod,
];

/// Calls that need no body.
fn may_be_empty(path: &str) -> bool {
    path.ends_with("/_pause") || path.contains("/_task_cancel/")
}

/// Statuses that are right for it, and words that must be in the reason; `None` where it is no mistake.
fn expected(badness: Badness, method: &str, path: &str) -> Option<(Vec<u16>, &'static str)> {
    let has_body = method != "get";
    let own =
        path.contains("_replication") || path.starts_with("/_slipstream/v1") || path.contains("_cluster");
    match badness {
        Badness::NoBody if may_be_empty(path) => None,
        Badness::NoBody => has_body.then_some((vec![400], "request body or source parameter is required")),
        Badness::NotJson
        | Badness::Truncated
        | Badness::NotAnObject
        | Badness::FieldTwice
        | Badness::WrongTypes
        | Badness::TooDeep
        | Badness::NotUtf8 => has_body.then_some((vec![400], "")),
        // Settings may have any name.
        Badness::UnknownField if path.ends_with("/_update") => None,
        Badness::UnknownField => has_body.then_some((vec![400], "bogus")),
        Badness::TooLarge => has_body.then_some((vec![413], "longer than")),
        Badness::OtherMediaType => has_body.then_some((vec![406], "send application/json")),
        Badness::UnknownParameter | Badness::BadTime if path.ends_with("openapi.json") => None,
        Badness::UnknownParameter => own.then_some((vec![400], "unrecognized parameter: [bogus]")),
        Badness::BadFlag => own.then_some((vec![400], "only [true] or [false] are allowed")),
        Badness::BadTime => own.then_some((vec![400], "as a time value")),
        Badness::BadQuery => own.then_some((vec![400], "")),
        Badness::BadName => path
            .contains('{')
            .then_some((vec![400], "is not URL-encoded UTF-8")),
        Badness::OtherMethod => Some((vec![400, 403, 404, 405], "")),
    }
}

fn request(badness: Badness, method: &str, path: &str) -> Request<Body> {
    let query = match badness {
        Badness::UnknownParameter => "?bogus=1",
        Badness::BadFlag => "?pretty=perhaps",
        Badness::BadTime => "?timeout=soon",
        Badness::BadQuery => "?pretty=%ff",
        _ => "",
    };
    let method = match badness {
        Badness::OtherMethod => "PATCH".to_owned(),
        _ => method.to_uppercase(),
    };
    let media = match badness {
        Badness::OtherMediaType => "application/x-www-form-urlencoded",
        _ => "application/json; charset=UTF-8",
    };
    let body: Vec<u8> = match badness {
        Badness::NoBody => Vec::new(),
        Badness::NotJson => b"leader_alias=conn1".to_vec(),
        Badness::Truncated => br#"{"leader_alias":"conn1","#.to_vec(),
        Badness::NotAnObject => b"[]".to_vec(),
        Badness::UnknownField => br#"{"bogus":{"index":"a"}}"#.to_vec(),
        Badness::FieldTwice => {
            br#"{"index.hidden":true,"index.hidden":false,"persistent":{"a":1},"persistent":{"a":1}}"#.to_vec()
        }
        Badness::WrongTypes => {
            br#"{"leader_alias":1,"leader_index":[],"name":{},"pattern":7,"reason":[1],"settings":"x","force_resume":"perhaps","filters":3,"persistent":4}"#.to_vec()
        }
        Badness::TooLarge => format!(r#"{{"reason":"{}"}}"#, "x".repeat(2 << 20)).into_bytes(),
        Badness::TooDeep => [vec![b'['; 100_000], vec![b']'; 100_000]].concat(),
        Badness::NotUtf8 => b"{\"reason\":\"\xff\xfe\"}".to_vec(),
        _ if method == "GET" => Vec::new(),
        _ => b"{}".to_vec(),
    };
    let path = match badness {
        Badness::BadName => {
            let bad = |name: &str| path.replace(name, "f%ff");
            ["{index}", "{task}", "{file}"]
                .into_iter()
                .map(bad)
                .find(|replaced| replaced != path)
        }
        _ => None,
    }
    .unwrap_or_else(|| path.replace("{index}", "f1").replace("{task}", "agent:7"));
    Request::builder()
        .method(method.as_str())
        .uri(format!("{path}{query}"))
        .header(header::CONTENT_TYPE, media)
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn every_route_refuses_every_kind_of_mistake_in_the_engines_words() {
    let bench = Bench::new(None);
    let before = bench.send("GET", "/_cluster/settings", "").await;
    let mut tried = 0;
    for route in routes::all() {
        for method in route.methods {
            for badness in ALL {
                let Some((statuses, words)) = expected(badness, method, &route.path) else {
                    continue;
                };
                tried += 1;
                let at = format!("{badness:?} to {method} {}", route.path);
                let (status, text) = bench.raw(request(badness, method, &route.path)).await;
                assert!(statuses.contains(&status.as_u16()), "{at}: {status} {text}");
                let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{at}: {text}"));
                assert_eq!(answer["status"], status.as_u16(), "{at}: {text}");
                let error = &answer["error"];
                let reason = error["reason"].as_str().or(error.as_str()).unwrap_or_default();
                assert!(!reason.is_empty() && reason.contains(words), "{at}: {text}");
                if error.is_object() {
                    assert!(
                        error["type"]
                            .as_str()
                            .is_some_and(|kind| kind.ends_with("_exception")),
                        "{at}: {text}"
                    );
                    assert_eq!(error["root_cause"][0]["reason"], reason, "{at}: {text}");
                }
                assert_eq!(bench.notes(), Vec::<String>::new(), "{at} did something");
            }
        }
    }
    assert!(tried > 300, "only {tried} requests were tried");
    assert_eq!(bench.send("GET", "/_cluster/settings", "").await, before);
}

#[tokio::test]
async fn a_name_that_no_index_can_have_is_refused_wherever_it_stands() {
    let bench = Bench::new(None);
    let long = "x".repeat(256);
    for (name, words) in [
        ("F1", "must be lowercase"),
        (".f1", "must not start with '.'"),
        ("_f1", "must not start with '_' or '-' or '+'"),
        ("-f1", "must not start with '_' or '-' or '+'"),
        ("%2Bf1", "must not start with '_' or '-' or '+'"),
        ("f%2A", "must not contain the following characters"),
        ("f%20x", "must not contain the following characters"),
        ("f%2Fx", "must not contain the following characters"),
        ("f%3Ax", "must not contain '#' or ':'"),
        ("f%23x", "must not contain '#' or ':'"),
        ("f%00x", "must not contain the following characters"),
        (long.as_str(), "must not be longer than 255 bytes"),
    ] {
        let decoded = percent_encoding::percent_decode_str(name)
            .decode_utf8_lossy()
            .into_owned();
        for prefix in ["_plugins", "_opendistro"] {
            let base = format!("/{prefix}/_replication");
            let good = r#"{"leader_alias":"conn1","leader_index":"a"}"#;
            let (status, reason) = bench.refused("PUT", &format!("{base}/{name}/_start"), good).await;
            assert_eq!(status, 400, "{name}: {reason}");
            assert!(reason.contains(words), "{name}: {reason}");
            let bad = json!({"leader_alias": "conn1", "leader_index": decoded}).to_string();
            let (status, reason) = bench.refused("PUT", &format!("{base}/f2/_start"), &bad).await;
            assert_eq!(status, 400, "{name}: {reason}");
            assert!(reason.contains(words), "{name}: {reason}");
            // What does not follow cannot be stopped, whatever it is called.
            for (method, call) in [
                ("POST", "_stop"),
                ("POST", "_pause"),
                ("POST", "_resume"),
                ("PUT", "_update"),
            ] {
                let (status, reason) = bench
                    .refused(method, &format!("{base}/{name}/{call}"), "{}")
                    .await;
                assert_eq!(status, 400, "{call} {name}: {reason}");
                assert!(
                    reason.starts_with("No replication in progress for index:"),
                    "{reason}"
                );
            }
        }
    }
    assert!(bench.notes().is_empty());
}
