//! When tails ask for what a seal needs: all tails of an agent together once in a while, however many shards have operations.
//!
//! A seal follows a question to the node that was begun after its operations were seen. One question is good for every shard
//! that saw its operations before it, so what it costs the leader does not grow with the number of shards. A lone operation is
//! sealed at once; where operations flow, the checkpoints follow in steps.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// Between two questions. Each is a request that the leader's JVM answers, and has every shard that flows look, seal and tell; the follower
/// stores its places once a second, so to seal much more often gains nothing.
const EVERY: Duration = Duration::from_millis(500);
/// The shortest wait: what is due by then is due.
const LEAST: Duration = Duration::from_millis(1);

/// When a question was last begun for a seal.
#[derive(Debug, Default)]
pub(super) struct Sealing(Mutex<Option<Instant>>);

impl Sealing {
    /// Whether one who saw operations at `seen` may ask now: with those who are asking, or because it is time.
    pub(super) fn may_ask(&self, seen: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match *last {
            Some(begun) if begun >= seen => true,
            Some(begun) if now.duration_since(begun) < EVERY => false,
            _ => {
                *last = Some(now);
                true
            }
        }
    }

    /// How long it takes until it is time.
    pub(super) fn wait(&self) -> Duration {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(LEAST, |begun| EVERY.saturating_sub(begun.elapsed()).max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lone_operation_is_sealed_at_once_and_a_thousand_shards_with_one_question() {
        let sealing = Sealing::default();
        assert!(sealing.may_ask(Instant::now()));
        let mut shards = Vec::new();
        for _ in 0..1_000 {
            advance(EVERY / 2_000).await;
            shards.push(Instant::now());
            assert!(!sealing.may_ask(Instant::now()), "somebody asked a moment ago");
        }
        advance(sealing.wait()).await;
        assert!(sealing.may_ask(shards[0]));
        advance(LEAST).await;
        assert!(
            shards.iter().all(|seen| sealing.may_ask(*seen)),
            "one question is good for all"
        );
        assert!(!sealing.may_ask(Instant::now()));
        assert_eq!(sealing.wait() + LEAST, EVERY);
    }
}
