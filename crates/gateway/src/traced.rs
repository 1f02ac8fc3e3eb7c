//! The span of a call: one that changes something, or that its caller traces. Those who only look, again and again, have
//! none.

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span};

/// Serves a call within its span.
pub(crate) async fn traced(request: Request, next: Next) -> Response {
    let span = span_of(&request);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

fn span_of(request: &Request) -> Span {
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    if looks && !slipstream_trace::is_traced(request.headers()) {
        return Span::none();
    }
    let (method, path) = (request.method().as_str(), request.uri().path());
    let call = path.rsplit('/').next().unwrap_or_default();
    let span = slipstream_trace::span!(
        "request",
        otel.name = format!("{method} {call}"),
        otel.kind = "server",
        http.request.method = method,
        url.path = path,
        http.response.status_code = tracing::field::Empty,
    );
    slipstream_trace::continue_from(&span, request.headers());
    span
}
