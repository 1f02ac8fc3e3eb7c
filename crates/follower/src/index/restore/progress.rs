//! How far a restore has come and how fast it goes, for status.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::control::FilesStatus;
use crate::lock;

/// A step of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The leader takes a snapshot; what there is of it is on its way.
    Snapshot,
    /// All of it is there, and the rest is on its way: so many bytes in so many files.
    Transfer(u64, u64),
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
            Stage::Transfer(..) => "transfer",
            Stage::Restore => "restore",
            Stage::Map => "map",
            Stage::Done => "done",
        }
    }
}

/// A rate is that of about so long.
const WINDOW: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    stage: Stage,
    since: Instant,
    total: u64,
    files: u64,
    /// What is here of it, however it came.
    received: u64,
    received_files: u64,
    restored: u64,
    /// What came from the leader agent, all attempts together.
    fetched: u64,
    pace: Pace,
    waiting_for: Option<String>,
}

/// Bytes a second, smoothed.
#[derive(Debug)]
struct Pace {
    since: Instant,
    bytes: u64,
    per_second: Option<f64>,
}

impl Pace {
    fn new() -> Self {
        Pace {
            since: Instant::now(),
            bytes: 0,
            per_second: None,
        }
    }

    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed >= WINDOW {
            let now = self.bytes as f64 / elapsed.as_secs_f64();
            // A long time without anything counts for more than a short one.
            let weight = 0.5_f64.powf(elapsed.as_secs_f64() / WINDOW.as_secs_f64());
            self.per_second = Some(
                self.per_second
                    .map_or(now, |before| before * weight + now * (1.0 - weight)),
            );
            (self.since, self.bytes) = (Instant::now(), 0);
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress(Mutex::new(Inner {
            stage: Stage::Snapshot,
            since: Instant::now(),
            total: 0,
            files: 0,
            received: 0,
            received_files: 0,
            restored: 0,
            fetched: 0,
            pace: Pace::new(),
            waiting_for: None,
        }))
    }
}

impl Progress {
    pub(super) fn enter(&self, stage: Stage) {
        let mut inner = lock(&self.0);
        match stage {
            Stage::Snapshot => {
                (inner.total, inner.files) = (0, 0);
                (inner.received, inner.received_files, inner.restored) = (0, 0, 0);
                inner.pace = Pace::new();
            }
            // The same pace as before: it is the same link.
            Stage::Transfer(total, files) => (inner.total, inner.files) = (total, files),
            Stage::Restore | Stage::Map | Stage::Done => inner.pace = Pace::new(),
        }
        let now = Instant::now();
        let took = now - std::mem::replace(&mut inner.since, now);
        let before = std::mem::replace(&mut inner.stage, stage);
        tracing::debug!(
            stage = before.as_str(),
            ?took,
            next = stage.as_str(),
            "a step of a restore is done"
        );
    }

    /// So much is here, from before too.
    pub(super) fn at(&self, received: u64, files: u64) {
        let mut inner = lock(&self.0);
        (inner.received, inner.received_files) = (received, files);
    }

    pub(super) fn received(&self, bytes: u64) {
        let mut inner = lock(&self.0);
        inner.received += bytes;
        inner.fetched += bytes;
        inner.pace.add(bytes);
    }

    /// Of what had been received, so much was of no use.
    pub(super) fn lost(&self, bytes: u64) {
        let mut inner = lock(&self.0);
        inner.received = inner.received.saturating_sub(bytes);
    }

    pub(super) fn files(&self, received: u64) {
        lock(&self.0).received_files = received;
    }

    pub(super) fn restored(&self, bytes: u64) {
        let mut inner = lock(&self.0);
        let more = bytes.saturating_sub(inner.restored);
        inner.restored = bytes;
        inner.pace.add(more);
    }

    /// Bytes that came over the link since the beginning.
    pub(super) fn fetched(&self) -> u64 {
        lock(&self.0).fetched
    }

    /// What keeps it from moving.
    pub(in crate::index) fn wait_for(&self, what: Option<String>) {
        lock(&self.0).waiting_for = what;
    }

    pub(crate) fn waiting_for(&self) -> Option<String> {
        lock(&self.0).waiting_for.clone()
    }

    pub(crate) fn status(&self) -> FilesStatus {
        let mut inner = lock(&self.0);
        inner.pace.add(0);
        let left = match inner.stage {
            Stage::Transfer(..) => Some(inner.total.saturating_sub(inner.received)),
            Stage::Restore => Some(inner.total.saturating_sub(inner.restored)),
            Stage::Snapshot | Stage::Map | Stage::Done => None,
        };
        let pace = inner.pace.per_second;
        FilesStatus {
            stage: inner.stage.as_str(),
            bytes_total: inner.total,
            bytes_received: inner.received,
            bytes_fetched: inner.fetched,
            bytes_restored: inner.restored,
            files_total: inner.files,
            files_received: inner.received_files,
            bytes_per_second: pace.map(|pace| pace as u64),
            seconds_left: match (left, pace) {
                (Some(left), Some(pace)) if pace >= 1.0 => Some((left as f64 / pace).ceil() as u64),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn pace_and_time_left_come_from_what_came_lately() {
        let progress = Progress::default();
        progress.enter(Stage::Snapshot);
        assert_eq!(progress.status().bytes_per_second, None, "nothing is known yet");
        // Of what an earlier life left nothing has to come again, and it says nothing about the link.
        progress.at(30 * MIB, 3);
        progress.enter(Stage::Transfer(100 * MIB, 10));
        for _ in 0..40 {
            tokio::time::advance(Duration::from_millis(250)).await;
            progress.received(MIB);
        }
        let status = progress.status();
        assert_eq!(
            (status.bytes_received, status.bytes_fetched),
            (70 * MIB, 40 * MIB)
        );
        assert_eq!(
            (status.bytes_per_second, status.seconds_left),
            (Some(4 * MIB), Some(8))
        );
        progress.wait_for(Some("the link".to_owned()));
        tokio::time::advance(Duration::from_secs(20)).await;
        let status = progress.status();
        assert!(
            status.bytes_per_second < Some(100),
            "a link that is cut has no pace"
        );
        assert!(status.seconds_left.is_none_or(|left| left > 1_000));
        progress.lost(10 * MIB);
        assert_eq!(progress.status().bytes_received, 60 * MIB);
    }
}
