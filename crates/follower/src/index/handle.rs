//! The agent's end of an index task: its commands, and what can be seen of it without asking it.

use std::sync::{Arc, Mutex};

use slipstream_model::settings::Settings;
use slipstream_model::{Reason, ShardId};
use slipstream_store::Definition;
use tokio::sync::{mpsc, oneshot};

use super::metadata::MetadataSync;
use super::restore::Progress;
use crate::control::{ControlError, IndexStatus};
use crate::lock;
use crate::shard::Repair;
use crate::status::ShardCell;

/// What an operator asks of a running task; the answer comes when it is done.
pub(crate) enum Command {
    Pause(Reason, Reply),
    Resume(Reply),
    /// These overrides in place of those there are.
    Update(Settings, Reply),
    Stop(Reply),
}

pub(super) type Reply = oneshot::Sender<Result<(), ControlError>>;

/// The agent's end of a task.
#[derive(Clone)]
pub(crate) struct IndexHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(super) view: Arc<View>,
}

/// What can be seen of an index without asking its task.
pub(super) struct View {
    pub(super) definition: Mutex<Definition>,
    pub(super) live: Mutex<Live>,
}

#[derive(Default)]
pub(super) struct Live {
    pub(super) shards: Vec<Arc<ShardCell>>,
    pub(super) metadata: Option<Arc<MetadataSync>>,
    pub(super) waiting_for: Option<String>,
    /// While the leader's files are being copied and restored.
    pub(super) files: Option<Arc<Progress>>,
    /// Where repairs of the shards go, in their order.
    pub(super) repairs: Vec<mpsc::Sender<Repair>>,
}

impl IndexHandle {
    /// What it was asked to follow.
    pub(crate) fn definition(&self) -> Definition {
        lock(&self.view.definition).clone()
    }

    /// Where repairs of a shard go; `None` while it does not run.
    pub(crate) fn repairs(&self, shard: ShardId) -> Option<mpsc::Sender<Repair>> {
        let live = lock(&self.view.live);
        let sender = live.repairs.get(shard.0 as usize)?;
        (!sender.is_closed()).then(|| sender.clone())
    }

    /// Where the index stands.
    pub(crate) fn status(&self) -> IndexStatus {
        let definition = lock(&self.view.definition).clone();
        let live = lock(&self.view.live);
        let running = definition.phase.is_running();
        let blocked = live
            .shards
            .iter()
            .find_map(|shard| shard.waiting_for())
            .filter(|_| running);
        let copying = live.files.as_ref().and_then(|files| files.waiting_for());
        IndexStatus {
            follower_index: definition.follower_index,
            leader_alias: definition.leader_alias,
            leader_index: definition.leader_index,
            phase: definition.phase,
            reason: definition.reason,
            waiting_for: live.waiting_for.clone().or(blocked).or(copying),
            started_at_millis: definition.started_at_millis,
            begun_with: definition.begun_with,
            files: live.files.as_ref().map(|files| files.status()),
            shards: live.shards.iter().map(|shard| shard.snapshot()).collect(),
            warnings: live.metadata.as_ref().map(|m| m.warnings()).unwrap_or_default(),
        }
    }
}
