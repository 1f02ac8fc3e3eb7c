//! Word for quiet shards that the leader's metadata may have changed, so that a thousand of them sleep until it has.
//!
//! One of those that wait asks for all, once a second. Which one does not matter; when it stops waiting, the next in line
//! asks. So there is no task that somebody would have to own, and nothing is asked when nobody waits.

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

/// Between two questions.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// What those who wait share.
pub(crate) struct Stirring {
    /// Counts what happened; its value has no other meaning.
    happened: watch::Sender<u64>,
    /// The version that was told last; `None` before the first and after a failure, and then everybody has to look.
    version: Mutex<Option<u64>>,
}

/// One who may wait. What happens between two waits is not missed.
pub(crate) struct Stirred(watch::Receiver<u64>);

impl Default for Stirring {
    fn default() -> Self {
        Stirring {
            happened: watch::Sender::new(0),
            version: Mutex::default(),
        }
    }
}

impl Stirring {
    /// Somebody who has seen everything up to now.
    pub(crate) fn join(&self) -> Stirred {
        Stirred(self.happened.subscribe())
    }

    /// Waits until the version that `ask` tells (`None`: it could not be asked for) is another than the last time that anybody
    /// asked, and `who` has not been told yet. May be dropped at any moment.
    pub(crate) async fn stirred<F>(&self, who: &mut Stirred, ask: impl Fn() -> F)
    where
        F: Future<Output = Option<u64>>,
    {
        tokio::select! {
            // The sender lives as long as `self`.
            _ = who.0.changed() => return,
            () = self.ask(ask) => {}
        }
        who.0.mark_unchanged();
    }

    /// Waits for its turn to ask, and asks until there is something to tell.
    async fn ask<F>(&self, ask: impl Fn() -> F)
    where
        F: Future<Output = Option<u64>>,
    {
        let mut version = self.version.lock().await;
        loop {
            sleep(EVERY).await;
            let now = ask().await;
            if now.is_none() || now != *version {
                *version = now;
                self.happened.send_modify(|count| *count += 1);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::task::JoinSet;
    use tokio::time::{Instant, timeout};

    use super::*;

    /// A version, and how often it was asked for. 0 stands for a failure.
    #[derive(Default)]
    struct Leader {
        version: AtomicU64,
        asked: AtomicU64,
    }

    impl Leader {
        fn ask(&self) -> Ready<Option<u64>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            ready(Some(self.version.load(Ordering::SeqCst)).filter(|version| *version > 0))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_that_wait_ask_as_often_as_one_and_are_all_told() {
        let (stirring, leader) = (Arc::new(Stirring::default()), Arc::new(Leader::default()));
        leader.version.store(1, Ordering::SeqCst);
        let mut waiting = JoinSet::new();
        for _ in 0..1_000 {
            let (stirring, leader) = (Arc::clone(&stirring), Arc::clone(&leader));
            waiting.spawn(async move {
                let mut who = stirring.join();
                // Nobody knows yet what the version was before.
                stirring.stirred(&mut who, || leader.ask()).await;
                stirring.stirred(&mut who, || leader.ask()).await;
                Instant::now()
            });
        }
        sleep(Duration::from_secs(100)).await;
        assert!(leader.asked.load(Ordering::SeqCst) <= 101);
        leader.version.store(2, Ordering::SeqCst);
        let changed = Instant::now();
        while let Some(told) = waiting.join_next().await {
            assert!(told.unwrap() - changed <= EVERY);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_between_two_waits_is_told_and_only_once() {
        let (stirring, leader) = (Stirring::default(), Leader::default());
        leader.version.store(1, Ordering::SeqCst);
        let (mut one, mut other) = (stirring.join(), stirring.join());
        stirring.stirred(&mut one, || leader.ask()).await;
        leader.version.store(2, Ordering::SeqCst);
        stirring.stirred(&mut one, || leader.ask()).await;
        stirring.stirred(&mut other, || leader.ask()).await;
        let told_again = timeout(
            Duration::from_mins(1),
            stirring.stirred(&mut other, || leader.ask()),
        );
        assert!(told_again.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_be_asked_stirs_everybody_and_so_does_its_return() {
        let (stirring, leader) = (Stirring::default(), Leader::default());
        let mut who = stirring.join();
        for version in [0, 0, 1, 0, 1] {
            leader.version.store(version, Ordering::SeqCst);
            stirring.stirred(&mut who, || leader.ask()).await;
        }
        assert_eq!(leader.asked.load(Ordering::SeqCst), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_one_that_asks_leaves_the_next_asks() {
        let (stirring, leader) = (Stirring::default(), Leader::default());
        leader.version.store(1, Ordering::SeqCst);
        let (mut one, mut other) = (stirring.join(), stirring.join());
        stirring.stirred(&mut one, || leader.ask()).await;
        other.0.mark_unchanged();
        let leaving = timeout(
            Duration::from_millis(2_500),
            stirring.stirred(&mut one, || leader.ask()),
        );
        let waiting = async {
            sleep(Duration::from_millis(100)).await;
            stirring.stirred(&mut other, || leader.ask()).await;
            Instant::now()
        };
        let changing = async {
            sleep(Duration::from_secs(10)).await;
            leader.version.store(2, Ordering::SeqCst);
            Instant::now()
        };
        let (left, told, changed) = tokio::join!(leaving, waiting, changing);
        assert!(left.is_err());
        assert!(told - changed <= EVERY);
    }
}
