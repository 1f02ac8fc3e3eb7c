//! `slipstream leader`.

use std::path::Path;
use std::time::Duration;

use slipstream_cluster::Cluster;
use slipstream_leader::{Leader, LeaderConfig, TailConfig};
use slipstream_model::event;
use slipstream_wire::tls::ServerTls;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::signals::{Asked, Signals};
use super::{bind::bind, descriptors, expiry, introduce, logging, metrics, observe};
use crate::cli::LogFormat;
use crate::config::{LeaderFile, environment};
use crate::failure::{Failure, chain};

/// Runs a leader agent until it is told to end.
pub(crate) async fn run(path: &Path, log: LogFormat) -> Result<(), Failure> {
    let file = LeaderFile::load(path, environment())?;
    let tls = ServerTls::new(&file.tls.identity).map_err(|error| Failure::usage(chain(&error)))?;
    let cluster = Cluster::new(&file.cluster).map_err(|error| Failure::usage(chain(&error)))?;
    let export = logging::start_tracing(log, "slipstream-leader", file.observe.otlp.as_ref())?;
    descriptors::allow_all();
    let mut signals = Signals::listen()?;
    let certificate = tls.clone();
    let metrics = metrics::start(Box::new(move || certificate.expires_at()))?;
    expiry::warn_if_soon(tls.expires_at());
    if file.allow.is_empty() {
        tracing::warn!("there is no [[allow]] rule: no follower may read anything");
    }

    let listener = bind(&file.listen, "[listen] address", "follower agents").await?;
    let observer = match &file.observe.address {
        Some(address) => Some(bind(address, "[observe] address", "metrics and health").await?),
        None => None,
    };
    let shutdown = CancellationToken::new();
    // However this function ends, so does everything below it.
    let _end = shutdown.clone().drop_guard();
    let config = LeaderConfig {
        allow: file.allow,
        max_streams: file.max_streams,
        translog: TailConfig {
            enabled: file.translog.enabled,
            data_path: file.translog.data_path,
        },
        snapshot_path: file.snapshot_path,
        agent_name: agent_name(&file.listen),
        ..LeaderConfig::default()
    };
    let leader = Leader::new(cluster.clone(), config, shutdown.clone());
    if file.translog.required {
        require_translog(&leader, &mut signals).await?;
    }
    let serving = leader.run(listener, tls.clone());
    let observing = async {
        if let Some(observer) = observer {
            return observe::serve(
                observer,
                leader.clone(),
                cluster.clone(),
                tls.clone(),
                metrics,
                shutdown.clone(),
            )
            .await;
        }
        Ok(())
    };
    tracing::info!(
        event = event::AGENT_STARTED,
        agent = "leader",
        version = env!("CARGO_PKG_VERSION"),
        "started"
    );
    let told = async {
        while signals.next().await == Asked::Reload {
            reload(path, &tls, &leader);
        }
        shutdown.cancel();
    };
    let served = async { serving.await.map_err(|error| Failure::of(&error)) };
    let observed = async { observing.await.map_err(|error| Failure::of(&error)) };
    let introduced = async {
        introduce(cluster.clone(), shutdown.clone()).await;
        Ok(())
    };
    let working = async { tokio::try_join!(served, observed, introduced).map(drop) };
    tokio::pin!(working);
    tokio::select! {
        failed = &mut working => return failed,
        () = told => {}
    }
    working.await?;
    if let Some(export) = export {
        export.end().await;
    }
    tracing::info!(event = event::AGENT_STOPPED, "ended");
    Ok(())
}

/// The same in every life of the agent, and another for each agent that shares the cluster's folders.
fn agent_name(listen: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {listen}", host.trim())
}

/// `translog = "on"`: nothing is served before translog files can be read. What can pass, an engine that is still starting,
/// is waited for.
async fn require_translog(leader: &Leader, signals: &mut Signals) -> Result<(), Failure> {
    const PATIENCE: Duration = Duration::from_mins(2);
    let begun = Instant::now();
    loop {
        let Err(why) = leader.check_translog().await else {
            return Ok(());
        };
        if begun.elapsed() >= PATIENCE {
            let failure = Failure::failed(format!("translog = \"on\", but {why}"));
            return Err(failure.advise("set \"auto\" to serve over the REST API where there are no files"));
        }
        tracing::warn!(why, "translog files cannot be read yet");
        tokio::select! {
            () = sleep(Duration::from_secs(5)) => {}
            _ = signals.next() => return Err(Failure::failed(format!("told to end while waiting: {why}"))),
        }
    }
}

/// Takes new certificates and rules from the files; keeps the old ones if anything is wrong with them.
fn reload(path: &Path, tls: &ServerTls, leader: &Leader) {
    let file = match LeaderFile::load(path, environment()) {
        Ok(file) => file,
        Err(error) => {
            tracing::error!(
                event = event::RELOAD_FAILED,
                error = error.to_string(),
                "not reloaded: everything stays as it was"
            );
            return;
        }
    };
    if let Err(error) = tls.reload(&file.tls.identity) {
        tracing::error!(
            event = event::RELOAD_FAILED,
            error = chain(&error),
            "not reloaded: everything stays as it was"
        );
        return;
    }
    leader.reload_rules(file.allow);
    expiry::warn_if_soon(tls.expires_at());
    tracing::info!(
        event = event::CERTIFICATE_RELOADED,
        "certificates and allow rules reloaded; other settings take effect with a restart"
    );
}
