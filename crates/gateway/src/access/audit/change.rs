//! One change, as it is written down: never longer than the room for it, and without what may be secret.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::access::Principal;
use crate::access::needs::Need;

/// Characters of what was asked for, of a path and of a reason.
const MOST: usize = 1_000;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::access) struct Change {
    pub(super) time: String,
    pub(super) who: String,
    pub(super) proof: &'static str,
    pub(super) from: Option<String>,
    pub(super) action: &'static str,
    pub(super) method: String,
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<String>,
    /// The body, without what may be secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Value>,
    pub(super) status: u16,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) millis: u64,
}

impl Change {
    pub(in crate::access) fn new(
        who: &Principal,
        from: Option<SocketAddr>,
        need: &Need,
        method: &Method,
        path: &str,
    ) -> Change {
        Change {
            time: Timestamp::now().to_string(),
            who: cut(&who.name),
            proof: who.proof.as_str(),
            from: from.map(|address| address.to_string()),
            action: need.action,
            method: method.to_string(),
            path: cut(path),
            index: need.index.as_deref().map(cut),
            request: None,
            status: 0,
            outcome: "",
            error: None,
            millis: 0,
        }
    }

    /// What the body asks for.
    pub(in crate::access) fn asked(&mut self, body: &[u8]) {
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        hide_secrets(&mut value);
        let text = value.to_string();
        self.request = Some(if text.chars().nth(MOST).is_some() {
            Value::String(cut(&text))
        } else {
            value
        });
    }

    pub(in crate::access) fn ended(
        mut self,
        status: StatusCode,
        reason: Option<&str>,
        took: Duration,
    ) -> Change {
        self.status = status.as_u16();
        self.outcome = match status.as_u16() {
            200..400 => "done",
            401 | 403 => "denied",
            400..500 => "refused",
            _ => "failed",
        };
        self.error = reason.map(cut);
        self.millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

/// At most [`MOST`] characters of a text.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Nothing that the calls take is secret; but what is passed on to the target might be, and a caller may be mistaken.
fn hide_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_ascii_lowercase();
                let secret = [
                    "password",
                    "secret",
                    "token",
                    "credential",
                    "key",
                    "authorization",
                ];
                if secret.iter().any(|word| name.contains(word)) {
                    *value = Value::String("…".to_owned());
                } else {
                    hide_secrets(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        _ => {}
    }
}
