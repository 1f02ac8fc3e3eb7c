//! For machines that watch: alive, ready, metrics; and our own JSON about the indices.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipstream_model::IndexName;

use crate::Gateway;
use crate::calls::{acknowledged, nothing};
use crate::error::ApiError;
use crate::params::Params;

/// How long the target may take to make the agent ready.
const READY_WAIT: Duration = Duration::from_secs(5);

/// The document that describes every route.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /healthz`: the process serves.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the target has answered and the agent has not been told to end.
pub(crate) async fn readyz(State(gateway): State<Arc<Gateway>>) -> (StatusCode, String) {
    let not = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if gateway.shutdown.is_cancelled() {
        return not("ending");
    }
    match tokio::time::timeout(READY_WAIT, gateway.control.ready()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Err(why)) => not(&why),
        Err(_) => not("the target cluster does not answer"),
    }
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        (gateway.metrics)(),
    )
        .into_response()
}

/// `GET /_slipstream/v1/indices`.
pub(crate) async fn indices(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    Ok(Json(json!({"indices": gateway.control.list()})).into_response())
}

/// `GET /_slipstream/v1/indices/{index}`.
pub(crate) async fn index(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    match gateway.control.status(&IndexName::new(index.clone())) {
        Some(status) => Ok(Json(status).into_response()),
        None => Err(ApiError::not_found(format!(
            "No replication in progress for index:{index}"
        ))),
    }
}

/// `POST /_slipstream/v1/indices/{index}/verify`: begins a comparison with the leader.
pub(crate) async fn verify(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    nothing(&uri, &headers, body, "VerifyRequestParser").await?;
    gateway.control.verify(&IndexName::new(index))?;
    Ok(acknowledged())
}

/// `GET /_slipstream/v1/indices/{index}/verify`: how the last one stands.
pub(crate) async fn verified(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    match gateway.control.verified(&IndexName::new(index.clone())) {
        Some(status) => Ok(Json(status).into_response()),
        None => Err(ApiError::not_found(format!(
            "index [{index}] has not been compared since the agent started: POST here to begin"
        ))),
    }
}

/// `GET /_slipstream/v1/openapi.json`.
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
