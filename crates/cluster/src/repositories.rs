//! Where the nodes of a cluster take snapshots from: what each of them lets a repository be, as its settings say.
//!
//! Registering a repository tells too late, and often nothing: one that is only read is taken without a look at it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use slipstream_model::Pattern;

use crate::client::{Call, Cluster};
use crate::copies::OneOrMany;
use crate::error::Result;

/// A node that reads repositories, for it may be master or holds shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryNode {
    /// Its name, for people.
    pub name: String,
    /// The addresses by which it is known in its cluster.
    pub addresses: BTreeSet<IpAddr>,
    /// Folders below which a repository may be: `path.repo`.
    pub folders: Vec<String>,
    /// URLs that a repository may have, with `*` for anything: `repositories.url.allowed_urls`.
    pub urls: Vec<String>,
    /// Whether it can read from a URL at all: the module `repository-url` is there.
    pub reads_urls: bool,
}

impl RepositoryNode {
    /// Whether the node lets a repository be in this folder. By name only: whether it finds there what others do is another question.
    pub fn takes_folder(&self, folder: &Path) -> bool {
        self.folders.iter().any(|root| folder.starts_with(root))
    }

    /// Whether the node lets a repository have this URL. As the engines compare it: scheme, `HOST:PORT` and path each for itself.
    pub fn takes_url(&self, url: &str) -> bool {
        let Some(wanted) = parts(url) else { return false };
        self.urls
            .iter()
            .filter_map(|allowed| parts(allowed))
            .any(|allowed| {
                let fits = |allowed: &str, wanted: &str| Pattern::new(allowed).matches(wanted);
                fits(allowed.0, wanted.0) && fits(allowed.1, wanted.1) && fits(allowed.2, wanted.2)
            })
    }
}

/// Scheme, `HOST:PORT`, and path.
fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    Some((scheme, &rest[..at], &rest[at..]))
}

#[derive(Deserialize)]
struct NodesAnswer {
    #[serde(default)]
    nodes: BTreeMap<String, NodeAnswer>,
}

#[derive(Deserialize)]
struct NodeAnswer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    ip: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    http: Published,
    #[serde(default)]
    transport: Published,
    #[serde(default)]
    settings: SettingsAnswer,
    #[serde(default)]
    modules: Vec<Named>,
    #[serde(default)]
    plugins: Vec<Named>,
}

#[derive(Deserialize, Default)]
struct Published {
    #[serde(default)]
    publish_address: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize, Default)]
struct SettingsAnswer {
    #[serde(default)]
    path: PathAnswer,
    #[serde(default)]
    repositories: RepositoriesAnswer,
}

#[derive(Deserialize, Default)]
struct PathAnswer {
    #[serde(default)]
    repo: OneOrMany,
}

#[derive(Deserialize, Default)]
struct RepositoriesAnswer {
    #[serde(default)]
    url: UrlAnswer,
}

#[derive(Deserialize, Default)]
struct UrlAnswer {
    #[serde(default)]
    allowed_urls: OneOrMany,
}

impl NodeAnswer {
    /// Others pass requests on and never look into a repository.
    fn reads_repositories(&self) -> bool {
        let reads = |role: &String| {
            ["data", "master", "cluster_manager"]
                .iter()
                .any(|begin| role.starts_with(begin))
        };
        self.roles.is_empty() || self.roles.iter().any(reads)
    }

    fn into_node(self) -> RepositoryNode {
        let published = [&self.http, &self.transport].map(|at| address(&at.publish_address));
        let addresses = published.into_iter().flatten().chain(self.ip.parse().ok());
        RepositoryNode {
            addresses: addresses.map(|ip| ip.to_canonical()).collect(),
            folders: self.settings.path.repo.0,
            urls: self.settings.repositories.url.allowed_urls.0,
            reads_urls: self
                .modules
                .iter()
                .chain(&self.plugins)
                .any(|there| there.name == "repository-url"),
            name: self.name,
        }
    }
}

/// The address in `IP:PORT`, which some releases put a name and a slash in front of.
fn address(published: &str) -> Option<IpAddr> {
    let (host, _port) = published.rsplit('/').next()?.rsplit_once(':')?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl Cluster {
    /// The nodes that read repositories, and what they take for one. The privilege is `monitor` on the cluster.
    pub async fn repository_nodes(&self) -> Result<Vec<RepositoryNode>> {
        const FIELDS: &str = "nodes.*.name,nodes.*.ip,nodes.*.roles,nodes.*.http.publish_address,\
            nodes.*.transport.publish_address,nodes.*.settings.path.repo,\
            nodes.*.settings.repositories.url.allowed_urls,nodes.*.modules.name,nodes.*.plugins.name";
        let call = Call::get(
            "/_nodes/settings,http,transport,plugins",
            format!("filter_path={FIELDS}"),
        );
        let answer: NodesAnswer = self.json(&call).await?;
        let nodes = answer.nodes.into_values();
        Ok(nodes
            .filter(NodeAnswer::reads_repositories)
            .map(NodeAnswer::into_node)
            .collect())
    }

    /// Registers a repository that the nodes read from a URL, which must end with a slash. Each of them tries to.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Server`] or [`crate::ErrorKind::BadRequest`] where a node may not use it
    /// (`repositories.url.allowed_urls`), or does not get an answer there.
    pub async fn put_url_repository(&self, name: &str, url: &str) -> Result<()> {
        let body = json!({ "type": "url", "settings": {
            "url": url,
            "max_restore_bytes_per_sec": "0b",
        } });
        self.register_repository(name, "", &body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(allowed: &[&str]) -> RepositoryNode {
        RepositoryNode {
            folders: vec!["/mnt/repo".to_owned()],
            urls: allowed.iter().map(|&url| url.to_owned()).collect(),
            ..RepositoryNode::default()
        }
    }

    #[test]
    fn a_url_is_allowed_part_by_part() {
        let url = "http://127.0.0.1:9711/abc/";
        for (allowed, fits) in [
            ("http://127.0.0.1:*/*", true),
            ("http://127.0.0.1:9711/*", true),
            ("http://*/*", true),
            // Tried on a real server: without a path of its own it does not match.
            ("http://127.0.0.1:*", false),
            ("http://127.0.0.1:9711/", false),
            ("https://127.0.0.1:*/*", false),
            ("http://127.0.0.1/*", false),
            ("*", false),
        ] {
            assert_eq!(node(&[allowed]).takes_url(url), fits, "{allowed}");
        }
        assert!(!node(&[]).takes_url(url));
    }

    #[test]
    fn a_folder_is_allowed_below_one_that_is_named() {
        for (folder, fits) in [
            ("/mnt/repo", true),
            ("/mnt/repo/own", true),
            ("/mnt/repository", false),
            ("/mnt", false),
        ] {
            assert_eq!(node(&[]).takes_folder(Path::new(folder)), fits, "{folder}");
        }
    }

    #[test]
    fn what_engines_print_is_understood() {
        let answer: NodesAnswer = serde_json::from_value(json!({ "nodes": {
            "a": {
                "name": "one", "ip": "10.0.0.1", "roles": ["cluster_manager"],
                "http": { "publish_address": "node1/10.0.0.2:9200" },
                "transport": { "publish_address": "[::1]:9300" },
                "settings": { "path": { "repo": ["/a", "/b"] }, "repositories": { "url": { "allowed_urls": "http://x/*,http://y/*" } } },
                "modules": [{ "name": "repository-url" }],
            },
            "b": { "name": "two", "roles": ["ingest"] },
            "c": { "name": "three", "roles": ["data_hot"], "settings": { "path": { "repo": "/a" } } },
        } }))
        .unwrap();
        let nodes = answer.nodes.into_values().filter(NodeAnswer::reads_repositories);
        let nodes: Vec<RepositoryNode> = nodes.map(NodeAnswer::into_node).collect();
        let addresses = ["10.0.0.1", "10.0.0.2", "::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(
            nodes,
            [
                RepositoryNode {
                    name: "one".to_owned(),
                    addresses: addresses.into_iter().collect(),
                    folders: vec!["/a".to_owned(), "/b".to_owned()],
                    urls: vec!["http://x/*".to_owned(), "http://y/*".to_owned()],
                    reads_urls: true,
                },
                RepositoryNode {
                    name: "three".to_owned(),
                    folders: vec!["/a".to_owned()],
                    ..RepositoryNode::default()
                },
            ]
        );
    }
}
