//! The context of a span in the headers of a call, as W3C Trace Context writes it.

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header without which there is no context.
const TRACEPARENT: &str = "traceparent";

/// Whether headers name a trace.
pub fn is_traced(headers: &HeaderMap) -> bool {
    headers.contains_key(TRACEPARENT)
}

/// Makes a span part of the trace that the caller's headers name, if they name one. To be called before it is entered.
pub fn continue_from(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() || !is_traced(headers) {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // Fails only where the span was entered already; then it has a trace of its own.
    _ = span.set_parent(parent);
}

/// A place in a trace that later work can go on from, without keeping a span open for it.
#[derive(Clone, Default)]
pub struct Origin(Option<Context>);

impl Origin {
    /// Where a span is.
    pub fn of(span: &Span) -> Origin {
        Origin((!span.is_disabled()).then(|| span.context()))
    }

    /// Where the caller is.
    pub fn current() -> Origin {
        Origin::of(&Span::current())
    }

    /// Has a span go on from here. To be called before it is entered.
    pub fn lead_to(self, span: &Span) {
        if let Some(context) = self.0 {
            // Fails only where the span was entered already; then it has a trace of its own.
            _ = span.set_parent(context);
        }
    }
}

/// Names the current span's trace in the headers of a call that it makes.
pub fn inject(headers: &mut HeaderMap) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
}
