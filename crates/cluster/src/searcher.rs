//! Searching one copy of one shard: which copy, through which point in time, and when an answer may be trusted.
//!
//! Reading a window, counting and looking for what is gone only make sense together if they looked at the same copy, so
//! a [`Searcher`] pins one.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use slipstream_model::{IndexName, ShardId};

use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::identity::Engine;
use crate::path;

/// How long an unused point in time lives; each use begins it anew.
const KEEP_ALIVE: &str = "1m";

/// The engine's handle of a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PitId(pub String);

/// One copy of one shard, seen as of now or as of a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searcher {
    /// The index.
    pub index: IndexName,
    /// The shard.
    pub shard: ShardId,
    /// The id of the node whose copy is searched.
    pub node: String,
    /// The point in time, if one is open.
    pub pit: Option<PitId>,
}

impl Searcher {
    /// The copy on `node` as of now.
    pub fn new(index: IndexName, shard: ShardId, node: impl Into<String>) -> Self {
        Searcher {
            index,
            shard,
            node: node.into(),
            pit: None,
        }
    }

    fn preference(&self) -> String {
        path::encode(&format!("_shards:{}|_only_nodes:{}", self.shard, self.node))
    }
}

/// What every search answers about its completeness.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) timed_out: bool,
    #[serde(rename = "_shards")]
    pub(crate) shards: ShardCounts,
}

/// How many shards took part. A shard that is not there counts as none at all, which looks like an empty one.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct ShardCounts {
    pub(crate) total: u64,
    pub(crate) successful: u64,
    pub(crate) failed: u64,
}

impl Cluster {
    /// A search of the copy that `target` pins. The body is completed where it goes through a point in time.
    ///
    /// No `filter_path` is ever added here: filtering makes the engine print sources anew.
    pub(crate) async fn search_call(
        &self,
        target: &Searcher,
        mut body: Map<String, Value>,
        more: &str,
    ) -> Result<Call> {
        let pipelines = self.identity().await?.has_search_pipelines();
        let pipeline = if pipelines { "&search_pipeline=_none" } else { "" };
        let common = format!("allow_partial_search_results=false{pipeline}{more}");
        let (path, query) = if let Some(PitId(id)) = &target.pit {
            body.insert("pit".to_owned(), json!({ "id": id, "keep_alive": KEEP_ALIVE }));
            ("/_search".to_owned(), common)
        } else {
            let path = format!("/{}/_search", self.segment(&target.index)?);
            (path, format!("preference={}&{common}", target.preference()))
        };
        Ok(Call::post(path, query)
            .heavy()
            .body(self.to_json(&body)?, "application/json"))
    }

    /// Refuses an answer that is not the whole answer of exactly one shard.
    pub(crate) fn require_complete(&self, call: &Call, target: &Searcher, outcome: &Outcome) -> Result<()> {
        let Outcome { timed_out, shards } = outcome;
        let whole = ShardCounts {
            total: 1,
            successful: 1,
            failed: 0,
        };
        if *shards == whole && !timed_out {
            return Ok(());
        }
        let reason = format!(
            "the search of [{}][{}] on node {} is not complete: {} of {} shards answered, {} failed{}",
            target.index,
            target.shard,
            target.node,
            shards.successful,
            shards.total,
            shards.failed,
            if *timed_out { ", timed out" } else { "" },
        );
        Err(self.error(ErrorKind::Incomplete, call).with_reason(reason))
    }

    /// Pins what the copy holds now; `None` where the engine has no points in time. Lives for a minute after each use.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if the copy is not on that node any more.
    pub async fn open_pit(&self, searcher: &Searcher) -> Result<Option<Searcher>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(alias = "pit_id")]
            id: String,
        }
        let identity = self.identity().await?;
        if !identity.supports_pit() || self.lacks_pit() {
            return Ok(None);
        }
        let segment = self.segment(&searcher.index)?;
        let preference = searcher.preference();
        // Without a body: where Elasticsearch 7 has no points in time, this would index one as a document.
        let call = match identity.engine {
            Engine::Elasticsearch => Call::post(
                format!("/{segment}/_pit"),
                format!("keep_alive={KEEP_ALIVE}&preference={preference}"),
            ),
            Engine::OpenSearch => Call::post(
                format!("/{segment}/_search/point_in_time"),
                format!("keep_alive={KEEP_ALIVE}&preference={preference}&allow_partial_pit_creation=false"),
            ),
        };
        let answer = self.send(&call).await?;
        if (200..300).contains(&answer.status) {
            let Answer { id } = self.parse(&call, &answer.body)?;
            return Ok(Some(Searcher {
                pit: Some(PitId(id)),
                ..searcher.clone()
            }));
        }
        let error = self.refused(&call, &answer);
        let taken_for_a_document = answer.status == 400
            && identity.engine == Engine::Elasticsearch
            && error.engine_type() == Some("parse_exception");
        if error.kind == ErrorKind::Unsupported || taken_for_a_document {
            tracing::info!(url = self.url(), version = %identity.version, "this distribution has no points in time");
            self.set_lacks_pit();
            return Ok(None);
        }
        Err(error)
    }

    /// Lets go of a point in time. A failure is no matter: it expires by itself.
    pub async fn close_pit(&self, searcher: Searcher) {
        let Some(PitId(id)) = searcher.pit else { return };
        let Ok(identity) = self.identity().await else {
            return;
        };
        let (path, body) = match identity.engine {
            Engine::Elasticsearch => ("/_pit", json!({ "id": id })),
            Engine::OpenSearch => ("/_search/point_in_time", json!({ "pit_id": [id] })),
        };
        let call = Call::new(reqwest::Method::DELETE, path, "")
            .body(Bytes::from(body.to_string()), "application/json");
        if let Err(error) = self.ok(&call).await {
            tracing::debug!(%error, "a point in time was not closed and will expire");
        }
    }
}
