//! Which engine in which version a cluster is, and what that means for the calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use slipstream_model::ClusterUuid;

use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};

/// The two families of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    OpenSearch,
}

impl Engine {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Engine::Elasticsearch => "elasticsearch",
            Engine::OpenSearch => "opensearch",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A release number; what follows a hyphen (`-SNAPSHOT`) is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl EngineVersion {
    /// A version from its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        EngineVersion { major, minor, patch }
    }

    /// Reads `7.10.2` or `3.0.0-SNAPSHOT`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').next()?.split('.').map(|n| n.parse().ok());
        let version = EngineVersion::new(numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(version)
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Who a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The engine.
    pub engine: Engine,
    /// The version of the node that answered.
    pub version: EngineVersion,
    /// The cluster's name.
    pub name: String,
    /// The cluster's permanent identity.
    pub uuid: ClusterUuid,
}

impl ClusterIdentity {
    /// Whether this release has points in time. A distribution can lack them all the same (Elasticsearch without
    /// x-pack); opening one tells.
    pub fn supports_pit(&self) -> bool {
        let since = match self.engine {
            Engine::Elasticsearch => EngineVersion::new(7, 10, 0),
            Engine::OpenSearch => EngineVersion::new(2, 4, 0),
        };
        self.version >= since
    }

    /// Whether searches can be told to leave search pipelines alone, which would rewrite hits.
    pub(crate) fn has_search_pipelines(&self) -> bool {
        self.engine == Engine::OpenSearch && self.version >= EngineVersion::new(2, 9, 0)
    }

    /// Whether this is a release that the client was made for.
    pub(crate) fn is_supported(&self) -> bool {
        match self.engine {
            Engine::Elasticsearch => (7..=9).contains(&self.version.major),
            Engine::OpenSearch => (1..=3).contains(&self.version.major),
        }
    }
}

/// The answer to `GET /`.
#[derive(Debug, Deserialize)]
struct Greeting {
    cluster_name: String,
    cluster_uuid: String,
    version: GreetingVersion,
}

#[derive(Debug, Deserialize)]
struct GreetingVersion {
    number: String,
    #[serde(default)]
    distribution: Option<String>,
}

impl Cluster {
    /// Who the cluster is; asked once, then remembered.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for engines and releases that this client was not made for, and
    /// [`ErrorKind::Incomplete`] while the cluster has not formed yet.
    pub async fn identity(&self) -> Result<Arc<ClusterIdentity>> {
        self.identity_cell()
            .get_or_try_init(|| self.ask_identity())
            .await
            .cloned()
    }

    async fn ask_identity(&self) -> Result<Arc<ClusterIdentity>> {
        let call = Call::get("/", "");
        let greeting = match self.json(&call).await {
            Err(error) if error.kind == ErrorKind::Unsupported => self.greeting_without_root().await?,
            greeting => greeting?,
        };
        if matches!(greeting.cluster_uuid.as_str(), "" | "_na_") {
            return Err(self
                .error(ErrorKind::Incomplete, &call)
                .with_reason("the cluster has not formed yet"));
        }
        let engine = match greeting.version.distribution.as_deref() {
            Some("opensearch") => Engine::OpenSearch,
            _ => Engine::Elasticsearch,
        };
        let mut number = greeting.version.number;
        // `compatibility.override_main_response_version` makes OpenSearch pretend to be 7.10.2.
        if engine == Engine::OpenSearch && number.starts_with("7.") {
            number = self.node_version().await?;
        }
        let Some(version) = EngineVersion::parse(&number) else {
            let reason = format!("`{number}` is no version that an engine has");
            return Err(self.error(ErrorKind::Protocol, &call).with_reason(reason));
        };
        let uuid = ClusterUuid::new(greeting.cluster_uuid);
        let identity = ClusterIdentity {
            engine,
            version,
            name: greeting.cluster_name,
            uuid,
        };
        if !identity.is_supported() {
            let reason = format!(
                "{engine} {version} is not supported: Elasticsearch 7 to 9 and OpenSearch 1 to 3 are"
            );
            return Err(self.error(ErrorKind::Unsupported, &call).with_reason(reason));
        }
        Ok(Arc::new(identity))
    }

    /// Elasticsearch 8 answers `GET /` by a module that small distributions leave out.
    async fn greeting_without_root(&self) -> Result<Greeting> {
        #[derive(Deserialize)]
        struct Answer {
            cluster_name: String,
            cluster_uuid: String,
        }
        let call = Call::get("/_cluster/state/version", "filter_path=cluster_name,cluster_uuid");
        let Answer {
            cluster_name,
            cluster_uuid,
        } = self.json(&call).await?;
        let version = GreetingVersion {
            number: self.node_version().await?,
            distribution: None,
        };
        Ok(Greeting {
            cluster_name,
            cluster_uuid,
            version,
        })
    }

    /// The version of the node that answers, also where `GET /` tells another.
    async fn node_version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Answer {
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            version: String,
        }
        let call = Call::get("/_nodes/_local", "filter_path=nodes.*.version");
        let answer: Answer = self.json(&call).await?;
        let node = answer.nodes.into_values().next();
        node.map(|node| node.version).ok_or_else(|| {
            self.error(ErrorKind::Protocol, &call)
                .with_reason("the node does not tell its version")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(engine: Engine, version: &str) -> ClusterIdentity {
        let version = EngineVersion::parse(version).expect("a version");
        ClusterIdentity {
            engine,
            version,
            name: "c".into(),
            uuid: ClusterUuid::from("u"),
        }
    }

    #[test]
    fn versions_are_read_and_ordered_by_number() {
        assert_eq!(EngineVersion::parse("7.10.2"), Some(EngineVersion::new(7, 10, 2)));
        assert_eq!(
            EngineVersion::parse("3.0.0-alpha1-SNAPSHOT"),
            Some(EngineVersion::new(3, 0, 0))
        );
        for wrong in ["", "7", "7.10", "7.x.1", "1.2.3.4"] {
            assert_eq!(EngineVersion::parse(wrong), None, "{wrong}");
        }
        assert!(EngineVersion::new(7, 9, 3) < EngineVersion::new(7, 10, 0));
        assert_eq!(EngineVersion::new(8, 19, 21).to_string(), "8.19.21");
    }

    #[test]
    fn releases_know_what_they_can() {
        for (engine, version, supported, pit, pipelines) in [
            (Engine::Elasticsearch, "6.8.23", false, false, false),
            (Engine::Elasticsearch, "7.3.0", true, false, false),
            (Engine::Elasticsearch, "7.10.2", true, true, false),
            (Engine::Elasticsearch, "8.19.21", true, true, false),
            (Engine::Elasticsearch, "10.0.0", false, true, false),
            (Engine::OpenSearch, "1.3.0", true, false, false),
            (Engine::OpenSearch, "2.4.1", true, true, false),
            (Engine::OpenSearch, "2.11.1", true, true, true),
            (Engine::OpenSearch, "3.6.0", true, true, true),
            (Engine::OpenSearch, "4.0.0", false, true, true),
        ] {
            let identity = identity(engine, version);
            assert_eq!(identity.is_supported(), supported, "{engine} {version}");
            assert_eq!(identity.supports_pit(), pit, "{engine} {version}");
            assert_eq!(identity.has_search_pipelines(), pipelines, "{engine} {version}");
        }
    }
}
