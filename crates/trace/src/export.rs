//! The way to the collector: OTLP over HTTP, from a thread of its own with a bounded queue. What does not fit is dropped,
//! and a collector that cannot be reached costs nobody anything but its traces; the log says so once, and once when
//! they arrive again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use slipstream_model::event;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

use crate::{ONE_IN, SPANS};

/// Spans that wait for the collector; more are dropped.
const QUEUE: usize = 2_048;
/// How long spans wait for others to travel with.
const DELAY: Duration = Duration::from_secs(2);
/// How long the collector may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the last spans may take at the agent's end.
const LAST: Duration = Duration::from_secs(2);

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// The collector's full address, `http://HOST:PORT/v1/traces`.
    pub endpoint: String,
    /// Of what the data path does over and over, one in so many is traced; 0 traces none of it.
    pub one_in: u32,
}

/// Traces cannot be exported as configured.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The address, or the environment's `OTEL_…` variables.
    #[error("the export of traces cannot be set up")]
    Exporter(#[from] ExporterBuildError),
    /// The HTTP client.
    #[error("the HTTP client for traces cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// The export of this process's spans.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
}

impl Export {
    /// Prepares the export, under the name of a service. Within a tokio runtime; the collector is not asked anything yet.
    ///
    /// # Errors
    /// Where the configuration cannot be used.
    pub fn start(otlp: &Otlp, service: &'static str, version: &'static str) -> Result<Export, ExportError> {
        // The HTTP client wants one, although it speaks no TLS here.
        _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build()?;
        let client = Client {
            http,
            runtime: Handle::current(),
            endpoint: otlp.endpoint.clone(),
            failing: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&otlp.endpoint)
            .with_timeout(DEADLINE)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_scheduled_delay(DELAY)
            .build();
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", service))
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource)
            .build();
        ONE_IN.store(otlp.one_in, Ordering::Relaxed);
        Ok(Export { provider })
    }

    /// What a subscriber hands its spans to.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("slipstream"))
            .with_location(false)
            .with_threads(false)
            .with_filter(only_spans())
    }

    /// Delivers what is still on its way, for two seconds at most.
    pub async fn end(self) {
        ONE_IN.store(0, Ordering::Relaxed);
        // Neither a panic nor a collector that is away matters by now.
        _ = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST)).await;
    }
}

fn only_spans() -> filter::FilterFn {
    filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS)
}

/// The exporter works on a thread without a runtime, and our HTTP client needs one.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    endpoint: String,
    /// Whether the log has it that spans do not arrive.
    failing: AtomicBool,
}

impl Client {
    fn failed(&self, reason: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            let endpoint = self.endpoint.as_str();
            tracing::warn!(
                event = event::TRACE_EXPORT_FAILING,
                endpoint,
                reason,
                "traces do not reach their collector and are dropped"
            );
        }
    }

    fn delivered(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            let endpoint = self.endpoint.as_str();
            tracing::info!(
                event = event::TRACE_EXPORT_BACK,
                endpoint,
                "traces reach their collector again"
            );
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let call = self
            .http
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body);
        let answer = self.runtime.spawn(async move {
            let response = call.send().await?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                headers.clone_from(response.headers());
            }
            Ok::<_, reqwest::Error>((answer, response.bytes().await?))
        });
        let (answer, body) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let error = error.without_url();
                self.failed(&slipstream_model::words::chain(&error));
                return Err(error.into());
            }
            // The runtime is ending.
            Err(error) => return Err(error.into()),
        };
        let answer = answer.body(body)?;
        if answer.status().is_success() {
            self.delivered();
        } else {
            self.failed(&format!("it answered {}", answer.status()));
        }
        Ok(answer)
    }
}
