//! The agent's memory budget for operations that are received and not yet applied (I8), handed out as credit.
//!
//! Each session has a small credit of its own, so that an idle or starved shard can always go on. A busy one borrows
//! more from the common budget in steps, and gives back what it does not keep busy when its batches are applied.
//!
//! What is listed of the target takes no credit, so only some shards may list at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// What every session may have on its way without asking.
const OWN: u64 = 256 * 1024;
/// One step of borrowing.
const STEP: u64 = 1024 * 1024;
/// Most that one session borrows: more would not make its lanes busier.
const MOST_STEPS: usize = 8;

/// Shards whose documents on the target are being listed, a few megabytes each.
const LISTINGS: usize = 4;

/// The common budget. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    steps: Arc<Semaphore>,
    listings: Arc<Semaphore>,
}

impl Budget {
    /// A budget of about this many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Budget {
            steps: Arc::new(Semaphore::new((bytes / STEP).max(1) as usize)),
            listings: Arc::new(Semaphore::new(LISTINGS)),
        }
    }

    /// Waits for a turn to list documents of the target; dropping the answer ends it.
    pub(crate) async fn listing(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.listings.acquire().await.ok()
    }

    /// The account of a new session.
    pub(crate) fn account(&self) -> Account {
        Account {
            budget: self.clone(),
            borrowed: Vec::new(),
            granted: 0,
            in_hand: 0,
        }
    }
}

/// One session's credit.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Budget,
    borrowed: Vec<OwnedSemaphorePermit>,
    /// Granted to the leader and not yet spent by it; below zero after a batch larger than the credit.
    granted: i64,
    /// Received and not yet applied.
    in_hand: u64,
}

impl Account {
    /// The credit to send first.
    pub(crate) fn open(&mut self) -> u64 {
        self.grant()
    }

    /// A batch came.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.granted -= bytes as i64;
        self.in_hand += bytes;
    }

    /// A batch is applied.
    pub(crate) fn applied(&mut self, bytes: u64) {
        self.in_hand = self.in_hand.saturating_sub(bytes);
    }

    /// Credit to grant now, 0 for none. A session that has used up most of its credit borrows; one that has nothing in
    /// hand lets go of what it has not granted.
    pub(crate) fn grant(&mut self) -> u64 {
        let hungry = self.granted < (self.limit() / 2) as i64 && self.in_hand > 0;
        if hungry && self.borrowed.len() < MOST_STEPS {
            if let Ok(step) = Arc::clone(&self.budget.steps).try_acquire_owned() {
                self.borrowed.push(step);
            }
        } else if self.in_hand == 0 {
            let outstanding = self.granted.max(0) as u64;
            let needed = outstanding.saturating_sub(OWN).div_ceil(STEP) as usize;
            self.borrowed.truncate(needed);
        }
        let room = self.limit() as i64 - self.in_hand as i64 - self.granted;
        // Small grants would only cost frames.
        if room > 0 && (room as u64 >= self.limit() / 8 || self.granted <= 0) {
            self.granted += room;
            room as u64
        } else {
            0
        }
    }

    fn limit(&self) -> u64 {
        OWN + self.borrowed.len() as u64 * STEP
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However batches come and go, what is granted or in hand stays within the account's own credit plus the
        /// common budget, but for the one batch that may overdraw.
        #[test]
        fn i8_credit_and_operations_in_hand_stay_within_the_budget(
            steps in prop::collection::vec((any::<bool>(), 1u64..700_000), 1..200), sessions in 1usize..4,
        ) {
            const TOTAL: u64 = 3 * STEP;
            let budget = Budget::new(TOTAL);
            let mut accounts: Vec<Account> = (0..sessions).map(|_| budget.account()).collect();
            let mut batches: Vec<std::collections::VecDeque<u64>> = vec![std::collections::VecDeque::new(); sessions];
            for account in &mut accounts {
                prop_assert_eq!(account.open(), OWN);
            }
            for (at, (receive, size)) in steps.into_iter().enumerate() {
                let (account, queue) = (&mut accounts[at % sessions], &mut batches[at % sessions]);
                if receive && account.granted > 0 {
                    account.received(size);
                    queue.push_back(size);
                } else if let Some(size) = queue.pop_front() {
                    account.applied(size);
                }
                account.grant();
                let bound: u64 = accounts.iter().map(|a| {
                    (a.granted.max(0) as u64 + a.in_hand).saturating_sub(700_000)
                }).sum();
                prop_assert!(bound <= TOTAL + OWN * sessions as u64);
            }
            // When all is applied there is credit again: nobody starves.
            for (account, queue) in accounts.iter_mut().zip(&mut batches) {
                while let Some(size) = queue.pop_front() {
                    account.applied(size);
                    account.grant();
                }
                account.grant();
                prop_assert!(account.granted > 0);
            }
        }
    }
}
