//! When to look at a shard: with the index's own refreshes, or every so often on request.
//!
//! An index refreshes by itself every `refresh_interval`; reading right after that makes no segment that the leader
//! would not have made. An explicit refresh is asked for only where none can be waited for: the index was idle (an idle
//! index does not refresh by itself, and its first document should not wait), it does not refresh on schedule, or the
//! scheduled refresh is overdue.

use std::time::Duration;

use tokio::time::Instant;

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The index has just refreshed: what is visible may already be all of it.
    AsIs,
    /// Refresh first.
    Refresh,
}

/// Decides when a round is due.
#[derive(Debug)]
pub(crate) struct Rhythm {
    /// The index's refresh interval; `None` where it does not refresh on schedule.
    interval: Option<Duration>,
    /// Refresh this often instead, whatever the index does.
    every: Option<Duration>,
    /// When unread operations were first noticed, and the index's refresh count then.
    noticed: Option<(Instant, u64)>,
    /// When there was last something to do.
    busy: Option<Instant>,
}

/// Without a schedule of its own an index is refreshed this often while it changes.
const UNSCHEDULED: Duration = Duration::from_secs(5);
/// An index without changes for longer than this counts as idle.
const IDLE: Duration = Duration::from_secs(3);

impl Rhythm {
    pub(crate) fn new(every: Option<Duration>) -> Self {
        Rhythm {
            interval: Some(Duration::from_secs(1)),
            every,
            noticed: None,
            busy: None,
        }
    }

    /// Follows a changed `index.refresh_interval`, as the settings show it; absent means the engines' default of 1 s.
    pub(crate) fn set_interval(&mut self, setting: Option<&str>) {
        self.interval = match setting.map(parse_time) {
            None => Some(Duration::from_secs(1)),
            Some(interval) => interval,
        };
    }

    fn period(&self) -> Duration {
        self.every.or(self.interval).unwrap_or(UNSCHEDULED)
    }

    /// How long to sleep between two looks at the statistics.
    pub(crate) fn poll(&self) -> Duration {
        (self.period() / 4).clamp(Duration::from_millis(20), Duration::from_millis(250))
    }

    /// There is something unread, and the index has refreshed `refreshes` times: whether to read now.
    pub(crate) fn due(&mut self, now: Instant, refreshes: u64) -> Option<Look> {
        let idle = self
            .busy
            .is_none_or(|at| now.duration_since(at) > IDLE.max(2 * self.period()));
        let (noticed, count) = *self.noticed.get_or_insert((now, refreshes));
        if idle {
            return Some(Look::Refresh);
        }
        if let Some(every) = self.every {
            let since = self.busy.map_or(every, |at| now.duration_since(at));
            return (since >= every).then_some(Look::Refresh);
        }
        if self.interval.is_some() && refreshes > count {
            return Some(Look::AsIs);
        }
        let patience = self.interval.map_or(UNSCHEDULED, |i| i + i / 4);
        (now.duration_since(noticed) >= patience).then_some(Look::Refresh)
    }

    /// Whatever is unread should not wait: as after a quiet time.
    pub(crate) fn hurry(&mut self) {
        self.busy = None;
    }

    /// A round begins.
    pub(crate) fn looked(&mut self, now: Instant) {
        self.noticed = None;
        self.busy = Some(now);
    }

    /// How long unread operations have been known.
    pub(crate) fn pending(&self, now: Instant) -> Duration {
        self.noticed
            .map_or(Duration::ZERO, |(at, _)| now.duration_since(at))
    }
}

/// The engines' time values: a number and a unit; `None` for -1, which means "never".
fn parse_time(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "nanos" => 1e-9,
        "micros" => 1e-6,
        "ms" | "" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    (number > 0.0).then(|| Duration::from_secs_f64(number * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_document_after_a_quiet_time_does_not_wait() {
        let mut rhythm = Rhythm::new(None);
        assert_eq!(rhythm.due(Instant::now(), 7), Some(Look::Refresh));
    }

    #[test]
    fn a_busy_index_is_read_after_its_own_refresh() {
        let mut rhythm = Rhythm::new(None);
        let start = Instant::now();
        rhythm.looked(start);
        assert_eq!(rhythm.due(start + 100 * MS, 7), None);
        assert_eq!(rhythm.due(start + 600 * MS, 7), None);
        assert_eq!(rhythm.due(start + 800 * MS, 8), Some(Look::AsIs));
    }

    #[test]
    fn an_overdue_refresh_is_asked_for() {
        let mut rhythm = Rhythm::new(None);
        let start = Instant::now();
        rhythm.looked(start);
        assert_eq!(rhythm.due(start + 100 * MS, 7), None);
        assert_eq!(rhythm.due(start + 1400 * MS, 7), Some(Look::Refresh));
    }

    #[test]
    fn an_index_that_never_refreshes_is_refreshed_now_and_then() {
        let mut rhythm = Rhythm::new(None);
        rhythm.set_interval(Some("-1"));
        let start = Instant::now();
        rhythm.looked(start);
        assert_eq!(rhythm.due(start + 10 * MS, 7), None);
        assert_eq!(rhythm.due(start + 4000 * MS, 9), None);
        assert_eq!(rhythm.due(start + 5100 * MS, 9), Some(Look::Refresh));
    }

    #[test]
    fn a_fixed_pace_ignores_the_index() {
        let mut rhythm = Rhythm::new(Some(200 * MS));
        let start = Instant::now();
        rhythm.looked(start);
        assert_eq!(rhythm.due(start + 100 * MS, 9), None);
        assert_eq!(rhythm.due(start + 200 * MS, 9), Some(Look::Refresh));
        assert_eq!(rhythm.poll(), 50 * MS);
    }

    #[test]
    fn time_values_are_the_engines() {
        assert_eq!(parse_time("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_time("1500ms"), Some(1500 * MS));
        assert_eq!(parse_time("-1"), None);
        assert_eq!(parse_time("0s"), None);
    }
}
