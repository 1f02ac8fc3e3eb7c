//! Traces: spans that go on from one agent to the next by W3C trace context (`traceparent`), and their way to an
//! OpenTelemetry collector.
//!
//! Spans are made by [`span!`] and carry a target of their own, which the log never takes: without a collector no
//! subscriber wants them, and each costs one load of an atomic. With one, calls are always traced, unless the caller's
//! context says that it is not, and of what the data path does over and over one in so many ([`sampled_span!`]).

mod context;
mod export;

pub use context::{Origin, continue_from, inject, is_traced};
pub use export::{Export, ExportError, Otlp};
#[doc(hidden)]
pub use tracing;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The target of all spans.
pub const SPANS: &str = "slipstream_spans";

/// One in how many repeated spans is made; 0 makes none.
static ONE_IN: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A span of a call or a step that somebody asked for. Takes a name and fields, as `tracing::info_span!` does.
#[macro_export]
macro_rules! span {
    ($($arguments:tt)*) => {
        $crate::tracing::info_span!(target: $crate::SPANS, $($arguments)*)
    };
}

/// A span of something that happens over and over, such as a batch: one in so many, none without a collector.
#[macro_export]
macro_rules! sampled_span {
    ($($arguments:tt)*) => {
        if $crate::due() {
            $crate::tracing::info_span!(target: $crate::SPANS, parent: None, $($arguments)*)
        } else {
            $crate::tracing::Span::none()
        }
    };
}

/// Whether the next repeated span is to be made.
pub fn due() -> bool {
    match ONE_IN.load(Ordering::Relaxed) {
        0 => false,
        one_in => COUNT
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(u64::from(one_in)),
    }
}
