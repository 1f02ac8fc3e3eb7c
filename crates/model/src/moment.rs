//! Moments as the APIs give them: milliseconds since 1970, as the engines do. A clock before that says 0.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in milliseconds since 1970.
pub fn millis_of(moment: SystemTime) -> u64 {
    moment
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Now, in milliseconds since 1970.
pub fn now_millis() -> u64 {
    millis_of(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_count_from_1970() {
        assert_eq!(millis_of(UNIX_EPOCH + Duration::from_millis(1_500)), 1_500);
        assert_eq!(millis_of(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
