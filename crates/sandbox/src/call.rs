//! One request as the handlers see it, and one answer as they give it.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use crate::error::{ApiError, ApiResult};
use crate::resolve::Resolve;

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The decoded path as sent, for messages.
    pub(crate) path: String,
    pub(crate) segments: Vec<String>,
    pub(crate) params: Params,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, path: &str, query: Option<&str>, body: Bytes) -> Call {
        let segments: Vec<String> = path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| decode(s, false))
            .collect();
        let params = query
            .unwrap_or("")
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name, true), decode(value, true))
            });
        Call {
            method,
            path: path.to_owned(),
            segments,
            params: Params(params.collect()),
            body,
        }
    }

    /// The body as JSON; `{}` where there is none.
    pub(crate) fn json(&self) -> ApiResult<Value> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&self.body).map_err(|e| {
            ApiError::new(
                400,
                "json_parse_exception",
                format!("could not read the body: {e}"),
            )
        })
    }

    /// The body as JSON where one is needed.
    pub(crate) fn json_required(&self) -> ApiResult<Value> {
        if self.body.is_empty() {
            Err(ApiError::body_required())
        } else {
            self.json()
        }
    }

    /// Whether the document itself may not be read (`HEAD`), only its being there.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

/// The parameters of the query string.
#[derive(Debug, Clone)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A switch: there without a value means on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.is_empty() || v == "true")
    }

    /// A number, refused where it is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> ApiResult<Option<T>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            ApiError::illegal(format!(
                "Failed to parse value [{text}] for parameter [{name}] as a number"
            ))
        })
    }

    /// How names in the path are resolved; `closed` is what patterns match unless the request says otherwise.
    pub(crate) fn resolve(&self, closed: bool) -> Resolve {
        let wildcards: Vec<&str> = self
            .get("expand_wildcards")
            .map(|w| w.split(',').collect())
            .unwrap_or_default();
        let has = |word: &str| wildcards.contains(&word) || wildcards.contains(&"all");
        Resolve {
            ignore_unavailable: self.on("ignore_unavailable"),
            closed: if wildcards.is_empty() {
                closed
            } else {
                has("closed")
            },
            hidden: has("hidden"),
        }
    }
}

/// Percent-decoding; in a query `+` is a blank.
fn decode(text: &str, query: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[at], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) if query => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What an answer waits for before it is sent.
#[derive(Debug)]
pub(crate) enum Wait {
    /// The next refresh of an index (`refresh=wait_for`).
    Refresh(watch::Receiver<u64>),
}

/// A string, or a number as its text.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What `?refresh` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshPolicy {
    None,
    Now,
    WaitFor,
}

impl RefreshPolicy {
    pub(crate) fn of(params: &Params) -> ApiResult<RefreshPolicy> {
        match params.get("refresh") {
            None | Some("false") => Ok(RefreshPolicy::None),
            Some("" | "true") => Ok(RefreshPolicy::Now),
            Some("wait_for") => Ok(RefreshPolicy::WaitFor),
            Some(other) => Err(ApiError::illegal(format!(
                "Unknown value for refresh: [{other}]."
            ))),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// Plain text, as `_cat` answers, instead of JSON.
    pub(crate) plain: bool,
    pub(crate) waits: Vec<Wait>,
}

impl Reply {
    pub(crate) fn json(value: &Value) -> Reply {
        Reply::bytes(value.to_string().into_bytes())
    }

    /// JSON that was assembled by hand, because it holds sources.
    pub(crate) fn bytes(body: Vec<u8>) -> Reply {
        Reply {
            status: StatusCode::OK,
            body,
            plain: false,
            waits: Vec::new(),
        }
    }

    pub(crate) fn plain(text: String) -> Reply {
        Reply {
            plain: true,
            ..Reply::bytes(text.into_bytes())
        }
    }

    pub(crate) fn acknowledged() -> Reply {
        Reply::json(&serde_json::json!({"acknowledged": true}))
    }

    pub(crate) fn with_status(mut self, status: u16) -> Reply {
        self.status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        self
    }
}

impl From<&ApiError> for Reply {
    fn from(error: &ApiError) -> Reply {
        let mut reply = Reply::json(&error.envelope());
        reply.status = error.status;
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded() {
        let call = Call::new(
            Method::GET,
            "/i/_doc/a%2Fb+c",
            Some("x=1+2&y&z=%C3%A4"),
            Bytes::new(),
        );
        assert_eq!(call.segments, ["i", "_doc", "a/b+c"]);
        assert_eq!(call.params.get("x"), Some("1 2"));
        assert!(call.params.on("y"));
        assert_eq!(call.params.get("z"), Some("ä"));
    }
}
