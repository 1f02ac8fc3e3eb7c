//! Copies of shards as `_stats?level=shards` tells them: what is asked of the primaries ([`crate::stats`]) and of all copies
//! ([`crate::copies`]) is read from the same answer. What a request's filter leaves out is absent.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct StatsAnswer {
    #[serde(default)]
    pub(crate) indices: BTreeMap<String, IndexAnswer>,
}

#[derive(Deserialize)]
pub(crate) struct IndexAnswer {
    pub(crate) uuid: String,
    #[serde(default)]
    pub(crate) shards: BTreeMap<u32, Vec<CopyAnswer>>,
}

#[derive(Deserialize)]
pub(crate) struct CopyAnswer {
    pub(crate) routing: RoutingAnswer,
    pub(crate) seq_no: Option<SeqNoAnswer>,
    pub(crate) commit: Option<CommitAnswer>,
    #[serde(default)]
    pub(crate) refresh: RefreshAnswer,
    pub(crate) shard_path: Option<PathAnswer>,
}

impl CopyAnswer {
    /// Whether it is started, or is being relocated and still in charge.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.routing.state.as_str(), "STARTED" | "RELOCATING")
    }
}

#[derive(Deserialize)]
pub(crate) struct RoutingAnswer {
    state: String,
    pub(crate) primary: bool,
    pub(crate) node: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct SeqNoAnswer {
    pub(crate) max_seq_no: i64,
    pub(crate) local_checkpoint: i64,
    pub(crate) global_checkpoint: i64,
}

#[derive(Deserialize)]
pub(crate) struct CommitAnswer {
    pub(crate) user_data: UserDataAnswer,
}

#[derive(Deserialize)]
pub(crate) struct UserDataAnswer {
    pub(crate) history_uuid: String,
    #[serde(default)]
    pub(crate) translog_uuid: String,
}

#[derive(Deserialize, Default)]
pub(crate) struct RefreshAnswer {
    #[serde(default)]
    pub(crate) total: u64,
    pub(crate) external_total: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct PathAnswer {
    #[serde(default)]
    pub(crate) data_path: String,
}
