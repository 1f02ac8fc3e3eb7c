//! The configuration files of the agents. Everything is read and checked before a port is bound or a store opened, and
//! what cannot be is refused with file, line and key.
//!
//! One module a section. The environment comes in as an iterator, so that nothing here depends on the process. Secrets
//! come from files of their own or from the environment; no error shows a value that may be one.

mod allow;
mod cluster;
mod document;
mod gateway;
mod leader;
mod limits;
mod listen;
mod observe;
mod section;
mod snapshots;
mod store;
mod tls;

use std::path::{Path, PathBuf};

use slipstream_cluster::ClusterConfig;
use slipstream_follower::{FollowerConfig, Leaders};
use slipstream_leader::AllowRule;
use slipstream_trace::Otlp;

pub(crate) use cluster::Translog;
pub(crate) use document::{ConfigError, Document};
pub(crate) use gateway::{Auth, Gateway, is_loopback};
pub(crate) use observe::Observe;
pub(crate) use snapshots::Served;
pub(crate) use store::StorePath;
pub(crate) use tls::Certificates;

/// A leader agent's file.
#[derive(Debug)]
pub(crate) struct LeaderFile {
    pub(crate) cluster: ClusterConfig,
    pub(crate) translog: Translog,
    pub(crate) snapshot_path: Option<PathBuf>,
    pub(crate) listen: String,
    pub(crate) tls: Certificates,
    pub(crate) allow: Vec<AllowRule>,
    pub(crate) observe: Observe,
    pub(crate) max_streams: usize,
}

/// A follower agent's file.
#[derive(Debug)]
pub(crate) struct FollowerFile {
    pub(crate) cluster: ClusterConfig,
    pub(crate) store: StorePath,
    pub(crate) gateway: Gateway,
    pub(crate) snapshots: Option<Served>,
    pub(crate) tls: Certificates,
    pub(crate) leaders: Leaders,
    pub(crate) limits: FollowerConfig,
    pub(crate) otlp: Option<Otlp>,
}

impl LeaderFile {
    /// Reads the file and the variables that override it.
    pub(crate) fn load(
        path: &Path,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        LeaderFile::read(Document::load(path, env)?)
    }

    fn read(mut document: Document) -> Result<Self, ConfigError> {
        let (cluster, translog, snapshot_path) = cluster::read_leader(document.section("cluster")?)?;
        let file = LeaderFile {
            cluster,
            translog,
            snapshot_path,
            listen: listen::read(document.section("listen")?)?,
            tls: tls::read(document.section("tls")?)?,
            allow: allow::read(document.sections("allow")?)?,
            observe: observe::read_leader(document.section("observe")?)?,
            max_streams: limits::read_leader(document.section("limits")?)?,
        };
        document.finish()?;
        Ok(file)
    }
}

impl FollowerFile {
    /// Reads the file and the variables that override it.
    pub(crate) fn load(
        path: &Path,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        FollowerFile::read(Document::load(path, env)?)
    }

    fn read(mut document: Document) -> Result<Self, ConfigError> {
        let (cluster, snapshot_path) = cluster::read(document.section("cluster")?)?;
        let mut file = FollowerFile {
            cluster,
            store: store::read(document.section("store")?)?,
            gateway: gateway::read(document.section("gateway")?, document.sections("allow")?)?,
            snapshots: snapshots::read(document.section("snapshots")?)?,
            tls: tls::read(document.section("tls")?)?,
            leaders: leader::read(document.sections("leader")?)?,
            limits: limits::read(document.section("limits")?)?,
            otlp: observe::read(document.section("observe")?)?,
        };
        file.limits.snapshot_path = snapshot_path;
        document.finish()?;
        Ok(file)
    }
}

/// Whether a file is a follower agent's: it has a store or a gateway, which a leader agent's never has.
pub(crate) fn is_follower(path: &Path) -> Result<bool, ConfigError> {
    let document = Document::load(path, environment())?;
    Ok(["store", "gateway", "leader"]
        .iter()
        .any(|name| document.has(name)))
}

/// The process's environment, as far as it is text.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests;
