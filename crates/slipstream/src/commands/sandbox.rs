//! `slipstream sandbox`: the embedded engine alone.

use slipstream_sandbox::{Flavor, Sandbox, SandboxConfig};

use crate::cli::{EngineArg, LogFormat, SandboxArgs};
use crate::failure::Failure;
use crate::init::logging;
use crate::init::signals::{Asked, Signals};

/// Runs until it is told to end. Its address is in the log.
pub(crate) async fn run(args: SandboxArgs, log: LogFormat) -> Result<(), Failure> {
    logging::start(log, "info")?;
    let mut signals = Signals::listen()?;
    let engine = match args.engine {
        EngineArg::Opensearch => Flavor::OpenSearch,
        EngineArg::Elasticsearch => Flavor::Elasticsearch,
    };
    let config = SandboxConfig {
        engine,
        cluster_name: "sandbox".to_owned(),
        data: args.data,
        listen: args.listen,
    };
    let sandbox = Sandbox::start(config)
        .await
        .map_err(|error| Failure::of(&error))?;
    tracing::info!(address = %sandbox.address(), service = "sandbox", "listening");
    while signals.next().await == Asked::Reload {
        tracing::info!("there is nothing to reload");
    }
    sandbox.stop().await;
    Ok(())
}
