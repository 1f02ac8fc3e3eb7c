//! Knobs by which tests make the sandbox misbehave the way real clusters do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A kind of request, as far as faults tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Every request.
    All,
    /// `_bulk`.
    Bulk,
    /// `_search` and `_count`.
    Search,
}

/// Faults of one sandbox; clones are handles to the same ones. Everything is off at first.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    reject_bulks: AtomicU32,
    reject_items: AtomicU32,
    unavailable: AtomicU32,
    lose_answers: AtomicU32,
    delays: Mutex<Vec<Delay>>,
}

#[derive(Debug, Clone, Copy)]
struct Delay {
    endpoint: Endpoint,
    before: Duration,
    after: Duration,
}

fn take(counter: &AtomicU32) -> bool {
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
        .is_ok()
}

impl Faults {
    /// The next `count` bulks are answered 429 `es_rejected_execution_exception` and do nothing.
    pub fn reject_bulks(&self, count: u32) {
        self.inner.reject_bulks.store(count, Ordering::Release);
    }

    /// The next `count` items of bulks are answered 429 and do nothing; the bulks themselves answer 200.
    pub fn reject_items(&self, count: u32) {
        self.inner.reject_items.store(count, Ordering::Release);
    }

    /// The next `count` requests of any kind are answered 503 and do nothing.
    pub fn unavailable(&self, count: u32) {
        self.inner.unavailable.store(count, Ordering::Release);
    }

    /// The next `count` bulks are done, and then their connection is closed without an answer.
    pub fn lose_answers(&self, count: u32) {
        self.inner.lose_answers.store(count, Ordering::Release);
    }

    /// Each request of this kind waits `before` it is done and `after` it was done, until [`Faults::clear`]. A client
    /// that gives up does not stop it: it goes on and shows in `_tasks`, as in the engines.
    pub fn delay(&self, endpoint: Endpoint, before: Duration, after: Duration) {
        self.delays().push(Delay {
            endpoint,
            before,
            after,
        });
    }

    /// Ends every fault.
    pub fn clear(&self) {
        for counter in [
            &self.inner.reject_bulks,
            &self.inner.reject_items,
            &self.inner.unavailable,
            &self.inner.lose_answers,
        ] {
            counter.store(0, Ordering::Release);
        }
        self.delays().clear();
    }

    fn delays(&self) -> std::sync::MutexGuard<'_, Vec<Delay>> {
        self.inner.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reject_bulk(&self) -> bool {
        take(&self.inner.reject_bulks)
    }

    pub(crate) fn reject_item(&self) -> bool {
        take(&self.inner.reject_items)
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        take(&self.inner.unavailable)
    }

    pub(crate) fn lose_answer(&self) -> bool {
        take(&self.inner.lose_answers)
    }

    /// How long a request of this kind waits before and after it is done.
    pub(crate) fn waits(&self, endpoint: Endpoint) -> (Duration, Duration) {
        let delays = self.delays();
        let mine = delays
            .iter()
            .filter(|d| d.endpoint == Endpoint::All || d.endpoint == endpoint);
        mine.fold((Duration::ZERO, Duration::ZERO), |(before, after), d| {
            (before + d.before, after + d.after)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_faults_run_out() {
        let faults = Faults::default();
        faults.reject_bulks(2);
        assert_eq!(
            [faults.reject_bulk(), faults.reject_bulk(), faults.reject_bulk()],
            [true, true, false]
        );
    }

    #[test]
    fn delays_add_up_by_kind_until_cleared() {
        let faults = Faults::default();
        faults.delay(Endpoint::All, Duration::from_millis(1), Duration::ZERO);
        faults.delay(Endpoint::Bulk, Duration::from_millis(2), Duration::from_millis(3));
        assert_eq!(
            faults.waits(Endpoint::Bulk),
            (Duration::from_millis(3), Duration::from_millis(3))
        );
        assert_eq!(
            faults.waits(Endpoint::Search),
            (Duration::from_millis(1), Duration::ZERO)
        );
        faults.clear();
        assert_eq!(faults.waits(Endpoint::Bulk), (Duration::ZERO, Duration::ZERO));
    }
}
