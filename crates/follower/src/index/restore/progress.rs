//! How far a restore has come, for status.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::control::FilesStatus;
use crate::lock;

/// A step of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The leader takes a snapshot.
    Snapshot,
    /// Its files are on their way: this many bytes.
    Transfer(u64),
    /// The target restores them.
    Restore,
    /// The agent learns what documents they hold.
    Map,
    /// Changes follow.
    Done,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Stage::Snapshot => "snapshot",
            Stage::Transfer(_) => "transfer",
            Stage::Restore => "restore",
            Stage::Map => "map",
            Stage::Done => "done",
        }
    }
}

/// What is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    /// And since when.
    stage: Mutex<(Stage, Instant)>,
    total: AtomicU64,
    received: AtomicU64,
    restored: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            stage: Mutex::new((Stage::Snapshot, Instant::now())),
            total: AtomicU64::new(0),
            received: AtomicU64::new(0),
            restored: AtomicU64::new(0),
        }
    }
}

impl Progress {
    pub(super) fn enter(&self, stage: Stage) {
        match stage {
            Stage::Snapshot => {
                for counter in [&self.total, &self.received, &self.restored] {
                    counter.store(0, Ordering::Relaxed);
                }
            }
            Stage::Transfer(total) => self.total.store(total, Ordering::Relaxed),
            Stage::Restore | Stage::Map | Stage::Done => {}
        }
        let now = Instant::now();
        let (before, since) = std::mem::replace(&mut *lock(&self.stage), (stage, now));
        tracing::debug!(stage = before.as_str(), took = ?now - since, next = stage.as_str(), "a step of a restore is done");
    }

    pub(super) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn restored(&self, bytes: u64) {
        self.restored.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> FilesStatus {
        FilesStatus {
            stage: lock(&self.stage).0.as_str(),
            bytes_total: self.total.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
            bytes_restored: self.restored.load(Ordering::Relaxed),
        }
    }
}
