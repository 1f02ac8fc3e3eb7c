//! What many shards have to be done, in one go while there is much of it.
//!
//! Some work costs a lot each time and little for each operation in it: a request to the target, above all. With a
//! hundred indices that are written to a little, nearly every operation comes alone. A parcel goes at once as long as a
//! place is free, most often alone. Else it waits for a place, and whoever gets one carries all that waits: the busier it is, the more
//! goes at once, and nothing waits for company that may not come.
//!
//! - No task stands behind it: one of those that wait carries for all. What belongs to somebody who is gone is not carried any more.
//! - It takes as long as the slowest of what goes together. Who has waited for a place for too long goes alone, and whoever comes then does so
//!   without waiting, until a place is free again: what hangs holds up only what is under way together with it.
//! - What became of it as a whole is what became of each parcel in it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::sleep;

use crate::lock;

/// How much goes together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How often at once. What more could be done at once would be less full, and each would slow the other.
    pub(crate) places: usize,
    /// How much at once, by the parcels' weights.
    pub(crate) most: usize,
    /// How long a place is waited for.
    pub(crate) patience: Duration,
}

/// Why there is no answer for a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure<E> {
    /// All of what it went with failed so.
    Of(E),
    /// Who carried it was stopped in the middle: it may be done, or still be under way.
    Dropped,
}

type Fate<A, E> = Result<A, Failure<E>>;

/// Parcels `P` that wait, each for its `A` of the answer or for the `E` of all.
#[derive(Debug)]
pub(crate) struct Together<P, A, E> {
    limits: Limits,
    places: Semaphore,
    /// Somebody has waited for a place in vain, and none has become free since.
    hangs: AtomicBool,
    waiting: Mutex<Waiting<P, A, E>>,
}

#[derive(Debug)]
struct Waiting<P, A, E> {
    /// The number of the next parcel.
    next: u64,
    parcels: VecDeque<Parcel<P, A, E>>,
}

#[derive(Debug)]
struct Parcel<P, A, E> {
    number: u64,
    goods: P,
    weight: usize,
    fate: oneshot::Sender<Fate<A, E>>,
}

/// A parcel's place among those that wait, which it leaves with whoever waits for it.
struct Spot<'a, P, A, E> {
    together: &'a Together<P, A, E>,
    number: u64,
}

impl<P, A, E> Spot<'_, P, A, E> {
    /// Takes the parcel out, unless it is under way.
    fn leave(&self) -> Option<P> {
        let mut waiting = lock(&self.together.waiting);
        let at = waiting.parcels.iter().position(|p| p.number == self.number)?;
        waiting.parcels.remove(at).map(|parcel| parcel.goods)
    }
}

impl<P, A, E> Drop for Spot<'_, P, A, E> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<P, A, E: Clone> Together<P, A, E> {
    pub(crate) fn new(limits: Limits) -> Self {
        Together {
            limits,
            places: Semaphore::new(limits.places),
            hangs: AtomicBool::new(false),
            waiting: Mutex::new(Waiting {
                next: 0,
                parcels: VecDeque::new(),
            }),
        }
    }

    /// Has a parcel done by `carry`, which gives an answer for each of those that it is given, in order, or by that of somebody
    /// else. `None`: it was not, and should go alone.
    pub(crate) async fn send(
        &self,
        goods: P,
        weight: usize,
        carry: impl AsyncFnOnce(Vec<P>) -> Result<Vec<A>, E>,
    ) -> Option<Fate<A, E>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(self.carry(goods, weight, place, carry).await);
        }
        if self.hangs.load(Ordering::Relaxed) {
            return None;
        }
        let (fate, mut told) = oneshot::channel();
        let spot = self.queue(goods, weight, fate);
        tokio::select! {
            biased;
            told = &mut told => return Some(told.unwrap_or(Err(Failure::Dropped))),
            place = self.places.acquire() => {
                if let (Ok(place), Some(goods)) = (place, spot.leave()) {
                    return Some(self.carry(goods, weight, place, carry).await);
                }
            }
            () = sleep(self.limits.patience) => {
                if spot.leave().is_some() {
                    self.hangs.store(true, Ordering::Relaxed);
                    return None;
                }
            }
        }
        // Somebody took it along just before.
        Some(told.await.unwrap_or(Err(Failure::Dropped)))
    }

    fn queue(&self, goods: P, weight: usize, fate: oneshot::Sender<Fate<A, E>>) -> Spot<'_, P, A, E> {
        let mut waiting = lock(&self.waiting);
        let number = waiting.next;
        waiting.next += 1;
        waiting.parcels.push_back(Parcel {
            number,
            goods,
            weight,
            fate,
        });
        Spot {
            together: self,
            number,
        }
    }

    /// Carries a parcel with those that wait.
    async fn carry(
        &self,
        goods: P,
        weight: usize,
        place: SemaphorePermit<'_>,
        carry: impl AsyncFnOnce(Vec<P>) -> Result<Vec<A>, E>,
    ) -> Fate<A, E> {
        let (mut goods, mut fates) = (vec![goods], Vec::new());
        self.load(self.limits.most.saturating_sub(weight), &mut goods, &mut fates);
        let answer = carry(goods).await;
        drop(place);
        self.hangs.store(false, Ordering::Relaxed);
        match answer {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let own = answers.next();
                for (fate, answer) in fates.into_iter().zip(answers) {
                    // Who does not wait any more need not know.
                    let _ = fate.send(Ok(answer));
                }
                own.ok_or(Failure::Dropped)
            }
            Err(error) => {
                for fate in fates {
                    let _ = fate.send(Err(Failure::Of(error.clone())));
                }
                Err(Failure::Of(error))
            }
        }
    }

    /// Takes what waits, the oldest first, as long as it fits.
    fn load(&self, mut room: usize, goods: &mut Vec<P>, fates: &mut Vec<oneshot::Sender<Fate<A, E>>>) {
        let mut waiting = lock(&self.waiting);
        while let Some(first) = waiting.parcels.front()
            && first.weight <= room
            && let Some(parcel) = waiting.parcels.pop_front()
        {
            room -= parcel.weight;
            goods.push(parcel.goods);
            fates.push(parcel.fate);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use futures::future::join_all;
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    const PLACES: usize = 2;
    const LIMITS: Limits = Limits {
        places: PLACES,
        most: 100,
        patience: Duration::from_millis(200),
    };

    /// A target that keeps every request until it is let go, and answers each parcel with ten times its number.
    #[derive(Default)]
    struct Target {
        requests: Mutex<Vec<Vec<u32>>>,
        answers: Notify,
    }

    impl Target {
        async fn take(&self, parcels: Vec<u32>) -> Result<Vec<u32>, &'static str> {
            lock(&self.requests).push(parcels.clone());
            self.answers.notified().await;
            Ok(parcels.iter().map(|parcel| parcel * 10).collect())
        }

        fn seen(&self) -> Vec<Vec<u32>> {
            lock(&self.requests).clone()
        }
    }

    type Sent = tokio::task::JoinHandle<Option<Fate<u32, &'static str>>>;

    struct Ground {
        together: Arc<Together<u32, u32, &'static str>>,
        target: Arc<Target>,
    }

    impl Ground {
        /// All places are taken, by requests with these parcels.
        async fn with_places_taken() -> (Ground, Vec<Sent>) {
            let ground = Ground {
                together: Arc::new(Together::new(LIMITS)),
                target: Arc::default(),
            };
            let mut sent = Vec::new();
            for number in 0..PLACES as u32 {
                sent.push(ground.send(number, 1).await);
            }
            assert_eq!(ground.target.seen().len(), PLACES, "each went at once");
            (ground, sent)
        }

        async fn send(&self, parcel: u32, weight: usize) -> Sent {
            let (together, target) = (Arc::clone(&self.together), Arc::clone(&self.target));
            let sent = tokio::spawn(async move {
                together
                    .send(parcel, weight, async |parcels| target.take(parcels).await)
                    .await
            });
            tokio::task::yield_now().await;
            sent
        }
    }

    fn answered(fate: Option<Fate<u32, &'static str>>) -> u32 {
        fate.expect("sent").expect("answered")
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_place_goes_in_one_request_and_each_gets_its_own_answer() {
        let (ground, mut first) = Ground::with_places_taken().await;
        let mut waiting = Vec::new();
        for number in 10..15 {
            waiting.push(ground.send(number, 1).await);
        }
        assert_eq!(ground.target.seen().len(), PLACES, "there is no place for them");
        ground.target.answers.notify_one();
        assert_eq!(answered(first.remove(0).await.unwrap()), 0);
        while ground.target.seen().len() == PLACES {
            tokio::task::yield_now().await;
        }
        assert_eq!(ground.target.seen()[PLACES], [10, 11, 12, 13, 14]);
        for _ in 0..PLACES {
            ground.target.answers.notify_one();
            tokio::task::yield_now().await;
        }
        let fates = join_all(waiting).await.into_iter().map(Result::unwrap);
        assert_eq!(fates.map(answered).collect::<Vec<_>>(), [100, 110, 120, 130, 140]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_holds_no_more_than_it_may() {
        let (ground, first) = Ground::with_places_taken().await;
        let mut waiting = Vec::new();
        for number in 10..13 {
            waiting.push(ground.send(number, LIMITS.most / 2).await);
        }
        for _ in 0..PLACES + 2 {
            ground.target.answers.notify_one();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        for sent in first.into_iter().chain(waiting) {
            answered(sent.await.unwrap());
        }
        assert_eq!(ground.target.seen()[PLACES..], [vec![10, 11], vec![12]]);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_requests_that_hang_nobody_waits_for_long() {
        let (ground, mut hang) = Ground::with_places_taken().await;
        let begun = Instant::now();
        assert!(
            ground.send(10, 1).await.await.unwrap().is_none(),
            "to be sent alone"
        );
        assert_eq!(begun.elapsed(), LIMITS.patience);
        assert!(lock(&ground.together.waiting).parcels.is_empty());
        assert!(ground.send(11, 1).await.await.unwrap().is_none());
        assert_eq!(
            begun.elapsed(),
            LIMITS.patience,
            "the next one does not wait at all"
        );
        ground.target.answers.notify_one();
        answered(hang.remove(0).await.unwrap());
        ground.send(12, 1).await;
        assert_eq!(
            ground.target.seen().last(),
            Some(&vec![12]),
            "there is a place again"
        );
        let waits = ground.send(13, 1).await;
        ground.target.answers.notify_one();
        ground.target.answers.notify_one();
        while ground.target.seen().last() != Some(&vec![13]) {
            tokio::task::yield_now().await;
        }
        ground.target.answers.notify_one();
        assert_eq!(answered(waits.await.unwrap()), 130);
    }

    #[tokio::test(start_paused = true)]
    async fn what_belongs_to_a_lane_that_is_gone_is_not_sent() {
        let (ground, _under_way) = Ground::with_places_taken().await;
        let (gone, stays) = (ground.send(10, 1).await, ground.send(11, 1).await);
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        for _ in 0..=PLACES {
            ground.target.answers.notify_one();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(answered(stays.await.unwrap()), 110);
        assert_eq!(ground.target.seen()[PLACES..], [vec![11]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_carries_who_is_stopped_is_of_unknown_outcome() {
        let (ground, mut first) = Ground::with_places_taken().await;
        let (carrier, carried) = (ground.send(10, 1).await, ground.send(11, 1).await);
        ground.target.answers.notify_one();
        first.remove(0).await.unwrap();
        while ground.target.seen().len() == PLACES {
            tokio::task::yield_now().await;
        }
        carrier.abort();
        assert_eq!(carried.await.unwrap(), Some(Err(Failure::Dropped)));
        assert!(
            ground.send(12, 1).await.now_or_never().is_none(),
            "its place was given back"
        );
        assert_eq!(ground.target.seen().last(), Some(&vec![12]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_became_of_a_request_became_of_all_in_it() {
        let together = Arc::new(Together::<u32, u32, &str>::new(LIMITS));
        let gate = Arc::new(Notify::new());
        let send = |parcel: u32| {
            let (together, gate) = (Arc::clone(&together), Arc::clone(&gate));
            tokio::spawn(async move {
                let refused = async |_: Vec<u32>| {
                    gate.notified().await;
                    Err("busy")
                };
                together.send(parcel, 1, refused).await
            })
        };
        let all: Vec<_> = (0..PLACES as u32 + 3).map(send).collect();
        for _ in 0..=PLACES {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            gate.notify_one();
        }
        for sent in all {
            assert_eq!(sent.await.unwrap(), Some(Err(Failure::Of("busy"))));
        }
    }
}
