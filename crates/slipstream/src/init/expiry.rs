//! How long the agent's certificate is still good for, as a metric and, when it is not much, in the log.

use std::time::{Duration, SystemTime};

use slipstream_model::event;

/// Seconds until the agent's certificate expires; negative once it has.
pub(crate) const CERTIFICATE_EXPIRY_SECONDS: &str = "slipstream_certificate_expiry_seconds";

/// From when on the log warns.
pub(crate) const SOON: Duration = Duration::from_hours(14 * 24);

/// Tells when a certificate expires; it can be exchanged while the agent runs.
pub(crate) type ExpiresAt = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// Sets the metric as of now.
pub(crate) fn measure(expires_at: SystemTime) {
    metrics::gauge!(CERTIFICATE_EXPIRY_SECONDS).set(seconds_left(expires_at, SystemTime::now()));
}

/// Warns if the certificate is to be exchanged.
pub(crate) fn warn_if_soon(expires_at: SystemTime) {
    let left = seconds_left(expires_at, SystemTime::now());
    if left < SOON.as_secs_f64() {
        let days = (left / 86_400.0).floor();
        tracing::warn!(
            event = event::CERTIFICATE_EXPIRING,
            days,
            "the certificate expires soon: have a new one issued, put it in place and send SIGHUP"
        );
    }
}

fn seconds_left(expires_at: SystemTime, now: SystemTime) -> f64 {
    match expires_at.duration_since(now) {
        Ok(left) => left.as_secs_f64(),
        Err(over) => -over.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_certificate_has_negative_time_left() {
        let now = SystemTime::now();
        assert!((seconds_left(now + Duration::from_mins(1), now) - 60.0).abs() < 1e-6);
        assert!((seconds_left(now - Duration::from_mins(1), now) + 60.0).abs() < 1e-6);
    }
}
