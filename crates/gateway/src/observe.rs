//! For machines that watch: alive, ready, metrics; and our own JSON about the indices.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipstream_model::IndexName;
use slipstream_model::readiness::{Component, Readiness};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::body::Object;
use crate::calls::acknowledged;
use crate::error::ApiError;
use crate::params::Params;

/// The document that describes every route.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /healthz`: the process serves.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether everything that the agent needs works, and what else it works with.
pub(crate) async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response {
    let control = Arc::clone(&gateway.control);
    readiness(async move { control.components().await }, &gateway.shutdown).await
}

/// The answer to `/readyz`, on either agent: 200 where everything needed works and nobody has told the agent to end,
/// else 503.
pub async fn readiness(
    components: impl Future<Output = Vec<Component>>,
    shutdown: &CancellationToken,
) -> Response {
    let components = if shutdown.is_cancelled() {
        vec![Component::needed("agent", Err("was told to end".to_owned()))]
    } else {
        components.await
    };
    let readiness = Readiness::of(components);
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
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

/// `POST /_slipstream/v1/indices/{index}/verify`: begins a comparison with the leader; `{"repair": true}` puts right
/// what differs.
pub(crate) async fn verify(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let mut body = Object::read(&headers, body, "VerifyRequestParser").await?;
    let repair = body.flag("repair")?;
    body.finish()?;
    gateway.control.verify(&IndexName::new(index), repair)?;
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
