//! The status page: files in the binary, for browsers.
//!
//! The page is the same for everybody and knows nothing; its script asks [`crate::overview`] like any other client, and
//! puts what it is told into the page as text. The policy sent along lets nothing else in: no script or style but these
//! files, no request but to this gateway, no frame around the page.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::ApiError;
use crate::{Gateway, passing};

/// Where the page's files are; its own folder, so that no path of the target's is taken.
pub(crate) const FILES: &str = "/_slipstream/page/{file}";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// The page itself, and its files by name: type and contents.
const PAGE: &str = include_str!("page/index.html");
const CONTENTS: [(&str, &str, &str); 10] = [
    ("style.css", STYLE, include_str!("page/style.css")),
    ("icon.svg", IMAGE, include_str!("page/icon.svg")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("actions.js", SCRIPT, include_str!("page/actions.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("indices.js", SCRIPT, include_str!("page/indices.js")),
    ("clusters.js", SCRIPT, include_str!("page/clusters.js")),
    ("words.js", SCRIPT, include_str!("page/words.js")),
];

/// `GET /`: the page for browsers. Clients of the engines ask here who they talk to: that is the target's to answer
/// where requests pass on.
pub(crate) async fn root(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, ApiError> {
    if wants_html(request.headers()) {
        return Ok(sent(HTML, PAGE));
    }
    if gateway.proxy.is_some() {
        return passing::any(State(gateway), request).await;
    }
    let about = json!({
        "name": "slipstream gateway",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/_slipstream/v1/openapi.json"
    });
    Ok(Json(about).into_response())
}

/// `GET /_slipstream/page/{file}`.
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = CONTENTS.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) =
        found.ok_or_else(|| ApiError::not_found(format!("the status page has no file [{name}]")))?;
    Ok(sent(kind, text))
}

fn sent(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        // After an upgrade of the agent no file of the release before may stay in use.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served_and_nothing_is_fetched_from_elsewhere() {
        let texts = CONTENTS.iter().map(|(.., text)| *text).chain([PAGE]);
        for text in texts {
            for (at, _) in text.match_indices("/_slipstream/page/") {
                let name = text[at..].split(['"', '\'']).next().unwrap_or_default();
                let name = name.trim_start_matches("/_slipstream/page/");
                assert!(CONTENTS.iter().any(|(known, ..)| *known == name), "{name}");
            }
            for (at, _) in text.match_indices("from \"./") {
                let name = text[at + 8..].split('"').next().unwrap_or_default();
                assert!(CONTENTS.iter().any(|(known, ..)| *known == name), "{name}");
            }
            for foreign in [
                "https://",
                "innerHTML",
                "insertAdjacentHTML",
                "style=\"",
                "onclick=",
            ] {
                assert!(!text.contains(foreign), "{foreign}");
            }
            let namespaces = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(text.matches("http://").count(), namespaces);
        }
    }
}
