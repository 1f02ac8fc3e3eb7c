//! What the gateway counts.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

/// Requests, by what came of them.
const REQUESTS_TOTAL: &str = "slipstream_gateway_requests_total";

/// Tells the recorder what the metrics are. Once a process, after the recorder is in place.
pub fn describe() {
    metrics::describe_counter!(
        REQUESTS_TOTAL,
        "Requests to the gateway, by what came of them: ok, unauthenticated, forbidden, refused, failed"
    );
}

/// Counts a request once it has its answer.
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    metrics::counter!(REQUESTS_TOTAL, "outcome" => outcome(response.status())).increment(1);
    response
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "ok",
        401 => "unauthenticated",
        403 => "forbidden",
        404..500 | 400 | 402 => "refused",
        _ => "failed",
    }
}
