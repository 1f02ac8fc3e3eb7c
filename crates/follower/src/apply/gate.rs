//! How many bulks the target gets at once, over all indices: fewer when it pushes back, slowly more when it does not.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Additive increase, multiplicative decrease over a semaphore.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Semaphore,
    limit: AtomicUsize,
    most: usize,
    /// Bulks since the limit last changed.
    calm: AtomicUsize,
}

/// After this many bulks without push-back one more is allowed at once.
const CALM: usize = 20;

impl Gate {
    pub(crate) fn new(most: usize) -> Self {
        Gate {
            permits: Semaphore::new(most),
            limit: AtomicUsize::new(most),
            most,
            calm: AtomicUsize::new(0),
        }
    }

    /// Waits for a place. Dropping the permit gives the place back.
    pub(crate) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.permits.acquire().await.ok()
    }

    /// The target turned something away.
    pub(crate) fn pushed_back(&self) {
        self.calm.store(0, Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let cut = limit / 2;
        if cut > 0 {
            let forgotten = self.permits.forget_permits(cut);
            self.limit.fetch_sub(forgotten, Ordering::Relaxed);
        }
    }

    /// A bulk went through.
    pub(crate) fn went_through(&self) {
        if self.calm.fetch_add(1, Ordering::Relaxed) + 1 < CALM {
            return;
        }
        self.calm.store(0, Ordering::Relaxed);
        let grow = |limit: usize| (limit < self.most).then_some(limit + 1);
        if self
            .limit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_ok()
        {
            self.permits.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn push_back_halves_and_calm_restores() {
        let gate = Gate::new(8);
        gate.pushed_back();
        assert_eq!(gate.permits.available_permits(), 4);
        for _ in 0..10 {
            gate.pushed_back();
        }
        assert_eq!(gate.permits.available_permits(), 1, "one bulk always goes");
        for _ in 0..CALM * 20 {
            gate.went_through();
        }
        assert_eq!(gate.permits.available_permits(), 8);
    }
}
