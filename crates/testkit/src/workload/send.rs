//! Turns decisions into requests, and goes on whatever the server says: a refused or lost request is part of the
//! storm, because leader and follower are compared with each other, not with what was sent.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::steps::{Change, Kind, Step};
use crate::client::{Es, escape};

/// Where `gc_deletes` is zero a tombstone is gone after this long: two rounds of its collector and some.
const TOMBSTONE_GONE: Duration = Duration::from_millis(500);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, or a conflict with another writer.
    Done,
    /// The server calls the request wrong.
    Rejected,
    /// Nobody answered, or the server is not ready: worth another try. What was asked may have happened.
    Unknown,
}

/// Sends what a step asks for.
pub(super) async fn send(client: &Es, index: &str, step: &Step) -> Outcome {
    match step {
        Step::Bulk { changes, refresh } => {
            let path = format!("/{index}/_bulk?refresh={refresh}");
            request(client, "POST", &path, "application/x-ndjson", bulk(changes)).await
        }
        Step::Single { change, refresh } => single(client, index, change, *refresh).await,
        Step::Recreate { delete, create } => {
            let outcome = single(client, index, delete, false).await;
            if outcome == Outcome::Unknown {
                return outcome;
            }
            tokio::time::sleep(TOMBSTONE_GONE).await;
            single(client, index, create, false).await
        }
        Step::Mapping(mapping) => json_request(client, "PUT", &format!("/{index}/_mapping"), mapping).await,
        Step::Settings(settings) => {
            json_request(
                client,
                "PUT",
                &format!("/{index}/_settings"),
                &json!({"index": settings}),
            )
            .await
        }
        Step::Alias(action) => {
            let body = json!({"actions": [action]}).to_string().replace("INDEX", index);
            match request(client, "POST", "/_aliases", "application/json", body).await {
                // Removing an alias that is not there.
                Outcome::Rejected => Outcome::Done,
                other => other,
            }
        }
        Step::Upkeep(path) => {
            request(
                client,
                "POST",
                &format!("/{index}/{path}"),
                "application/json",
                "",
            )
            .await
        }
    }
}

async fn single(client: &Es, index: &str, change: &Change, refresh: bool) -> Outcome {
    let mut query = format!("?refresh={refresh}");
    if let Some(routing) = change.routing {
        let _ = write!(query, "&routing={}", escape(routing));
    }
    let id = change.id.as_deref().map(escape).unwrap_or_default();
    let (method, path, body) = match &change.kind {
        Kind::Index(source) if change.id.is_none() => ("POST", format!("/{index}/_doc"), source.clone()),
        Kind::Index(source) => ("PUT", format!("/{index}/_doc/{id}"), source.clone()),
        Kind::Create(source) => ("PUT", format!("/{index}/_create/{id}"), source.clone()),
        Kind::Update(part) => ("POST", format!("/{index}/_update/{id}"), upsert(part)),
        Kind::Delete => ("DELETE", format!("/{index}/_doc/{id}"), String::new()),
        Kind::External {
            version,
            equal_is_fine,
            source,
        } => {
            let _ = write!(
                query,
                "&version={version}&version_type={}",
                version_type(*equal_is_fine)
            );
            ("PUT", format!("/{index}/_doc/{id}"), source.clone())
        }
        Kind::ExternalDelete { version } => {
            let _ = write!(query, "&version={version}&version_type=external");
            ("DELETE", format!("/{index}/_doc/{id}"), String::new())
        }
    };
    request(client, method, &(path + &query), "application/json", body).await
}

fn bulk(changes: &[Change]) -> String {
    let mut lines = String::new();
    for change in changes {
        let mut meta = json!({});
        if let Some(id) = &change.id {
            meta["_id"] = json!(id);
        }
        if let Some(routing) = change.routing {
            meta["routing"] = json!(routing);
        }
        let mut external = |version: &u64, equal_is_fine| {
            meta["version"] = json!(version);
            meta["version_type"] = json!(version_type(equal_is_fine));
        };
        let (action, body) = match &change.kind {
            Kind::Index(source) => ("index", Some(source.clone())),
            Kind::Create(source) => ("create", Some(source.clone())),
            Kind::Update(part) => ("update", Some(upsert(part))),
            Kind::Delete => ("delete", None),
            Kind::External {
                version,
                equal_is_fine,
                source,
            } => {
                external(version, *equal_is_fine);
                ("index", Some(source.clone()))
            }
            Kind::ExternalDelete { version } => {
                external(version, false);
                ("delete", None)
            }
        };
        let _ = writeln!(lines, "{}", json!({action: meta}));
        if let Some(body) = body {
            lines.push_str(&body);
            lines.push('\n');
        }
    }
    lines
}

fn upsert(part: &str) -> String {
    format!("{{\"doc\":{part},\"doc_as_upsert\":true}}")
}

fn version_type(equal_is_fine: bool) -> &'static str {
    if equal_is_fine { "external_gte" } else { "external" }
}

async fn json_request(client: &Es, method: &'static str, path: &str, body: &Value) -> Outcome {
    request(client, method, path, "application/json", body.to_string()).await
}

async fn request(
    client: &Es,
    method: &'static str,
    path: &str,
    content_type: &str,
    body: impl Into<String>,
) -> Outcome {
    let body: String = body.into();
    let body = if body.is_empty() {
        None
    } else {
        Some((content_type, body.into_bytes()))
    };
    match client.try_send(method, path, body).await {
        Ok((200..300 | 404 | 409, _)) => Outcome::Done,
        Ok((429 | 500.., _)) | Err(_) => Outcome::Unknown,
        Ok(_) => Outcome::Rejected,
    }
}
