//! The cluster state as far as replication needs it: which index a name stands for, and in which version its mapping,
//! settings and aliases are.
//!
//! An operation is acknowledged only after the elected master has committed the mapping it needs, so versions are asked
//! of the master (I7). A node's own copy of the state will do for one purpose: for what this node itself has written to
//! its translog, since it applied the mapping before.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use slipstream_model::settings::{Settings, most_in_an_answer};
use slipstream_model::{IndexName, IndexUuid, Pattern, PrimaryTerm, ShardId};

use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::path;

/// How often a description is begun anew when the index keeps changing under it.
const MOST_READINGS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);
/// How often the node is asked whether it has caught up with the master, [`PAUSE`] apart.
const MOST_LOCAL_LOOKS: u32 = 100;

/// Counters that move when an index's metadata changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetadataVersions {
    /// Of the mapping.
    pub mapping: u64,
    /// Of the settings.
    pub settings: u64,
    /// Of the aliases; 0 on releases that do not count them (Elasticsearch before 7.2).
    pub aliases: u64,
}

/// One index in the cluster state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexState {
    /// The index's identity.
    pub uuid: IndexUuid,
    /// Whether it is open.
    pub open: bool,
    /// Versions of its metadata.
    pub versions: MetadataVersions,
    /// The primary term of each shard.
    pub primary_terms: BTreeMap<ShardId, PrimaryTerm>,
    /// `routing_num_shards`, which documents are hashed onto.
    pub routing_shards: u32,
    /// How many shards it has.
    pub shards: u32,
    /// The version of the cluster state that this was read from; 0 if the answer did not say.
    pub state_version: u64,
}

/// Everything that a follower index is made from, all of one moment.
#[derive(Debug, Clone)]
pub struct IndexDescription {
    /// The state that the rest belongs to.
    pub state: IndexState,
    /// The mapping as the engine printed it; `{}` if there is none.
    pub mapping: Box<RawValue>,
    /// The settings, flat.
    pub settings: Settings,
    /// The aliases: name → definition (`filter`, `index_routing`, …).
    pub aliases: Map<String, Value>,
}

#[derive(Deserialize)]
struct StateAnswer {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    metadata: MetadataAnswer,
    #[serde(default)]
    blocks: BlocksAnswer,
}

#[derive(Deserialize, Default)]
struct BlocksAnswer {
    #[serde(default)]
    global: Map<String, Value>,
}

/// The engines' number for "state not recovered": a cluster that has just started knows none of its indices yet.
const NOT_RECOVERED: &str = "1";

#[derive(Deserialize, Default)]
struct MetadataAnswer {
    #[serde(default)]
    indices: BTreeMap<String, IndexAnswer>,
}

#[derive(Deserialize)]
struct IndexAnswer {
    state: String,
    settings: SettingsAnswer,
    #[serde(default)]
    mapping_version: u64,
    #[serde(default)]
    settings_version: u64,
    #[serde(default)]
    aliases_version: u64,
    #[serde(default)]
    routing_num_shards: u32,
    #[serde(default)]
    primary_terms: BTreeMap<u32, u64>,
}

#[derive(Deserialize)]
struct SettingsAnswer {
    index: IndexSettingsAnswer,
}

#[derive(Deserialize)]
struct IndexSettingsAnswer {
    uuid: String,
    #[serde(default)]
    number_of_shards: String,
}

const OPTIONS: &str = "ignore_unavailable=true&expand_wildcards=all";

impl Cluster {
    /// The version of the elected master's cluster state.
    pub async fn state_version(&self) -> Result<u64> {
        self.version_of_state("filter_path=version").await
    }

    /// The version of the cluster state that the node beside this client has applied.
    pub async fn local_state_version(&self) -> Result<u64> {
        self.version_of_state("local=true&filter_path=version").await
    }

    async fn version_of_state(&self, query: &str) -> Result<u64> {
        #[derive(Deserialize)]
        struct Answer {
            version: u64,
        }
        Ok(self
            .json::<Answer>(&Call::get("/_cluster/state/version", query))
            .await?
            .version)
    }

    /// The state of one index; `None` if there is no index of that very name, also if it is an alias.
    pub async fn index_state(&self, index: &IndexName) -> Result<Option<IndexState>> {
        self.state_of_index(index, "").await
    }

    /// The same, as the node beside this client has applied it.
    pub async fn local_index_state(&self, index: &IndexName) -> Result<Option<IndexState>> {
        self.state_of_index(index, "local=true&").await
    }

    async fn state_of_index(&self, index: &IndexName, whose: &str) -> Result<Option<IndexState>> {
        const FIELDS: &str = "version,blocks.global,metadata.indices.*.mapping_version,metadata.indices.*.settings_version,\
            metadata.indices.*.aliases_version,metadata.indices.*.state,metadata.indices.*.primary_terms,\
            metadata.indices.*.routing_num_shards,metadata.indices.*.settings.index.uuid,\
            metadata.indices.*.settings.index.number_of_shards";
        let call = Call::get(
            format!("/_cluster/state/metadata,version,blocks/{}", self.segment(index)?),
            format!("{whose}{OPTIONS}&filter_path={FIELDS}"),
        );
        let mut answer: StateAnswer = self.json(&call).await?;
        self.must_be_recovered(&answer, &call)?;
        let Some(found) = answer.metadata.indices.remove(index.as_str()) else {
            return Ok(None);
        };
        let Ok(shards) = found.settings.index.number_of_shards.parse() else {
            return Err(self
                .error(ErrorKind::Protocol, &call)
                .with_reason("the index has no number of shards"));
        };
        Ok(Some(IndexState {
            uuid: IndexUuid::new(found.settings.index.uuid),
            open: found.state == "open",
            versions: MetadataVersions {
                mapping: found.mapping_version,
                settings: found.settings_version,
                aliases: found.aliases_version,
            },
            primary_terms: found
                .primary_terms
                .into_iter()
                .map(|(shard, term)| (ShardId(shard), PrimaryTerm(term)))
                .collect(),
            routing_shards: found.routing_num_shards,
            shards,
            state_version: answer.version,
        }))
    }

    /// The identities of the named indices, in one request for as many names as fit into one; missing ones, and aliases,
    /// are absent.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] while the cluster does not know its indices yet: none of them is missing then.
    pub async fn index_uuids(&self, indices: &[IndexName]) -> Result<BTreeMap<IndexName, IndexUuid>> {
        const FIELDS: &str = "blocks.global,metadata.indices.*.state,metadata.indices.*.settings.index.uuid";
        let mut uuids = BTreeMap::new();
        for portion in self.portions(indices)? {
            let call = Call::get(
                format!("/_cluster/state/metadata,blocks/{portion}"),
                format!("{OPTIONS}&filter_path={FIELDS}"),
            );
            let answer: StateAnswer = self.json(&call).await?;
            self.must_be_recovered(&answer, &call)?;
            uuids.extend(
                answer
                    .metadata
                    .indices
                    .into_iter()
                    .map(|(name, index)| (IndexName::new(name), IndexUuid::new(index.settings.index.uuid))),
            );
        }
        // An alias would bring in indices that nobody asked for.
        uuids.retain(|name, _| indices.contains(name));
        Ok(uuids)
    }

    fn must_be_recovered(&self, answer: &StateAnswer, call: &Call) -> Result<()> {
        if !answer.blocks.global.contains_key(NOT_RECOVERED) {
            return Ok(());
        }
        Err(self
            .error(ErrorKind::Server, call)
            .with_reason("the cluster has just started and does not know its indices yet"))
    }

    /// The indices whose own names fit `pattern`, hidden ones included, in order of name: name, identity, whether open.
    pub async fn index_names(&self, pattern: &str) -> Result<Vec<(IndexName, IndexUuid, bool)>> {
        const FIELDS: &str = "metadata.indices.*.state,metadata.indices.*.settings.index.uuid";
        let call = Call::get(
            format!("/_cluster/state/metadata/{}", path::encode(pattern)),
            format!("{OPTIONS}&filter_path={FIELDS}"),
        );
        let answer: StateAnswer = self.json(&call).await?;
        // The engine's patterns also find indices through their aliases.
        let own = Pattern::new(pattern);
        let found = answer
            .metadata
            .indices
            .into_iter()
            .filter(|(name, _)| own.matches(name));
        Ok(found
            .map(|(name, index)| {
                let open = index.state == "open";
                (
                    IndexName::new(name),
                    IndexUuid::new(index.settings.index.uuid),
                    open,
                )
            })
            .collect())
    }

    /// Mapping, settings and aliases of one index, all belonging to the same versions; `None` if it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if the index kept changing while it was read.
    pub async fn describe(&self, index: &IndexName) -> Result<Option<IndexDescription>> {
        let segment = self.segment(index)?;
        for _ in 0..MOST_READINGS {
            let Some(state) = self.index_state(index).await? else {
                return Ok(None);
            };
            self.wait_for_node(state.state_version).await?;
            match self.read_description(index, &segment, state).await {
                Ok(description) => {
                    let now = self.index_state(index).await?;
                    let same = |a: &IndexState, b: &IndexState| a.uuid == b.uuid && a.versions == b.versions;
                    if now.is_some_and(|now| same(&now, &description.state)) {
                        return Ok(Some(description));
                    }
                }
                // Deleted or renamed into an alias just now: the next look at the state tells.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        let call = Call::get(format!("/{segment}"), "");
        Err(self
            .error(ErrorKind::Incomplete, &call)
            .with_reason("the index's metadata kept changing while it was read"))
    }

    /// Newer releases answer mapping, settings and aliases from the asked node's own copy of the state, which may be
    /// behind the master's.
    async fn wait_for_node(&self, version: u64) -> Result<()> {
        for _ in 0..MOST_LOCAL_LOOKS {
            if self.local_state_version().await? >= version {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let call = Call::get("/_cluster/state/version", "");
        Err(self
            .error(ErrorKind::Incomplete, &call)
            .with_reason("the node's cluster state stays behind the master's"))
    }

    async fn read_description(
        &self,
        index: &IndexName,
        segment: &str,
        state: IndexState,
    ) -> Result<IndexDescription> {
        #[derive(Deserialize)]
        struct WithAliases {
            #[serde(default)]
            aliases: Map<String, Value>,
        }
        let mapping = self.mapping(index).await?;
        let settings = self.settings(index).await?;
        let aliases: WithAliases = self
            .of_index(index, Call::get(format!("/{segment}/_alias"), ""))
            .await?;
        Ok(IndexDescription {
            state,
            mapping,
            settings,
            aliases: aliases.aliases,
        })
    }

    /// The mapping of one index as the engine prints it; `{}` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such index.
    pub async fn mapping(&self, index: &IndexName) -> Result<Box<RawValue>> {
        #[derive(Deserialize)]
        struct WithMapping {
            #[serde(default)]
            mappings: Option<Box<RawValue>>,
        }
        let path = format!("/{}/_mapping", self.segment(index)?);
        let answer: WithMapping = self.of_index(index, Call::get(path, "")).await?;
        Ok(answer
            .mappings
            .unwrap_or_else(|| RawValue::from_string("{}".to_owned()).unwrap_or_default()))
    }

    /// The settings of one index, flat.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such index.
    pub async fn settings(&self, index: &IndexName) -> Result<Settings> {
        #[derive(Deserialize)]
        struct WithSettings {
            #[serde(default)]
            settings: Settings,
        }
        let path = format!("/{}/_settings", self.segment(index)?);
        let answer: WithSettings = self
            .of_index(index, Call::get(path, "flat_settings=true"))
            .await?;
        Ok(answer.settings)
    }

    /// The most documents that an index gives in one answer: its own limit, but never more than the engines' default.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such index.
    pub async fn most_in_an_answer(&self, index: &IndexName) -> Result<usize> {
        Ok(most_in_an_answer(&self.settings(index).await?))
    }

    /// The part of an answer that is about the index of that very name.
    async fn of_index<T: serde::de::DeserializeOwned>(&self, index: &IndexName, call: Call) -> Result<T> {
        let mut answer: BTreeMap<String, T> = self.json(&call).await?;
        answer.remove(index.as_str()).ok_or_else(|| {
            self.error(ErrorKind::NotFound, &call)
                .with_reason(format!("no index [{index}]"))
        })
    }
}
