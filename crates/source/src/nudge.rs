//! Getting a global checkpoint to move that stays behind although nobody is writing.
//!
//! Under `async` durability an operation counts towards the global checkpoint only once the translog is synced, and the
//! checkpoint itself moves with the next action: a refresh is one, and changes nothing else. Where the index was
//! switched from `async` to `request` right after its last write, nothing ever syncs that write: the engine has ended
//! the timer that would have, and a refresh does not help. A flush does.

use slipstream_model::GlobalCheckpoint;
use tokio::time::{Duration, Instant};

/// What to ask the leader for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Refresh,
    Flush,
}

/// Watches a global checkpoint that should move.
#[derive(Debug, Default)]
pub(crate) struct Nudge {
    /// Where it stands, and since when.
    stuck: Option<(GlobalCheckpoint, Instant)>,
    refreshed: Option<Instant>,
    flushed: Option<Instant>,
}

/// Between two refreshes, and before the first.
const REFRESH: Duration = Duration::from_secs(1);
/// The translog is synced every 5 s under `async`: what has not moved in twice that time needs a flush.
const FLUSH: Duration = Duration::from_secs(10);

impl Nudge {
    /// The checkpoint is still behind; whether to do something about it.
    pub(crate) fn behind(&mut self, global: GlobalCheckpoint, now: Instant) -> Option<Push> {
        let since = match self.stuck {
            Some((at, since)) if at == global => since,
            _ => {
                *self = Nudge {
                    stuck: Some((global, now)),
                    ..Nudge::default()
                };
                now
            }
        };
        let waited = |last: Option<Instant>| now.duration_since(last.unwrap_or(since));
        if waited(self.flushed) >= FLUSH {
            self.flushed = Some(now);
            return Some(Push::Flush);
        }
        if waited(self.refreshed) >= REFRESH {
            self.refreshed = Some(now);
            return Some(Push::Refresh);
        }
        None
    }

    /// It has caught up.
    pub(crate) fn caught_up(&mut self) {
        *self = Nudge::default();
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::Checkpoint;

    use super::*;

    fn at(value: i64) -> GlobalCheckpoint {
        GlobalCheckpoint(Checkpoint::new(value))
    }

    #[test]
    fn a_checkpoint_that_moves_is_left_alone() {
        let (mut nudge, start) = (Nudge::default(), Instant::now());
        for step in 0..100 {
            let now = start + Duration::from_millis(500 * step);
            assert_eq!(nudge.behind(at(step as i64), now), None);
        }
    }

    #[test]
    fn a_stuck_checkpoint_gets_refreshes_and_then_a_flush() {
        let (mut nudge, start) = (Nudge::default(), Instant::now());
        let pushes: Vec<_> = (0..=100)
            .filter_map(|step| nudge.behind(at(7), start + Duration::from_millis(100 * step)))
            .collect();
        assert_eq!(pushes.len(), 10);
        assert!(pushes[..9].iter().all(|push| *push == Push::Refresh));
        assert_eq!(pushes[9], Push::Flush);
        nudge.caught_up();
        assert_eq!(nudge.behind(at(7), start + Duration::from_secs(20)), None);
    }
}
