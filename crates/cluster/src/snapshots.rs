//! Snapshots of indices and the restore of one, through repositories of our own that hold nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use slipstream_model::IndexName;
use slipstream_model::settings::Settings;

use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::path;

/// Where a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotState {
    /// Under way.
    InProgress,
    /// All of it is in the repository.
    Complete,
    /// It ended otherwise, in words.
    Failed(String),
}

/// Where a restore stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreState {
    /// Under way: bytes recovered so far.
    InProgress(u64),
    /// Every primary is started.
    Complete,
    /// No primary is being recovered and some are missing, in words.
    Stuck(String),
}

/// What to restore, and as what.
#[derive(Debug, Clone)]
pub struct Restore<'a> {
    /// The repository.
    pub repository: &'a str,
    /// The snapshot in it.
    pub snapshot: &'a str,
    /// The index in the snapshot.
    pub index: &'a IndexName,
    /// Its name from then on.
    pub name: &'a IndexName,
    /// Settings that it gets in place of those in the snapshot.
    pub settings: &'a Settings,
    /// Settings of the snapshot that it does not get; `*` stands for anything.
    pub without: &'a [String],
}

#[derive(Deserialize)]
struct SnapshotsAnswer {
    #[serde(default)]
    snapshots: Vec<SnapshotAnswer>,
}

#[derive(Deserialize)]
struct SnapshotAnswer {
    snapshot: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    failures: Vec<Value>,
}

impl Cluster {
    /// Registers a repository in a folder that all nodes have in common, unthrottled for what is written to it and read from it, and
    /// with lists of files in which their names can be found.
    /// One that is only read is not tried out.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] or [`ErrorKind::BadRequest`] where the nodes may not use the folder: `path.repo` must hold it.
    pub async fn put_repository(&self, name: &str, folder: &Path, read_only: bool) -> Result<()> {
        let body = json!({ "type": "fs", "settings": {
            "location": folder,
            "readonly": read_only,
            "compress": false,
            "max_snapshot_bytes_per_sec": "0b",
            "max_restore_bytes_per_sec": "0b",
        } });
        self.register_repository(name, if read_only { "verify=false" } else { "" }, &body)
            .await
    }

    /// Registers a repository of any type.
    pub(crate) async fn register_repository(&self, name: &str, query: &str, body: &Value) -> Result<()> {
        let call = Call::put(format!("/_snapshot/{}", path::encode(name)), query);
        let body = self.to_json(body)?;
        self.ok(&call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Forgets a repository; its files stay. Nothing happens if there is none.
    pub async fn remove_repository(&self, name: &str) -> Result<()> {
        let path = format!("/_snapshot/{}", path::encode(name));
        self.gone(&Call::new(reqwest::Method::DELETE, path, "").heavy())
            .await
    }

    /// Begins a snapshot of some indices.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if any of them is not there.
    pub async fn begin_snapshot(
        &self,
        repository: &str,
        snapshot: &str,
        indices: &[IndexName],
    ) -> Result<()> {
        for index in indices {
            // Only to refuse a name that means more than one index.
            self.segment(index)?;
        }
        let body = json!({ "indices": indices, "include_global_state": false, "ignore_unavailable": false });
        let call = Call::put(snapshot_path(repository, snapshot), "wait_for_completion=false");
        let body = self.to_json(&body)?;
        self.ok(&call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Where a snapshot stands.
    pub async fn snapshot_state(&self, repository: &str, snapshot: &str) -> Result<SnapshotState> {
        let call = Call::get(snapshot_path(repository, snapshot), "");
        let answer: SnapshotsAnswer = self.json(&call).await?;
        let Some(found) = answer.snapshots.into_iter().next() else {
            return Ok(SnapshotState::Failed(
                "the cluster does not know it any more".to_owned(),
            ));
        };
        Ok(match found.state.as_str() {
            "SUCCESS" => SnapshotState::Complete,
            "IN_PROGRESS" | "STARTED" | "INIT" => SnapshotState::InProgress,
            other => {
                let failure = found.failures.first().map(Value::to_string).unwrap_or_default();
                SnapshotState::Failed(format!("it ended as {other} {failure}").trim_end().to_owned())
            }
        })
    }

    /// By which ids the indices of a snapshot that is being taken stand in its repository. Empty once it has ended.
    pub async fn snapshot_ids(
        &self,
        repository: &str,
        snapshot: &str,
    ) -> Result<BTreeMap<IndexName, String>> {
        #[derive(Deserialize, Default)]
        struct State {
            #[serde(default)]
            snapshots: Running,
        }
        #[derive(Deserialize, Default)]
        struct Running {
            #[serde(default)]
            snapshots: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            repository: String,
            snapshot: String,
            indices: Vec<OfIndex>,
        }
        #[derive(Deserialize)]
        struct OfIndex {
            name: String,
            id: String,
        }
        const FIELDS: &str =
            "snapshots.snapshots.repository,snapshots.snapshots.snapshot,snapshots.snapshots.indices";
        let call = Call::get("/_cluster/state/customs", format!("filter_path={FIELDS}"));
        let state: State = self.json(&call).await?;
        let mut running = state.snapshots.snapshots.into_iter();
        let entry = running.find(|entry| entry.repository == repository && entry.snapshot == snapshot);
        let indices = entry.map(|entry| entry.indices).unwrap_or_default();
        Ok(indices
            .into_iter()
            .map(|index| (IndexName::new(index.name), index.id))
            .collect())
    }

    /// The names of all snapshots in a repository; none if there is no such repository.
    pub async fn snapshots(&self, repository: &str) -> Result<Vec<String>> {
        let path = format!("/_snapshot/{}/_all", path::encode(repository));
        match self.json::<SnapshotsAnswer>(&Call::get(path, "")).await {
            Ok(answer) => Ok(answer.snapshots.into_iter().map(|found| found.snapshot).collect()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes a snapshot with its files, or aborts it. Nothing happens if there is none.
    pub async fn remove_snapshot(&self, repository: &str, snapshot: &str) -> Result<()> {
        let path = snapshot_path(repository, snapshot);
        self.gone(&Call::new(reqwest::Method::DELETE, path, "").heavy())
            .await
    }

    /// Begins a restore. Aliases, and what belongs to the cluster rather than the index, are left out.
    ///
    /// # Errors
    /// Where the target does not take it: the snapshot is of a release that it cannot read, or there is an index of that name.
    pub async fn begin_restore(&self, restore: &Restore<'_>) -> Result<()> {
        self.segment(restore.name)?;
        let body = json!({
            "indices": restore.index,
            "rename_pattern": ".+",
            "rename_replacement": restore.name.as_str().replace('$', "\\$"),
            "include_global_state": false,
            "include_aliases": false,
            "index_settings": restore.settings,
            "ignore_index_settings": restore.without,
        });
        let path = format!("{}/_restore", snapshot_path(restore.repository, restore.snapshot));
        let call = Call::post(path, "wait_for_completion=false");
        let body = self.to_json(&body)?;
        self.ok(&call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Where the restore of an index of so many shards stands. Waits up to `wait` for its end.
    pub async fn restore_state(
        &self,
        index: &IndexName,
        shards: u32,
        wait: Duration,
    ) -> Result<RestoreState> {
        #[derive(Deserialize)]
        struct Health {
            #[serde(default)]
            indices: BTreeMap<String, OfIndex>,
        }
        #[derive(Deserialize)]
        struct OfIndex {
            #[serde(rename = "number_of_shards")]
            all: u64,
            #[serde(rename = "active_primary_shards")]
            active: u64,
            #[serde(rename = "initializing_shards")]
            initializing: u64,
        }
        let segment = self.segment(index)?;
        // As many copies as there are primaries. Not yellow, which an index is from the beginning of its restore.
        let query = format!(
            "level=indices&wait_for_active_shards={shards}&timeout={}ms",
            wait.as_millis()
        );
        let call = Call::get(format!("/_cluster/health/{segment}"), query);
        let answer = self.send(&call).await?;
        // 408: the health that was waited for did not come about, which is no failure here.
        if !matches!(answer.status, 200 | 408) {
            return Err(self.refused(&call, &answer));
        }
        let health: Health = self.parse(&call, &answer.body)?;
        let Some(health) = health.indices.get(index.as_str()) else {
            return Ok(RestoreState::Stuck("the index is not there".to_owned()));
        };
        if health.active == health.all {
            return Ok(RestoreState::Complete);
        }
        if health.initializing == 0 {
            let missing = health.all - health.active;
            return Ok(RestoreState::Stuck(format!(
                "{missing} of {} shards are not being restored: _cluster/allocation/explain on the target says why",
                health.all
            )));
        }
        let recoveries = self.recoveries(index).await?;
        let bytes = recoveries.iter().map(|shard| shard.index.size.recovered_in_bytes);
        Ok(RestoreState::InProgress(bytes.sum()))
    }

    /// Whether an index is there and came out of this repository.
    pub async fn is_restored_from(&self, index: &IndexName, repository: &str) -> Result<bool> {
        match self.recoveries(index).await {
            Ok(shards) => Ok(shards.iter().any(|shard| shard.source.repository == repository)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn recoveries(&self, index: &IndexName) -> Result<Vec<Recovery>> {
        #[derive(Deserialize, Default)]
        struct OfIndex {
            #[serde(default)]
            shards: Vec<Recovery>,
        }
        let call = Call::get(format!("/{}/_recovery", self.segment(index)?), "");
        let answer: BTreeMap<String, OfIndex> = self.json(&call).await?;
        Ok(answer.into_values().flat_map(|found| found.shards).collect())
    }

    /// Takes away the settings that the target did not know when it restored an index, and returns their names, those before it set them
    /// aside.
    pub async fn forget_archived_settings(&self, index: &IndexName) -> Result<Vec<String>> {
        const ASIDE: &str = "archived.";
        let settings = self.settings(index).await?;
        let aside = settings.keys().filter_map(|name| name.strip_prefix(ASIDE));
        let names: Vec<String> = aside.map(str::to_owned).collect();
        if !names.is_empty() {
            let none = Settings::from_iter([(format!("{ASIDE}*"), Value::Null)]);
            self.put_settings(index, &none).await?;
        }
        Ok(names)
    }

    /// The transient value of a cluster setting, as the engine prints it; `None` if it has none.
    pub async fn transient_setting(&self, name: &str) -> Result<Option<String>> {
        let call = Call::get("/_cluster/settings", "flat_settings=true");
        let answer: Value = self.json(&call).await?;
        Ok(answer["transient"][name].as_str().map(str::to_owned))
    }

    /// Sets the transient value of a cluster setting, or takes it away.
    pub async fn put_transient_setting(&self, name: &str, value: Option<&str>) -> Result<()> {
        let body = self.to_json(&json!({ "transient": { name: value } }))?;
        let call = Call::put("/_cluster/settings", "");
        self.ok(&call.body(body, "application/json")).await.map(drop)
    }

    /// The size of each index's primaries, in bytes, as far as the cluster tells it.
    pub async fn primary_bytes(&self, indices: &[IndexName]) -> Result<BTreeMap<IndexName, u64>> {
        const FIELDS: &str = "ignore_unavailable=true&filter_path=indices.*.primaries.store.size_in_bytes";
        let mut bytes = BTreeMap::new();
        for portion in self.portions(indices)? {
            let call = Call::get(format!("/{portion}/_stats/store"), FIELDS);
            let mut answer: Value = self.json(&call).await?;
            let Value::Object(found) = answer["indices"].take() else {
                continue;
            };
            bytes.extend(found.into_iter().filter_map(|(name, index)| {
                let size = index["primaries"]["store"]["size_in_bytes"].as_u64()?;
                Some((IndexName::new(name), size))
            }));
        }
        // An alias would bring in indices that nobody asked for.
        bytes.retain(|name, _| indices.contains(name));
        Ok(bytes)
    }

    /// A removal; what is not there is removed.
    pub(crate) async fn gone(&self, call: &Call) -> Result<()> {
        match self.ok(call).await {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Recovery {
    #[serde(default)]
    source: RecoverySource,
    #[serde(default)]
    index: RecoveryIndex,
}

#[derive(Deserialize, Default)]
struct RecoverySource {
    #[serde(default)]
    repository: String,
}

#[derive(Deserialize, Default)]
struct RecoveryIndex {
    #[serde(default)]
    size: RecoverySize,
}

#[derive(Deserialize, Default)]
struct RecoverySize {
    #[serde(default)]
    recovered_in_bytes: u64,
}

fn snapshot_path(repository: &str, snapshot: &str) -> String {
    format!(
        "/_snapshot/{}/{}",
        path::encode(repository),
        path::encode(snapshot)
    )
}
