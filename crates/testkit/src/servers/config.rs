//! How a server is started.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Server;

/// How to start a server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Largest heap in MiB. 512 is enough for some hundred thousand small documents.
    pub heap_mb: u32,
    /// The cluster's name.
    pub cluster_name: String,
    /// The node's name, unique within its cluster.
    pub node_name: String,
    /// Further lines of the configuration file: key, and value as YAML.
    pub settings: Vec<(String, String)>,
    /// The transport address of a node of the cluster to join; alone where empty.
    pub join: Option<String>,
    /// Whether the node may be elected master. A joining node usually should not: of two that may, either's death
    /// can leave the other without a majority.
    pub master_eligible: bool,
    /// Start fast with a JVM that never optimises much (`true`, for tests), or run as in production (for benchmarks).
    pub fast_start: bool,
    /// The data folder is a disk of its own with this many MiB, which [`super::Instance::fill_disk`] fills.
    pub disk_mb: Option<u32>,
    /// The folder for repositories is a disk of its own with this many MiB, which [`super::Instance::fill_repo_disk`] fills.
    pub repo_mb: Option<u32>,
    /// Whether the server checks who its callers are. OpenSearch then speaks https.
    pub secured: bool,
    /// Users of a secured Elasticsearch beside the administrator, with his password and a role of their own each. (These releases lack
    /// a module that the engine keeps users in; files do without.)
    pub users: Vec<(String, Value)>,
    /// An authority in whose certificates the server believes when it fetches something, in a PEM file.
    pub trusted_ca: Option<PathBuf>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            heap_mb: 512,
            cluster_name: "slipstream-test".to_owned(),
            node_name: "node-0".to_owned(),
            settings: Vec::new(),
            join: None,
            master_eligible: true,
            fast_start: true,
            disk_mb: None,
            repo_mb: None,
            secured: false,
            users: Vec::new(),
            trusted_ca: None,
        }
    }
}

impl ServerConfig {
    /// The defaults under a cluster name of its own, which is what shows in logs.
    pub fn named(cluster_name: &str) -> Self {
        Self {
            cluster_name: cluster_name.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a line to the configuration file; `value` is YAML.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Has the server believe in certificates of this authority when it fetches something.
    #[must_use]
    pub fn trusting(mut self, ca: &Path) -> Self {
        self.trusted_ca = Some(ca.to_owned());
        self
    }

    /// Switches security on; clients of the server are its administrator.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Adds a user of a secured Elasticsearch, and the role that he has.
    #[must_use]
    pub fn with_user(mut self, name: &str, role: Value) -> Self {
        self.users.push((name.to_owned(), role));
        self
    }

    /// Joins the cluster of `server` as a data node that may not become master.
    #[must_use]
    pub fn joining(mut self, server: &Server, node_name: &str) -> Self {
        self.cluster_name.clone_from(&server.config().cluster_name);
        node_name.clone_into(&mut self.node_name);
        self.join = Some(server.transport_address());
        self.master_eligible = false;
        self
    }
}
