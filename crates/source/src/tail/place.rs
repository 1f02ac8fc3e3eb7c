//! Where the translog of the copy beside this agent is: asked of the node itself, and then made sure of.
//!
//! The node tells its id, its data folder and the translog's identity. The folder must exist on this host under that
//! name (or under the configured one), be readable, and hold that very translog: so an address that leads to another
//! node, a container with other mounts, or a stale folder is found out, and the window reader serves.

use std::path::{Path, PathBuf};

use serde_json::Value;
use slipstream_cluster::{ErrorKind, LocalNode, ShardCopy};
use slipstream_model::{Checkpoint, HistoryUuid};
use tokio::time::{Duration, Instant};

use super::blocking;
use super::leave::Leave;
use crate::{Start, Watch};

/// A node's id and data folder change only when it restarts, and then its copies begin anew too.
const NODE_AGE: Duration = Duration::from_secs(10);

/// What the operator set about translog files.
#[derive(Debug, Clone)]
pub struct TailConfig {
    /// Whether translog files are read at all.
    pub enabled: bool,
    /// The node's data folder as this agent sees it, where that differs from what the node calls it.
    pub data_path: Option<PathBuf>,
}

impl Default for TailConfig {
    /// They are read, where the node says that they are.
    fn default() -> Self {
        TailConfig {
            enabled: true,
            data_path: None,
        }
    }
}

/// A copy whose translog can be read here.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) folder: PathBuf,
    pub(super) translog_uuid: String,
    pub(super) history: HistoryUuid,
    pub(super) primary: bool,
    pub(super) max_seq_no: Checkpoint,
    pub(super) node: LocalNode,
}

/// Finds places, and remembers the node.
pub(super) struct Places {
    watch: Watch,
    config: TailConfig,
    node: tokio::sync::Mutex<Option<Known>>,
}

/// The node as it was found.
struct Known {
    at: Instant,
    node: LocalNode,
    /// Whether its data folder can be read here: where it cannot, nothing has to be asked for any shard.
    data: Result<(), Leave>,
}

impl Places {
    pub(super) fn new(watch: Watch, config: TailConfig) -> Self {
        Places {
            watch,
            config,
            node: tokio::sync::Mutex::default(),
        }
    }

    /// Whether any translog can be read here at all.
    pub(super) async fn check(&self) -> Result<(), Leave> {
        if !self.config.enabled {
            return Err(Leave::Unfit(
                "reading translog files is switched off in the leader agent's configuration".to_owned(),
            ));
        }
        self.node().await?.1
    }

    /// The node beside this agent, and whether its data folder can be read here.
    async fn node(&self) -> Result<(LocalNode, Result<(), Leave>), Leave> {
        let mut known = self.node.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < NODE_AGE) {
            return Ok((known.node.clone(), known.data.clone()));
        }
        let node = self.watch.cluster().local_node().await.map_err(|error| {
            Leave::Unfit(format!(
                "the node beside this agent does not say who it is: {error}"
            ))
        })?;
        let folders: Vec<PathBuf> = match &self.config.data_path {
            Some(seen) => vec![seen.clone()],
            None => node.data_paths.iter().map(PathBuf::from).collect(),
        };
        let name = node.name.clone();
        let data = blocking(move || {
            if folders.is_empty() {
                return Err(Leave::Unfit(format!("node [{name}] has no data folder")));
            }
            folders.iter().try_for_each(|folder| reachable(folder, &name))
        })
        .await;
        *known = Some(Known {
            at: Instant::now(),
            node: node.clone(),
            data: data.clone(),
        });
        Ok((node, data))
    }

    /// The started copy on the node beside this agent, as the node tells it now.
    pub(super) async fn copy(&self, start: &Start) -> Result<(LocalNode, ShardCopy), Leave> {
        let (node, _) = self.node().await?;
        let copies = self.watch.cluster().shard_copies(&start.shard.index).await;
        let copies = copies.map_err(|error| match error.kind {
            ErrorKind::NotFound | ErrorKind::IndexClosed => Leave::Unfit("the index is not open".to_owned()),
            _ => Leave::Unfit(format!(
                "the leader cluster does not say where copies are: {error}"
            )),
        })?;
        let copy = copies
            .filter(|copies| copies.uuid == start.index_uuid)
            .and_then(|mut copies| copies.shards.remove(&start.shard.shard))
            .and_then(|copies| copies.into_iter().find(|copy| copy.node == node.id));
        match copy {
            Some(copy) => Ok((node, copy)),
            None => Err(Leave::Unfit(format!(
                "node [{}] beside this agent holds no started copy of the shard",
                node.name
            ))),
        }
    }

    /// Where the copy beside this agent has its translog, if it is one that tells all there is.
    pub(super) async fn locate(&self, start: &Start) -> Result<Located, Leave> {
        self.check().await?;
        let (node, copy) = self.copy(start).await?;
        if copy.data_path.is_empty() || copy.translog_uuid.is_empty() {
            return Err(Leave::Unfit("the engine has no translog files".to_owned()));
        }
        let settings = self.watch.cluster().settings(&start.shard.index).await;
        let settings = settings
            .map_err(|error| Leave::Unfit(format!("the index's settings cannot be read: {error}")))?;
        let text = |name: &str| settings.get(name).and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = obstacle(text, copy.primary) {
            return Err(Leave::Unfit(why.to_owned()));
        }
        let data = self.data_folder(&node, &copy.data_path)?;
        let folder = data
            .join("indices")
            .join(start.index_uuid.as_str())
            .join(start.shard.shard.0.to_string())
            .join("translog");
        Ok(Located {
            folder,
            translog_uuid: copy.translog_uuid,
            history: copy.history_uuid,
            primary: copy.primary,
            max_seq_no: copy.max_seq_no,
            node,
        })
    }

    /// The data folder as this agent sees it.
    fn data_folder(&self, node: &LocalNode, told: &str) -> Result<PathBuf, Leave> {
        let told = Path::new(told);
        let Some(seen) = &self.config.data_path else {
            return Ok(told.to_owned());
        };
        // What the node adds below its path.data stays: `nodes/0` on some engines.
        let below = node
            .data_paths
            .iter()
            .find_map(|data| told.strip_prefix(data).ok());
        match (below, node.data_paths.as_slice()) {
            (Some(below), [_]) => Ok(seen.join(below)),
            (None, [_]) => Err(Leave::Unfit(format!(
                "the copy lies in {}, outside the node's path.data",
                told.display()
            ))),
            _ => Err(Leave::Unfit(
                "data_path is set, and the node has several data folders".to_owned(),
            )),
        }
    }
}

/// Whether a folder of the node can be listed here, on a thread that may wait for the disk.
pub(super) fn reachable(folder: &Path, node: &str) -> Result<(), Leave> {
    let path = folder.display();
    match std::fs::read_dir(folder) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Leave::Unfit(format!(
            "{path} of node [{node}] is not on this host, or has another name here (`data_path`)"
        ))),
        Err(error) => Err(Leave::Unfit(format!(
            "{path} of node [{node}] cannot be read ({error}): add this agent's user to the engine's group"
        ))),
    }
}

/// Why a copy's translog does not tell all there is, by the index's settings.
fn obstacle<'a>(setting: impl Fn(&str) -> &'a str, primary: bool) -> Option<&'static str> {
    if setting("index.remote_store.enabled") == "true"
        || !setting("index.remote_store.translog_repository").is_empty()
    {
        return Some("the index keeps its translog in a remote store");
    }
    if matches!(setting("index.store.type"), "snapshot" | "remote_snapshot") {
        return Some("the index is a searchable snapshot");
    }
    if setting("index.replication.type").eq_ignore_ascii_case("segment") && !primary {
        return Some("the index is replicated by segments, and the copy beside this agent is a replica");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_whose_translog_does_not_tell_all_are_left_to_the_window_reader() {
        let with = |name: &'static str, value: &'static str, primary| {
            obstacle(|asked| if asked == name { value } else { "" }, primary)
        };
        assert_eq!(with("index.replication.type", "DOCUMENT", false), None);
        assert_eq!(with("index.replication.type", "SEGMENT", true), None);
        assert!(with("index.replication.type", "SEGMENT", false).is_some());
        assert!(with("index.remote_store.enabled", "true", true).is_some());
        assert!(with("index.store.type", "remote_snapshot", true).is_some());
        assert_eq!(with("index.store.type", "hybridfs", true), None);
    }
}
