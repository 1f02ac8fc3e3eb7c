//! Every refusal of the gateway, in one place: its status, the engines' name for it and its words.
//!
//! The envelope is the engines' own, so that their clients raise the exceptions that they know. Names and texts are the
//! incumbent's where it has some; where it answers a caller's mistake with 500, the status here is the fitting 4xx.

use std::fmt::Write;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slipstream_follower::ControlError;

/// An answer that is not the one hoped for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    reason: String,
    /// The missing index, for errors that the engines answer with the resource's name.
    missing: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, reason: impl Into<String>) -> Self {
        ApiError {
            status,
            kind,
            reason: reason.into(),
            missing: None,
        }
    }

    /// A value that cannot be.
    pub(crate) fn illegal(reason: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "illegal_argument_exception", reason)
    }

    /// A body that is not what the call takes.
    pub(crate) fn content(reason: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "x_content_parse_exception", reason)
    }

    /// A body that cannot be read at all.
    pub(crate) fn parse(reason: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "parse_exception", reason)
    }

    /// Everything that is wrong with a request, numbered as the engines do.
    pub(crate) fn validation(faults: &[String]) -> Self {
        let mut reason = String::from("Validation Failed: ");
        for (at, fault) in faults.iter().enumerate() {
            // Writing to a `String` cannot fail.
            _ = write!(reason, "{}: {fault};", at + 1);
        }
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "action_request_validation_exception",
            reason,
        )
    }

    /// A write to an index that follows.
    pub(crate) fn blocked(index: &str) -> Self {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "cluster_block_exception",
            block_text(index),
        )
    }

    /// Something that does not exist and is no index.
    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, "resource_not_found_exception", reason)
    }

    /// The leader or the target does not answer; the caller may try again.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "replication_exception", reason)
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    fn missing_index(mut self, index: &str) -> Self {
        self.missing = Some(index.to_owned());
        self
    }
}

/// The words of the block that every engine with the incumbent's plugin answers a write with.
pub(crate) fn block_text(index: &str) -> String {
    format!("index [{index}] blocked by: [FORBIDDEN/1000/index read-only(cross-cluster-replication)];")
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let reason = error.to_string();
        match error {
            ControlError::NotReplicating(_) | ControlError::FollowerExists(_) | ControlError::Invalid(_) => {
                ApiError::illegal(reason)
            }
            ControlError::NoSuchLeader(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "no_such_remote_cluster_exception", reason)
            }
            ControlError::NoSuchRule { .. }
            | ControlError::NoSuchTask(_)
            | ControlError::NothingMatches(_) => ApiError::not_found(reason),
            ControlError::TaskRunning(_) => {
                ApiError::new(StatusCode::CONFLICT, "illegal_state_exception", reason)
            }
            ControlError::NoSuchLeaderIndex(index) => {
                ApiError::new(StatusCode::NOT_FOUND, "index_not_found_exception", reason)
                    .missing_index(index.as_str())
            }
            ControlError::AlreadyPaused(_)
            | ControlError::AlreadyRunning(_)
            | ControlError::RuleExists { .. } => ApiError::new(
                StatusCode::BAD_REQUEST,
                "resource_already_exists_exception",
                reason,
            ),
            ControlError::StartBlocked => ApiError::new(StatusCode::FORBIDDEN, "status_exception", reason),
            ControlError::Forbidden(_) => ApiError::new(StatusCode::FORBIDDEN, "security_exception", reason),
            ControlError::LeaderInUse { .. } | ControlError::LeaderInUseByRule { .. } => {
                ApiError::new(StatusCode::CONFLICT, "illegal_argument_exception", reason)
            }
            ControlError::Unavailable(_) => ApiError::unavailable(reason),
            ControlError::Store(_) => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "replication_exception", reason)
            }
        }
    }
}

/// The reason of a refusal, left at its answer for who records it.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) String);

#[derive(Serialize)]
struct Envelope<'a> {
    error: Cause<'a>,
    status: u16,
}

#[derive(Serialize)]
struct Cause<'a> {
    root_cause: [Root<'a>; 1],
    #[serde(flatten)]
    top: Root<'a>,
}

#[derive(Serialize, Clone)]
struct Root<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    #[serde(rename = "resource.id", skip_serializing_if = "Option::is_none")]
    resource_id: Option<&'a str>,
    #[serde(rename = "resource.type", skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_uuid: Option<&'static str>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let missing = self.missing.as_deref();
        let root = Root {
            kind: self.kind,
            reason: &self.reason,
            index: missing,
            resource_id: missing,
            resource_type: missing.map(|_| "index_expression"),
            index_uuid: missing.map(|_| "_na_"),
        };
        let envelope = Envelope {
            error: Cause {
                root_cause: [root.clone()],
                top: root,
            },
            status: self.status.as_u16(),
        };
        let mut response = (self.status, Json(envelope)).into_response();
        response.extensions_mut().insert(Refused(self.reason));
        response
    }
}

/// The engines' short form, which they use before a call is recognised.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response {
    #[derive(Serialize)]
    struct Plain<'a> {
        error: &'a str,
        status: u16,
    }
    (
        status,
        Json(Plain {
            error: text,
            status: status.as_u16(),
        }),
    )
        .into_response()
}

/// As [`plain`], with the methods that the path does take.
pub(crate) fn method_not_allowed(text: &str, allowed: &str) -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use slipstream_model::IndexName;

    use super::*;

    async fn body(error: ApiError) -> serde_json::Value {
        let bytes = axum::body::to_bytes(error.into_response().into_body(), 10_000)
            .await
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn each_refusal_has_the_status_and_name_that_clients_know() {
        let f = || IndexName::from("f1");
        for (error, status, kind, reason) in [
            (
                ControlError::NotReplicating(f()),
                400,
                "illegal_argument_exception",
                "No replication in progress for index:f1",
            ),
            (
                ControlError::NoSuchLeader("no-conn".into()),
                404,
                "no_such_remote_cluster_exception",
                "no such remote cluster: [no-conn]",
            ),
            (
                ControlError::NoSuchLeaderIndex(f()),
                404,
                "index_not_found_exception",
                "no such index [f1]",
            ),
            (
                ControlError::FollowerExists(f()),
                400,
                "illegal_argument_exception",
                "Cant use same index again for replication. Delete the index:f1",
            ),
            (
                ControlError::AlreadyPaused(f()),
                400,
                "resource_already_exists_exception",
                "Index f1 is already paused",
            ),
            (
                ControlError::AlreadyRunning(f()),
                400,
                "resource_already_exists_exception",
                "Replication on Index f1 is already running",
            ),
            (
                ControlError::Invalid("no".into()),
                400,
                "illegal_argument_exception",
                "no",
            ),
            (
                ControlError::Forbidden("no".into()),
                403,
                "security_exception",
                "no",
            ),
            (
                ControlError::LeaderInUse {
                    alias: "l".into(),
                    index: f(),
                },
                409,
                "illegal_argument_exception",
                "leader [l] is still followed by [f1]: stop that first",
            ),
            (
                ControlError::Unavailable("later".into()),
                503,
                "replication_exception",
                "later",
            ),
        ] {
            let error = ApiError::from(error);
            assert_eq!(
                (error.status.as_u16(), error.kind, error.reason.as_str()),
                (status, kind, reason)
            );
        }
    }

    #[tokio::test]
    async fn the_envelope_is_the_engines() {
        assert_eq!(
            body(ApiError::illegal("no")).await,
            serde_json::json!({
                "error": {
                    "root_cause": [{"type": "illegal_argument_exception", "reason": "no"}],
                    "type": "illegal_argument_exception",
                    "reason": "no"
                },
                "status": 400
            })
        );
        let missing = body(ControlError::NoSuchLeaderIndex(IndexName::from("leader-01")).into()).await;
        assert_eq!(
            missing["error"]["root_cause"][0]["resource.type"],
            "index_expression"
        );
        assert_eq!(missing["error"]["root_cause"][0]["index_uuid"], "_na_");
        assert_eq!(missing["error"]["index"], "leader-01");
    }
}
