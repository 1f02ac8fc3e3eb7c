//! `slipstream leader`.

use std::path::Path;

use slipstream_cluster::Cluster;
use slipstream_leader::{Leader, LeaderConfig};
use slipstream_wire::tls::ServerTls;
use tokio_util::sync::CancellationToken;

use super::signals::{Asked, Signals};
use super::{bind::bind, expiry, introduce, logging, metrics, observe};
use crate::cli::LogFormat;
use crate::config::{LeaderFile, environment};
use crate::failure::{Failure, chain};

/// Runs a leader agent until it is told to end.
pub(crate) async fn run(path: &Path, log: LogFormat) -> Result<(), Failure> {
    let file = LeaderFile::load(path, environment())?;
    let tls = ServerTls::new(&file.tls.identity).map_err(|error| Failure::usage(chain(&error)))?;
    let cluster = Cluster::new(&file.cluster).map_err(|error| Failure::usage(chain(&error)))?;
    logging::start(log, "info")?;
    let mut signals = Signals::listen()?;
    let certificate = tls.clone();
    let metrics = metrics::start(Box::new(move || certificate.expires_at()))?;
    expiry::warn_if_soon(tls.expires_at());
    if file.allow.is_empty() {
        tracing::warn!("there is no [[allow]] rule: no follower may read anything");
    }

    let listener = bind(&file.listen, "[listen] address", "follower agents").await?;
    let observer = match &file.observe {
        Some(address) => Some(bind(address, "[observe] address", "metrics and health").await?),
        None => None,
    };
    let shutdown = CancellationToken::new();
    // However this function ends, so does everything below it.
    let _end = shutdown.clone().drop_guard();
    let config = LeaderConfig {
        allow: file.allow,
        ..LeaderConfig::default()
    };
    let leader = Leader::new(cluster.clone(), config, shutdown.clone());
    let serving = leader.run(listener, tls.clone());
    let observing = async {
        if let Some(observer) = observer {
            return observe::serve(observer, cluster.clone(), metrics, shutdown.clone()).await;
        }
        Ok(())
    };
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
    tracing::info!("ended");
    Ok(())
}

/// Takes new certificates and rules from the files; keeps the old ones if anything is wrong with them.
fn reload(path: &Path, tls: &ServerTls, leader: &Leader) {
    let file = match LeaderFile::load(path, environment()) {
        Ok(file) => file,
        Err(error) => {
            tracing::error!(
                error = error.to_string(),
                "not reloaded: everything stays as it was"
            );
            return;
        }
    };
    if let Err(error) = tls.reload(&file.tls.identity) {
        tracing::error!(error = chain(&error), "not reloaded: everything stays as it was");
        return;
    }
    leader.reload_rules(file.allow);
    expiry::warn_if_soon(tls.expires_at());
    tracing::info!("certificates and allow rules reloaded; other settings take effect with a restart");
}
