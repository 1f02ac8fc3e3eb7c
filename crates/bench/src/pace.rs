//! Writes at a given rate, at random moments: writes in step with a refresh every second would always meet it in the same
//! phase.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

/// Moments with exponentially distributed gaps.
pub(crate) struct Pace {
    random: ChaCha8Rng,
    mean: Duration,
    next: Instant,
    end: Instant,
}

impl Pace {
    /// From now on, for some time, at this many a second.
    pub(crate) fn new(rate: f64, time: Duration, seed: u64) -> Pace {
        let now = Instant::now();
        Pace {
            random: ChaCha8Rng::seed_from_u64(seed),
            mean: Duration::from_secs_f64(1.0 / rate),
            next: now,
            end: now + time,
        }
    }

    /// Waits for the next moment; `false` when the time is over. Who comes late catches up.
    pub(crate) async fn next(&mut self) -> bool {
        let share: f64 = self.random.random();
        self.next += self.mean.mul_f64(-(1.0 - share).ln());
        if self.next >= self.end {
            sleep_until(self.end).await;
            return false;
        }
        sleep_until(self.next).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_on_average() {
        let begun = Instant::now();
        let mut pace = Pace::new(50.0, Duration::from_mins(1), 1);
        let mut count = 0;
        while pace.next().await {
            count += 1;
        }
        assert!((2700..3300).contains(&count), "{count}");
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
