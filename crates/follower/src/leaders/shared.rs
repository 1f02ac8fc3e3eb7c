//! One question that many ask: whoever comes while it is being asked waits for that answer, and takes it if it is fresh
//! enough for him. A thousand sessions that open together cost one call.
//!
//! What makes an answer fresh is when it was begun, never when it came. A shard is never given the same answer twice:
//! it comes again because what it was told has failed it.

use std::collections::HashSet;
use std::time::Duration;

use slipstream_model::ShardKey;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old an answer may be for those who open a stream.
const FRESH: Duration = Duration::from_secs(1);

/// An answer that is asked for when it is needed. The one who asks does so in his own task: if he gives up, the next
/// one in line asks.
pub(super) struct Shared<T>(Mutex<Option<Answer<T>>>);

struct Answer<T> {
    begun: Instant,
    value: T,
    /// The shards that it was given to.
    given: HashSet<ShardKey>,
}

/// Who asks, and how fresh the answer must be for him: counted from when he came, however long he waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    /// `None` takes any.
    since: Option<Instant>,
    shard: Option<&'a ShardKey>,
}

impl<'a> Asker<'a> {
    /// Wants to know how it is now.
    pub(super) fn now() -> Self {
        Asker {
            since: Some(Instant::now()),
            shard: None,
        }
    }

    /// Does with an answer of this age.
    pub(super) fn within(age: Duration) -> Self {
        Asker {
            since: Instant::now().checked_sub(age),
            shard: None,
        }
    }

    /// Opens the stream of a shard.
    pub(super) fn shard(shard: &'a ShardKey) -> Self {
        Asker {
            shard: Some(shard),
            ..Asker::within(FRESH)
        }
    }

    /// Whether the answer will do. If so, it is given to the shard.
    fn takes<T>(self, answer: &mut Answer<T>) -> bool {
        self.since.is_none_or(|since| answer.begun >= since)
            && self.shard.is_none_or(|shard| answer.given.insert(shard.clone()))
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared(Mutex::default())
    }
}

impl<T: Clone> Shared<T> {
    /// The answer that there is if it will do, else a new one. Waits for at most two of them.
    pub(super) async fn get<F: Future<Output = T>>(&self, asker: Asker<'_>, ask: impl FnOnce() -> F) -> T {
        let mut last = self.0.lock().await;
        if let Some(answer) = last.as_mut()
            && asker.takes(answer)
        {
            return answer.value.clone();
        }
        let begun = Instant::now();
        let value = ask().await;
        *last = Some(Answer {
            begun,
            value: value.clone(),
            given: asker.shard.into_iter().cloned().collect(),
        });
        value
    }

    /// Whether it was asked within the last `age`, or is being asked.
    pub(super) fn in_use(&self, age: Duration) -> bool {
        self.0.try_lock().map_or(true, |last| {
            last.as_ref().is_some_and(|answer| answer.begun.elapsed() <= age)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use slipstream_model::ShardId;
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    fn shard(number: u32) -> ShardKey {
        ShardKey {
            index: "a".into(),
            shard: ShardId(number),
        }
    }

    /// A question that takes 100 ms, and is answered by how often it was asked.
    #[derive(Default)]
    struct Question {
        shared: Shared<u32>,
        asked: AtomicU32,
    }

    impl Question {
        async fn get(&self, asker: Asker<'_>) -> u32 {
            let ask = || async {
                sleep(Duration::from_millis(100)).await;
                self.asked.fetch_add(1, Ordering::SeqCst) + 1
            };
            self.shared.get(asker, ask).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_shards_that_open_together_ask_once() {
        let question = Question::default();
        let shards: Vec<ShardKey> = (0..1_000).map(shard).collect();
        let answers = join_all(shards.iter().map(|shard| question.get(Asker::shard(shard)))).await;
        assert_eq!(answers, vec![1; 1_000]);
        advance(FRESH).await;
        assert_eq!(question.get(Asker::within(FRESH * 2)).await, 1);
        assert_eq!(question.get(Asker::shard(&shard(2_000))).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_comes_again_is_told_something_new_and_so_are_those_that_come_with_it() {
        let question = Question::default();
        let (a, b) = (shard(0), shard(1));
        assert_eq!(question.get(Asker::shard(&a)).await, 1);
        assert_eq!(question.get(Asker::shard(&b)).await, 1);
        assert_eq!(question.get(Asker::shard(&b)).await, 2);
        assert_eq!(question.get(Asker::shard(&a)).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_to_know_how_it_is_now_shares_only_what_is_begun_after_he_came() {
        let question = Question::default();
        let answers = join_all([Asker::now(), Asker::now()].map(|asker| question.get(asker))).await;
        assert_eq!(answers, [1, 1]);
        advance(Duration::from_millis(1)).await;
        assert_eq!(question.get(Asker::now()).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_while_he_asks_leaves_the_question_to_the_next() {
        let question = Question::default();
        let hasty = timeout(Duration::from_millis(50), question.get(Asker::now()));
        let (hasty, patient) = tokio::join!(hasty, question.get(Asker::now()));
        assert!(hasty.is_err());
        assert_eq!(patient, 1);
    }
}
