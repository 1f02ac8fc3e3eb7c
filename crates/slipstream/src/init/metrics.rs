//! The process's metrics, and the text that Prometheus reads.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use slipstream_gateway::Metrics;

use super::expiry::{CERTIFICATE_EXPIRY_SECONDS, ExpiresAt, measure};
use crate::failure::Failure;

/// Starts counting, and gives what makes the text. Once a process.
pub(crate) fn start(expires_at: ExpiresAt) -> Result<Metrics, Failure> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::failed(format!("metrics cannot be started: {error}")))?;
    slipstream_leader::metrics::describe();
    slipstream_follower::metrics::describe();
    slipstream_gateway::metrics::describe();
    metrics::describe_gauge!(
        CERTIFICATE_EXPIRY_SECONDS,
        "Seconds until the agent's certificate expires; negative once it has"
    );
    Ok(Arc::new(move || {
        measure(expires_at());
        // Distributions are folded when somebody looks: nothing else here would ever do it.
        handle.run_upkeep();
        handle.render()
    }))
}
