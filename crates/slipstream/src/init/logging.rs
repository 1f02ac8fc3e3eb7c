//! The log: on stderr, so that stdout has nothing but data. Beside it, if they are configured, traces.

use std::io::IsTerminal;

use slipstream_trace::{Export, Otlp, SPANS};
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
    // Spans are for traces only. Where nobody takes them, none is made.
    let filter = filter.and(filter_fn(|metadata| metadata.target() != SPANS));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(lines.with_ansi(colours()).with_filter(filter)),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_filter(filter)),
    };
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(export.map(Export::layer))
        .try_init();
    started.map_err(|error| Failure::failed(format!("the log cannot be started: {error}")))
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
