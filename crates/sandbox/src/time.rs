//! Time as the engines keep it: durations written as `5s` or `-1`, and a clock that only moves every 200 ms.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A length of time as settings and parameters give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// `-1`.
    Never,
    /// Anything else.
    Of(Duration),
}

impl Span {
    /// Reads `100ms`, `5s`, `1m`, `2h`, `1d`, `-1` or `0`; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Span> {
        let text = text.trim();
        match text {
            "-1" => return Some(Span::Never),
            "0" => return Some(Span::Of(Duration::ZERO)),
            _ => {}
        }
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = text[..digits].parse().ok()?;
        let unit = match &text[digits..] {
            "nanos" => 1,
            "micros" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "d" => 86_400 * 1_000_000_000,
            _ => return None,
        };
        Some(Span::Of(Duration::from_nanos(count.saturating_mul(unit))))
    }

    /// The length, or none for never.
    pub(crate) fn length(self) -> Option<Duration> {
        match self {
            Span::Never => None,
            Span::Of(length) => Some(length),
        }
    }
}

/// The clock that decides when a tombstone may be forgotten.
///
/// The engines read a cached time that moves every 200 ms; so with `gc_deletes: 0s` a tombstone still counts for up to
/// that long, and always within one bulk. Clients have to cope with it, so the sandbox keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoarseClock {
    start: Instant,
}

impl CoarseClock {
    const STEP: u64 = 200;

    pub(crate) fn start() -> Self {
        CoarseClock {
            start: Instant::now(),
        }
    }

    /// Milliseconds since the start, rounded down to a step.
    pub(crate) fn now(self) -> u64 {
        let exact = self.start.elapsed().as_millis() as u64;
        exact - exact % CoarseClock::STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_engines_write_them() {
        assert_eq!(Span::parse("100ms"), Some(Span::Of(Duration::from_millis(100))));
        assert_eq!(Span::parse("1m"), Some(Span::Of(Duration::from_mins(1))));
        assert_eq!(Span::parse("-1"), Some(Span::Never));
        assert_eq!(Span::parse("5"), None);
        assert_eq!(Span::parse("s"), None);
    }
}
