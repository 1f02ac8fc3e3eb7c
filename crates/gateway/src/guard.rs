//! Which requests would change a following index. The incumbent blocks them inside the engine; here the gateway does.
//!
//! Only requests that are known to change nothing are taken for reads; anything else that names a following index is a
//! write to it. Reading the path is pure and follows the engines' own rules: segments are split first and decoded
//! after, an index expression may be a list, a pattern, an exclusion, and a query parameter may name the index where
//! the path does not.

use axum::http::Method;
use percent_encoding::percent_decode_str;
use slipstream_model::Pattern;

/// What a request does, as far as its method and path tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Changes no index.
    Read,
    /// Changes the indices of this expression.
    Write(String),
    /// A `_bulk`; items without an index go to this one.
    Bulk(Option<String>),
    /// Changes the indices that its JSON body names in one of these ways.
    Named(NamedBy),
}

/// Where a body names the indices that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// `actions[].{add,remove,remove_index}.{index,indices}`.
    Aliases,
    /// `dest.index`.
    Reindex,
    /// `indices` of a restoration, where they keep their names.
    Restore,
}

/// `POST IDX/CALL` that reads, or changes only how the index is stored.
const READS: [&str; 26] = [
    "_search",
    "_msearch",
    "_async_search",
    "_count",
    "_explain",
    "_validate",
    "_termvectors",
    "_mtermvectors",
    "_mget",
    "_field_caps",
    "_rank_eval",
    "_search_shards",
    "_terms_enum",
    "_analyze",
    "_graph",
    "_eql",
    "_pit",
    "_knn_search",
    "_refresh",
    "_flush",
    "_forcemerge",
    "_cache",
    "_recovery",
    "_stats",
    "_segments",
    "_percolate",
];

/// Calls without an index in the path that then mean the parameter's, or every index.
const OF_ALL: [&str; 7] = [
    "_settings",
    "_mapping",
    "_mappings",
    "_alias",
    "_close",
    "_open",
    "_all",
];

/// Reads method and path; `index_param` is the query's `index`.
pub(crate) fn intent(method: &Method, path: &str, index_param: Option<&str>) -> Intent {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Intent::Read;
    }
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let named = || index_param.unwrap_or("_all").to_owned();
    let Some(first) = segments.first() else {
        return Intent::Write(named());
    };
    let second = segments.get(1).map(String::as_str);
    match first.as_str() {
        "_bulk" if second.is_none() => Intent::Bulk(index_param.map(str::to_owned)),
        // Streaming bulks name their indices in a body that has no end.
        "_bulk" => Intent::Write("_all".to_owned()),
        "_reindex" => Intent::Named(NamedBy::Reindex),
        "_aliases" => Intent::Named(NamedBy::Aliases),
        // Adds indices to a data stream and takes them out: `actions[].….index`, as with aliases.
        "_data_stream" if second == Some("_modify") => Intent::Named(NamedBy::Aliases),
        "_snapshot" if segments.get(3).is_some_and(|call| call == "_restore") => {
            Intent::Named(NamedBy::Restore)
        }
        name if OF_ALL.contains(&name) => Intent::Write(named()),
        name if name.starts_with('_') => Intent::Read,
        index => {
            let typed = segments.get(2).map(String::as_str);
            match (second, typed) {
                // The index that is made is written to as well.
                (Some("_shrink" | "_split" | "_clone" | "_rollover"), Some(made)) => {
                    Intent::Write(format!("{index},{made}"))
                }
                (Some("_bulk"), None) => Intent::Bulk(Some(index.to_owned())),
                // Elasticsearch 7 still takes a type between index and call.
                (Some(kind), Some("_bulk")) if !kind.starts_with('_') || kind == "_doc" => {
                    Intent::Bulk(Some(index.to_owned()))
                }
                (Some(call), _) if *method == Method::POST && READS.contains(&call) => Intent::Read,
                (Some(kind), Some(call))
                    if *method == Method::POST && !kind.starts_with('_') && READS.contains(&call) =>
                {
                    Intent::Read
                }
                _ => Intent::Write(index.to_owned()),
            }
        }
    }
}

/// The first of the `following` names that the expression takes in by name or pattern. What aliases and date expressions mean
/// is known to the target only: it is asked next.
pub(crate) fn first_match<'a>(expression: &str, following: &'a [String]) -> Option<&'a String> {
    let mut chosen: Vec<&String> = Vec::new();
    for part in expression
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if let Some(excluded) = part.strip_prefix('-').filter(|_| !chosen.is_empty()) {
            let pattern = Pattern::new(excluded);
            chosen.retain(|name| !pattern.matches(name));
        } else {
            let pattern = Pattern::new(if part == "_all" { "*" } else { part });
            chosen.extend(following.iter().filter(|name| pattern.matches(name)));
        }
    }
    chosen.first().copied()
}

/// The index names in a body; `None` if it is not what the call takes.
pub(crate) fn names_in(body: &serde_json::Value, by: NamedBy) -> Option<Vec<String>> {
    let mut names = Vec::new();
    match by {
        NamedBy::Restore => match body.get("indices") {
            // Under other names they are other indices, and over an open index no engine restores anything.
            _ if body.get("rename_pattern").is_some() => {}
            None => {}
            Some(serde_json::Value::String(list)) => names.push(list.clone()),
            Some(list) => {
                for name in list.as_array()? {
                    names.push(name.as_str()?.to_owned());
                }
            }
        },
        NamedBy::Reindex => names.push(body.get("dest")?.get("index")?.as_str()?.to_owned()),
        NamedBy::Aliases => {
            for action in body.get("actions")?.as_array()? {
                for arguments in action.as_object()?.values() {
                    for key in ["index", "indices"] {
                        match arguments.get(key) {
                            None => {}
                            Some(serde_json::Value::String(name)) => names.push(name.clone()),
                            Some(list) => {
                                for name in list.as_array()? {
                                    names.push(name.as_str()?.to_owned());
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(method: &str, path: &str) -> Intent {
        intent(&method.parse().unwrap(), path, None)
    }

    #[test]
    fn every_way_to_write_to_an_index_is_seen() {
        for (method, path) in [
            ("PUT", "/f1/_doc/1"),
            ("POST", "/f1/_doc"),
            ("PUT", "/f1/_create/1"),
            ("POST", "/f1/_update/1"),
            ("DELETE", "/f1/_doc/1"),
            ("POST", "/f1/_update_by_query"),
            ("POST", "/f1/_delete_by_query"),
            ("PUT", "/f1/_mapping"),
            ("PUT", "/f1/_settings"),
            ("POST", "/f1/_close"),
            ("PUT", "/f1/_alias/a"),
            ("DELETE", "/f1"),
            ("PUT", "/f1"),
            ("POST", "/f1/sometype/1"),
            ("PUT", "/f1/_doc/_search"),
            ("PUT", "/f1/sometype/_search"),
            ("POST", "/%661/_doc"),
            ("POST", "//f1//_doc"),
            ("POST", "/f1/_rollover"),
            ("PUT", "/f1/_block/write"),
            ("POST", "/f1/_freeze"),
            ("PATCH", "/f1/_anything"),
        ] {
            assert_eq!(
                of(method, path),
                Intent::Write("f1".to_owned()),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn the_index_that_is_made_of_another_is_written_to() {
        for call in ["_shrink", "_split", "_clone", "_rollover"] {
            let intent = of("POST", &format!("/a/{call}/f1"));
            assert_eq!(intent, Intent::Write("a,f1".to_owned()), "{call}");
        }
    }

    #[test]
    fn reads_pass() {
        for (method, path) in [
            ("GET", "/f1/_doc/1"),
            ("HEAD", "/f1"),
            ("POST", "/f1/_search"),
            ("POST", "/f1/_search/template"),
            ("POST", "/f1/sometype/_search"),
            ("POST", "/_msearch"),
            ("POST", "/f1/_refresh"),
            ("PUT", "/_index_template/t"),
            ("POST", "/_search/scroll"),
        ] {
            assert_eq!(of(method, path), Intent::Read, "{method} {path}");
        }
    }

    #[test]
    fn calls_without_an_index_mean_the_parameters_or_all() {
        assert_eq!(of("PUT", "/_settings"), Intent::Write("_all".to_owned()));
        assert_eq!(of("DELETE", "/"), Intent::Write("_all".to_owned()));
        assert_eq!(
            intent(&Method::POST, "/_close", Some("f1")),
            Intent::Write("f1".to_owned())
        );
        assert_eq!(
            intent(&Method::POST, "/_bulk", Some("f1")),
            Intent::Bulk(Some("f1".to_owned()))
        );
        assert_eq!(of("POST", "/_bulk"), Intent::Bulk(None));
        assert_eq!(of("POST", "/f1/_bulk"), Intent::Bulk(Some("f1".to_owned())));
        assert_eq!(
            of("POST", "/f1/sometype/_bulk"),
            Intent::Bulk(Some("f1".to_owned()))
        );
        assert_eq!(of("POST", "/_bulk/stream"), Intent::Write("_all".to_owned()));
        assert_eq!(of("POST", "/_reindex"), Intent::Named(NamedBy::Reindex));
        assert_eq!(
            of("POST", "/_data_stream/_modify"),
            Intent::Named(NamedBy::Aliases)
        );
        assert_eq!(of("PUT", "/_data_stream/x"), Intent::Read);
        assert_eq!(
            of("POST", "/_snapshot/r/s/_restore"),
            Intent::Named(NamedBy::Restore)
        );
        assert_eq!(of("PUT", "/_snapshot/r/s"), Intent::Read);
    }

    #[test]
    fn expressions_take_lists_patterns_and_exclusions() {
        let following = ["f1".to_owned(), "f2".to_owned()];
        for (expression, expected) in [
            ("f1", Some("f1")),
            ("a,f2", Some("f2")),
            ("f*", Some("f1")),
            ("f*,-f1", Some("f2")),
            ("f*,-f*", None),
            ("_all", Some("f1")),
            ("*", Some("f1")),
            ("other", None),
        ] {
            assert_eq!(
                first_match(expression, &following).map(String::as_str),
                expected,
                "{expression}"
            );
        }
    }

    #[test]
    fn bodies_name_what_they_change() {
        let aliases = json!({"actions": [{"add": {"index": "a", "alias": "x"}}, {"remove_index": {"indices": ["b", "c*"]}}]});
        assert_eq!(names_in(&aliases, NamedBy::Aliases).unwrap(), ["a", "b", "c*"]);
        let reindex = json!({"source": {"index": "f1"}, "dest": {"index": "x"}});
        assert_eq!(names_in(&reindex, NamedBy::Reindex).unwrap(), ["x"]);
        assert_eq!(names_in(&json!({"actions": "?"}), NamedBy::Aliases), None);
        let modified = json!({"actions": [{"add_backing_index": {"data_stream": "d", "index": "f1"}}]});
        assert_eq!(names_in(&modified, NamedBy::Aliases).unwrap(), ["f1"]);
        for (body, names) in [
            (json!({}), vec![]),
            (json!({"indices": "a,f*"}), vec!["a,f*"]),
            (json!({"indices": ["a", "f1"]}), vec!["a", "f1"]),
            (
                json!({"indices": "f1", "rename_pattern": "(.+)", "rename_replacement": "x-$1"}),
                vec![],
            ),
        ] {
            assert_eq!(names_in(&body, NamedBy::Restore).unwrap(), names, "{body}");
        }
    }
}
