//! The link, the folder and the target, shared by all indices that begin with files: how many parts of files are on their way at once, how
//! fast, how much room they are promised, and how many indices are restored at once.
//!
//! Fair between indices, whatever their sizes: a file comes in parts, each part waits for its turn, and of each index one asks at
//! a time. So a small index waits for a part of a large one and never for the whole. The parts are small under a cap, so
//! that another cap counts within a second, and are asked for only when they may come: the cap is one of the link, not of what is
//! read from a connection's buffers.

use std::sync::Arc;
use std::time::Duration;

use super::room::{Claim, Room};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

/// Parts on their way at once, over all indices. The leader agent has some chunks of each in memory, and so has the connection.
const PARTS: usize = 12;
/// The largest part.
const PART_BYTES: u64 = 8 << 20;
/// The smallest, unless a file ends sooner.
const LEAST_BYTES: u64 = 64 << 10;
/// Under a cap, a part is as much as may come in this time.
const BEAT: Duration = Duration::from_millis(250);
/// Indices that the target restores at once.
const RESTORES: usize = 4;

/// What all indices share. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Transfers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Arc<Semaphore>,
    restores: Arc<Semaphore>,
    /// Bytes a second; 0 for no limit.
    cap: watch::Sender<u64>,
    /// When the next part may be asked for.
    free_at: Mutex<Instant>,
    room: Room,
}

/// An index's share of them.
#[derive(Debug)]
pub(super) struct Share {
    transfers: Transfers,
    /// One part of the index asks at a time.
    asking: Mutex<()>,
    /// Its part of the folder.
    pub(super) room: Claim,
}

/// The leave to fetch so many bytes.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) bytes: u64,
    /// Given back when the part has come.
    _part: Option<OwnedSemaphorePermit>,
}

impl Transfers {
    /// At most so many bytes a second; 0 for no limit.
    pub(crate) fn new(cap: u64) -> Self {
        Transfers(Arc::new(Inner {
            parts: Arc::new(Semaphore::new(PARTS)),
            restores: Arc::new(Semaphore::new(RESTORES)),
            cap: watch::Sender::new(cap),
            free_at: Mutex::new(Instant::now()),
            room: Room::default(),
        }))
    }

    /// Another cap, for what runs too.
    pub(crate) fn set_cap(&self, cap: u64) {
        self.0
            .cap
            .send_if_modified(|now| std::mem::replace(now, cap) != cap);
    }

    /// A share for one index.
    pub(super) fn share(&self) -> Share {
        Share {
            transfers: self.clone(),
            asking: Mutex::default(),
            room: self.0.room.claim(),
        }
    }

    /// Waits until the target may restore one more index; it may until the answer is dropped.
    pub(super) async fn restore(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0.restores).acquire_owned().await.ok()
    }

    /// Waits until some of `wanted` bytes may come; how many.
    async fn leave(&self, wanted: u64) -> u64 {
        let mut free_at = self.0.free_at.lock().await;
        let mut cap = self.0.cap.subscribe();
        loop {
            let rate = *cap.borrow_and_update();
            let now = Instant::now();
            if rate == 0 {
                *free_at = now;
                return wanted.min(PART_BYTES);
            }
            tokio::select! {
                () = sleep_until(*free_at) => {
                    let beat = (rate as f64 * BEAT.as_secs_f64()) as u64;
                    let bytes = wanted.min(beat.clamp(LEAST_BYTES, PART_BYTES));
                    let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
                    *free_at = (*free_at).max(now) + takes;
                    return bytes;
                }
                // What was promised under the one before counts no more. The sender lives as long as `self`.
                _ = cap.changed() => *free_at = (*free_at).min(Instant::now() + BEAT),
            }
        }
    }
}

impl Share {
    /// Waits for this index's turn to fetch some of `wanted` bytes.
    pub(super) async fn turn(&self, wanted: u64) -> Turn {
        let _asking = self.asking.lock().await;
        let part = Arc::clone(&self.transfers.0.parts).acquire_owned().await;
        Turn {
            bytes: self.transfers.leave(wanted).await,
            _part: part.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Takes turns for a time; how many bytes came.
    async fn fetch(share: &Share, time: Duration) -> u64 {
        let (until, mut bytes) = (Instant::now() + time, 0);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return bytes,
                turn = share.turn(100 * MIB) => bytes += turn.bytes,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_cap_holds_and_another_one_counts_within_a_second() {
        let transfers = Transfers::new(10 * MIB);
        let share = transfers.share();
        let bytes = fetch(&share, Duration::from_secs(10)).await;
        assert!((95 * MIB..=103 * MIB).contains(&bytes), "{bytes}");
        transfers.set_cap(MIB / 10);
        fetch(&share, Duration::from_secs(1)).await;
        let bytes = fetch(&share, Duration::from_secs(10)).await;
        assert!((MIB * 8 / 10..=MIB * 12 / 10).contains(&bytes), "{bytes}");
        // In the middle of a long wait.
        let waiting = fetch(&share, Duration::from_secs(2));
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        transfers.set_cap(100 * MIB);
        let bytes = waiting.await;
        assert!(bytes > 150 * MIB, "{bytes}");
        transfers.set_cap(0);
        assert_eq!(share.turn(100 * MIB).await.bytes, PART_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn each_index_gets_the_same_however_many_files_it_has() {
        let transfers = Transfers::new(10 * MIB);
        let (large, small) = (transfers.share(), transfers.share());
        let time = Duration::from_secs(10);
        let ((a, b, c), small) = tokio::join!(
            async { tokio::join!(fetch(&large, time), fetch(&large, time), fetch(&large, time)) },
            fetch(&small, time)
        );
        let large = a + b + c;
        assert!(small.abs_diff(large) < 10 * MIB, "{small} and {large}");
    }
}
