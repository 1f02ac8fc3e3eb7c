//! The log: on stderr, so that stdout has nothing but data. Beside it, if they are configured, traces.

use std::io::IsTerminal;

use slipstream_trace::{Export, Otlp, SPANS};
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::cli::LogFormat;
use crate::failure::{Failure, chain};

/// What sets how much is logged.
const VARIABLE: &str = "SLIPSTREAM_LOG";

/// Starts logging. `default` applies where the variable is not set.
pub(crate) fn start(format: LogFormat, default: &str) -> Result<(), Failure> {
    start_with(format, default, None)
}

/// Starts logging, and the export of traces under the agent's name; what is still on its way is delivered by
/// [`Export::end`].
pub(crate) fn start_tracing(
    format: LogFormat,
    agent: &'static str,
    otlp: Option<&Otlp>,
) -> Result<Option<Export>, Failure> {
    let export = otlp.map(|otlp| Export::start(otlp, agent, env!("CARGO_PKG_VERSION")));
    let export = export
        .transpose()
        .map_err(|error| Failure::usage(format!("[observe] otlp_endpoint: {}", chain(&error))))?;
    start_with(format, "info", export.as_ref())?;
    Ok(export)
}

fn start_with(format: LogFormat, default: &str, export: Option<&Export>) -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            Failure::usage(format!("{VARIABLE}: `{text}` is not a log filter: {error}"))
                .advise("write a level, or levels of parts: info,slipstream_leader=debug")
        })?,
        _ => EnvFilter::new(default),
    };
    let export = export.map(|export| export.layer().boxed());
    let started = subscriber(lines(format, filter), export).try_init();
    started.map_err(|error| Failure::failed(format!("the log cannot be started: {error}")))
}

type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn lines(format: LogFormat, filter: EnvFilter) -> AnyLayer {
    // Spans are for traces only. Where nobody takes them, none is made.
    let filter = filter.and(filter_fn(|metadata| metadata.target() != SPANS));
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(colours()).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// Each layer has a filter of its own. One that is an `Option` and absent has none, and with it every span of every library would be
/// made, several for each frame on a connection, although nobody takes it.
fn subscriber(lines: AnyLayer, export: Option<AnyLayer>) -> impl Subscriber + Send + Sync {
    let layers: Vec<AnyLayer> = std::iter::once(lines).chain(export).collect();
    tracing_subscriber::registry().with(layers)
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use tracing::{info_span, trace_span};

    use super::*;

    #[test]
    fn no_span_is_made_that_nobody_takes() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let subscriber = subscriber(lines(format, EnvFilter::new("info")), None);
            tracing::subscriber::with_default(subscriber, || {
                // As the libraries have them for each frame of a connection, and we for each call.
                assert!(trace_span!(target: "h2::codec", "flush").is_disabled());
                assert!(info_span!(target: SPANS, "call").is_disabled());
            });
        }
    }
}
