//! When a quiet shard looks: each index has its turn, all shards of one at the same moment, and all moments are whole seconds.
//! What wakes an idle agent costs it more than the look, so a thousand quiet shards wake it once a second at most, and the
//! shards of an index share the answer to what has to be asked.

use std::hash::{DefaultHasher, Hash, Hasher};

use slipstream_model::IndexName;
use tokio::time::{Duration, Instant};

/// An index's place in any stretch of time, always the same, from 0 to 1.
pub(super) struct Turn(f64);

impl Turn {
    /// Spreads indices evenly.
    pub(super) fn of(index: &IndexName) -> Self {
        let mut hasher = DefaultHasher::new();
        index.hash(&mut hasher);
        Turn(hasher.finish() as f64 / u64::MAX as f64)
    }

    /// Its place within a stretch of time.
    pub(super) fn within(&self, stretch: Duration) -> Duration {
        stretch.mul_f64(self.0)
    }

    /// From now until its next turn, of which there is one in every `cycle` since `begun`. `cycle` is of whole seconds.
    pub(super) fn wait(&self, begun: Instant, now: Instant, cycle: Duration) -> Duration {
        let turns = cycle.as_secs();
        let own = self.within(cycle).as_secs() % turns;
        let passed = now.saturating_duration_since(begun);
        // Never this very second: who looks now has looked.
        let round = passed.as_secs() / turns + u64::from(passed.as_secs() % turns >= own);
        Duration::from_secs(round * turns + own).saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CYCLE: Duration = Duration::from_secs(30);

    #[test]
    fn quiet_shards_look_at_whole_seconds_and_those_of_an_index_together() {
        let begun = Instant::now();
        let mut moments = BTreeSet::new();
        for index in 0..100 {
            let turn = Turn::of(&IndexName::new(format!("logs-{index}")));
            let turns = [0, 1, 7_400, 29_999, 30_000, 3_600_123].map(|millis| {
                let now = begun + Duration::from_millis(millis);
                let wait = turn.wait(begun, now, CYCLE);
                assert!(wait > Duration::ZERO && wait <= CYCLE, "{wait:?}");
                let moment = now + wait - begun;
                assert_eq!(moment.subsec_nanos(), 0, "{moment:?}");
                moment.as_secs() % CYCLE.as_secs()
            });
            assert!(turns.iter().all(|turn| *turn == turns[0]), "{turns:?}");
            moments.insert(turns[0]);
        }
        assert!(moments.len() > 20, "not all at once either: {moments:?}");
    }
}
