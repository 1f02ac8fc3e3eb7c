//! What a refused request answers, shaped as the engines shape it: clients tell causes apart by `type` and `status`.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// A refusal, with all that its error object shows.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    /// The HTTP status, or that of one item of a bulk.
    pub(crate) status: StatusCode,
    detail: Box<Detail>,
}

#[derive(Debug, Clone)]
struct Detail {
    kind: String,
    reason: String,
    fields: Vec<(&'static str, Value)>,
    cause: Option<(String, String)>,
    /// Answered as `{"error":"REASON","status":N}`, as the engines do where no exception object exists.
    bare: bool,
}

/// What every fallible step of a request returns.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: u16, kind: impl Into<String>, reason: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, reason) = (kind.into(), reason.into());
        let detail = Box::new(Detail {
            kind,
            reason,
            fields: Vec::new(),
            cause: None,
            bare: false,
        });
        ApiError { status, detail }
    }

    /// A refusal without an exception object.
    pub(crate) fn bare(status: u16, reason: impl Into<String>) -> Self {
        let mut error = ApiError::new(status, "", reason);
        error.detail.bare = true;
        error
    }

    pub(crate) fn illegal(reason: impl Into<String>) -> Self {
        ApiError::new(400, "illegal_argument_exception", reason)
    }

    pub(crate) fn invalid(reason: &str) -> Self {
        let reason = format!("Validation Failed: 1: {reason};");
        ApiError::new(400, "action_request_validation_exception", reason)
    }

    pub(crate) fn parsing(reason: impl Into<String>) -> Self {
        ApiError::new(400, "parsing_exception", reason)
    }

    pub(crate) fn mapper(reason: impl Into<String>) -> Self {
        ApiError::new(400, "mapper_parsing_exception", reason)
    }

    pub(crate) fn body_required() -> Self {
        ApiError::new(400, "parse_exception", "request body is required")
    }

    pub(crate) fn no_index(name: &str) -> Self {
        ApiError::new(
            404,
            "index_not_found_exception",
            format!("no such index [{name}]"),
        )
        .with("index", name)
        .with("resource.id", name)
        .with("resource.type", "index_or_alias")
        .with("index_uuid", "_na_")
    }

    pub(crate) fn closed(index: &str, uuid: &str) -> Self {
        ApiError::new(400, "index_closed_exception", "closed")
            .with("index", index)
            .with("index_uuid", uuid)
    }

    /// The write reached memory but perhaps not the disk: its outcome is unknown to the caller.
    pub(crate) fn storage(error: &std::io::Error) -> Self {
        ApiError::new(
            500,
            "translog_exception",
            format!("the sandbox could not write its log: {error}"),
        )
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.detail.fields.push((name, value.into()));
        self
    }

    pub(crate) fn caused_by(mut self, kind: impl Into<String>, reason: impl Into<String>) -> Self {
        self.detail.cause = Some((kind.into(), reason.into()));
        self
    }

    fn own_fields(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("type".into(), json!(self.detail.kind));
        object.insert("reason".into(), json!(self.detail.reason));
        for (name, value) in &self.detail.fields {
            object.insert((*name).to_owned(), value.clone());
        }
        object
    }

    /// The error object of one item of a bulk.
    pub(crate) fn item(&self) -> Value {
        let mut object = self.own_fields();
        if let Some((kind, reason)) = &self.detail.cause {
            object.insert("caused_by".into(), json!({"type": kind, "reason": reason}));
        }
        Value::Object(object)
    }

    /// The error object with its `root_cause`, as whole answers and items of `_mget` show it.
    pub(crate) fn with_root(&self) -> Value {
        let mut object = self.item();
        object["root_cause"] = json!([self.own_fields()]);
        object
    }

    /// The whole answer.
    pub(crate) fn envelope(&self) -> Value {
        let error = if self.detail.bare {
            json!(self.detail.reason)
        } else {
            self.with_root()
        };
        json!({"error": error, "status": self.status.as_u16()})
    }
}
