//! What an engine says when it refuses: the error object of a body, and which [`ErrorKind`] it amounts to.

use serde::Deserialize;
use serde_json::Value;

use crate::error::ErrorKind;

/// An error as an engine reports it, for a request or for one item of a bulk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The engine's name for it, such as `mapper_parsing_exception`.
    pub(crate) kind: Option<String>,
    /// Its words, with those of its causes.
    pub(crate) reason: String,
}

/// Exceptions that only say that something below failed; the root cause says what.
const WRAPPERS: [&str; 3] = [
    "search_phase_execution_exception",
    "reduce_search_phase_exception",
    "broadcast_shard_operation_failed_exception",
];

/// Causes nest; more levels than this say nothing new.
const MOST_CAUSES: usize = 8;

impl Refusal {
    /// Reads the body of an answer that is not 2xx. What is not an engine's JSON counts as the reason itself.
    pub(crate) fn of_body(body: &[u8]) -> Refusal {
        #[derive(Deserialize)]
        struct Body {
            error: Value,
        }
        if let Ok(Body { error }) = serde_json::from_slice(body) {
            return Refusal::of_value(&error);
        }
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        Refusal {
            kind: None,
            reason: text.trim().to_owned(),
        }
    }

    /// Reads an error object, or the plain text that some errors are.
    pub(crate) fn of_value(error: &Value) -> Refusal {
        if let Some(text) = error.as_str() {
            return Refusal {
                kind: None,
                reason: text.to_owned(),
            };
        }
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut from = error;
        if text(error, "type").is_some_and(|kind| WRAPPERS.contains(&kind.as_str())) {
            let root = error.get("root_cause").and_then(|causes| causes.get(0));
            from = root.filter(|cause| cause.get("type").is_some()).unwrap_or(error);
        }
        let kind = text(from, "type");
        let mut reason = text(from, "reason").unwrap_or_default();
        let mut cause = from.get("caused_by");
        for _ in 0..MOST_CAUSES {
            let Some(inner) = cause else { break };
            if let Some(more) = text(inner, "reason").filter(|more| !reason.contains(more.as_str())) {
                reason.push_str(": ");
                reason.push_str(&more);
            }
            cause = inner.get("caused_by");
        }
        Refusal { kind, reason }
    }

    /// What kind of failure it is, given the status that came with it.
    pub(crate) fn classify(&self, status: u16) -> ErrorKind {
        match self.kind.as_deref() {
            // 503 is a cluster without a master or not recovered yet.
            Some("cluster_block_exception") if status != 503 => return ErrorKind::Blocked,
            Some("index_not_found_exception") => return ErrorKind::NotFound,
            Some("index_closed_exception") => return ErrorKind::IndexClosed,
            Some(
                "resource_already_exists_exception"
                | "invalid_alias_name_exception"
                | "version_conflict_engine_exception",
            ) => {
                return ErrorKind::Conflict;
            }
            // A point in time that expired, or whose shard went away.
            Some("search_context_missing_exception" | "no_shard_available_action_exception") => {
                return ErrorKind::Incomplete;
            }
            Some("too_many_buckets_exception") => return ErrorKind::TooLarge,
            // Answered with status 500 to a second write index of an alias: no trouble of theirs that would pass.
            Some("illegal_state_exception") if self.reason.contains("write index") => {
                return ErrorKind::BadRequest;
            }
            _ => {}
        }
        match status {
            401 => ErrorKind::Unauthorized,
            403 => ErrorKind::Forbidden,
            404 => ErrorKind::NotFound,
            405 | 501 => ErrorKind::Unsupported,
            // From something between us and the cluster, which may have passed the request on.
            408 => ErrorKind::Unknown,
            502 | 504 if self.kind.is_none() => ErrorKind::Unknown,
            409 => ErrorKind::Conflict,
            413 => ErrorKind::TooLarge,
            429 => ErrorKind::Throttled,
            // The shard moved away from the node that was asked for.
            400 if self.reason.starts_with("no data nodes with criteria") => ErrorKind::Incomplete,
            400 if self.reason.starts_with("no handler found") => ErrorKind::Unsupported,
            400..=499 => ErrorKind::BadRequest,
            500..=599 => ErrorKind::Server,
            _ => ErrorKind::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> ErrorKind {
        Refusal::of_body(body.as_bytes()).classify(status)
    }

    #[test]
    fn the_root_cause_speaks_for_a_wrapper() {
        let body = r#"{"error":{"root_cause":[{"type":"search_context_missing_exception","reason":"No search context found for id [5]"}],
            "type":"search_phase_execution_exception","reason":"all shards failed"},"status":404}"#;
        let refusal = Refusal::of_body(body.as_bytes());
        assert_eq!(refusal.kind.as_deref(), Some("search_context_missing_exception"));
        assert_eq!(refusal.classify(404), ErrorKind::Incomplete);
    }

    #[test]
    fn causes_are_told_once() {
        let body = r#"{"error":{"type":"mapper_parsing_exception","reason":"failed to parse","caused_by":
            {"type":"x","reason":"bad number","caused_by":{"type":"y","reason":"bad number"}}},"status":400}"#;
        assert_eq!(
            Refusal::of_body(body.as_bytes()).reason,
            "failed to parse: bad number"
        );
    }

    #[test]
    fn statuses_and_types_decide_the_kind() {
        assert_eq!(
            kind(
                403,
                r#"{"error":{"type":"cluster_block_exception","reason":"x"}}"#
            ),
            ErrorKind::Blocked
        );
        assert_eq!(
            kind(
                429,
                r#"{"error":{"type":"cluster_block_exception","reason":"x"}}"#
            ),
            ErrorKind::Blocked
        );
        assert_eq!(
            kind(
                503,
                r#"{"error":{"type":"cluster_block_exception","reason":"x"}}"#
            ),
            ErrorKind::Server
        );
        assert_eq!(
            kind(403, r#"{"error":{"type":"security_exception","reason":"x"}}"#),
            ErrorKind::Forbidden
        );
        assert_eq!(
            kind(
                429,
                r#"{"error":{"type":"circuit_breaking_exception","reason":"x"}}"#
            ),
            ErrorKind::Throttled
        );
        assert_eq!(
            kind(
                404,
                r#"{"error":{"type":"index_not_found_exception","reason":"x"}}"#
            ),
            ErrorKind::NotFound
        );
        assert_eq!(
            kind(400, r#"{"error":{"type":"index_closed_exception","reason":"x"}}"#),
            ErrorKind::IndexClosed
        );
        assert_eq!(
            kind(
                400,
                r#"{"error":{"type":"resource_already_exists_exception","reason":"x"}}"#
            ),
            ErrorKind::Conflict
        );
        assert_eq!(
            kind(
                400,
                r#"{"error":{"type":"illegal_argument_exception","reason":"no data nodes with criteria [n] found"}}"#
            ),
            ErrorKind::Incomplete
        );
        assert_eq!(kind(504, "<html>gateway</html>"), ErrorKind::Unknown);
        assert_eq!(
            kind(500, r#"{"error":{"type":"null_pointer_exception","reason":"x"}}"#),
            ErrorKind::Server
        );
        assert_eq!(
            kind(
                500,
                r#"{"error":{"type":"illegal_state_exception","reason":"alias [a] has more than one write index [x,y]"}}"#
            ),
            ErrorKind::BadRequest
        );
        assert_eq!(kind(302, ""), ErrorKind::Protocol);
    }

    #[test]
    fn a_proxys_page_becomes_a_short_reason() {
        let refusal = Refusal::of_body("x".repeat(5_000).as_bytes());
        assert_eq!(refusal.reason.len(), 300);
        assert_eq!(refusal.kind, None);
    }
}
