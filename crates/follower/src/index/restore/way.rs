//! The way that files go to the target: through a folder that its nodes share with this agent, or from the agent itself.
//!
//! Whether one will do is asked before anything is begun: engines register a repository without a look at it, and an attempt costs the
//! leader a snapshot.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use slipstream_cluster::{Cluster, ClusterError, RepositoryNode};
use slipstream_wire::v1;
use thiserror::Error;

use super::super::task::TaskContext;
use super::serve::{FileServer, Offer};
use super::{RestoreError, Restoring};

/// One of the two.
#[derive(Debug, Clone)]
pub(in crate::index) enum Way {
    /// A folder under the target's `path.repo`.
    Folder(PathBuf),
    /// A repository that the target reads from this agent.
    Served(FileServer),
}

impl Way {
    /// The way of files that go through `folder`.
    pub(super) fn through(context: &TaskContext, folder: &Path) -> Way {
        match &context.file_server {
            Some(server) if server.spool() == folder => Way::Served(server.clone()),
            _ => Way::Folder(folder.to_owned()),
        }
    }

    /// The folder that files go through.
    pub(in crate::index) fn folder(&self) -> &Path {
        match self {
            Way::Folder(folder) => folder,
            Way::Served(server) => server.spool(),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Folder(folder) => write!(f, "through the folder {}", folder.display()),
            Way::Served(server) => write!(f, "served to the target's nodes at {}", server.url()),
        }
    }
}

/// Why a way will not do, and what would mend it.
#[derive(Debug, Error)]
pub enum NoWay {
    /// It cannot be found out.
    #[error("the target does not tell what its nodes take for a repository")]
    Unknown(#[from] ClusterError),
    /// A node does not let a repository be there.
    #[error(
        "node [{node}] of the target may not read {folder}: it must stand in path.repo in the configuration of every node"
    )]
    Folder {
        /// The node.
        node: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The agent cannot write there.
    #[error("this agent cannot write into {folder}")]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A node cannot read from a URL.
    #[error("node [{0}] of the target has no module repository-url, by which it would read from this agent")]
    Module(String),
    /// A node does not let a repository have that URL.
    #[error(
        "node [{node}] of the target may not read from this agent: set repositories.url.allowed_urls: [\"{pattern}\"] in the \
         opensearch.yml (elasticsearch.yml) of every node and restart it"
    )]
    Url {
        /// The node.
        node: String,
        /// What to allow.
        pattern: String,
    },
}

/// Finds out whether files can go through a folder to the target.
///
/// # Errors
/// Why they cannot.
pub async fn check_folder(cluster: &Cluster, folder: &Path) -> Result<(), NoWay> {
    goes_through(&cluster.repository_nodes().await?, folder).await
}

impl FileServer {
    /// Finds out whether the target's nodes may fetch files from here, and whether there is a folder for them.
    ///
    /// # Errors
    /// Why they may not.
    pub async fn check(&self, cluster: &Cluster) -> Result<(), NoWay> {
        is_served(&cluster.repository_nodes().await?, self).await
    }
}

/// The first way that will do.
pub(super) async fn find(context: &TaskContext) -> Result<Way, Vec<NoWay>> {
    let nodes = match context.cluster.repository_nodes().await {
        Ok(nodes) => nodes,
        Err(error) => return Err(vec![error.into()]),
    };
    let mut none = Vec::new();
    if let Some(folder) = &context.snapshot_path {
        match goes_through(&nodes, folder).await {
            Ok(()) => return Ok(Way::Folder(folder.clone())),
            Err(why) => none.push(why),
        }
    }
    if let Some(server) = &context.file_server {
        match is_served(&nodes, server).await {
            Ok(()) => return Ok(Way::Served(server.clone())),
            Err(why) => none.push(why),
        }
    }
    Err(none)
}

async fn goes_through(nodes: &[RepositoryNode], folder: &Path) -> Result<(), NoWay> {
    match nodes.iter().find(|node| !node.takes_folder(folder)) {
        Some(node) => Err(NoWay::Folder {
            node: node.name.clone(),
            folder: folder.to_owned(),
        }),
        None => writable(folder).await,
    }
}

async fn is_served(nodes: &[RepositoryNode], server: &FileServer) -> Result<(), NoWay> {
    if let Some(node) = nodes.iter().find(|node| !node.reads_urls) {
        return Err(NoWay::Module(node.name.clone()));
    }
    if let Some(node) = nodes.iter().find(|node| !node.takes_url(&server.sample())) {
        return Err(NoWay::Url {
            node: node.name.clone(),
            pattern: server.pattern(),
        });
    }
    writable(server.spool()).await
}

/// Tries it: permissions alone do not tell (read-only mounts, quotas).
async fn writable(folder: &Path) -> Result<(), NoWay> {
    let probe = folder.join(format!("slipstream-probe-{:016x}", rand::random::<u64>()));
    let tried = async {
        tokio::fs::create_dir_all(&probe).await?;
        tokio::fs::remove_dir(&probe).await
    };
    tried.await.map_err(|source| NoWay::Unwritable {
        folder: folder.to_owned(),
        source,
    })
}

impl Restoring<'_> {
    /// Makes the fetched files a repository of the target's. It is one only as long as what this returns is kept.
    pub(super) async fn register(&self, snapshot: &v1::Snapshot) -> Result<Option<Offer>, RestoreError> {
        let cluster = &self.context.cluster;
        let Way::Served(server) = &self.way else {
            cluster
                .put_repository(&self.repository, self.files.folder(), true)
                .await?;
            return Ok(None);
        };
        let files = snapshot.blobs.iter().map(|blob| (blob.path.clone(), blob.length));
        let nodes = cluster.repository_nodes().await?;
        let nodes: BTreeSet<_> = nodes.into_iter().flat_map(|node| node.addresses).collect();
        let offer = server.offer(self.files.folder(), files.collect(), nodes);
        cluster.put_url_repository(&self.repository, &offer.url()).await?;
        Ok(Some(offer))
    }
}
