//! What was found out about credentials, for a moment, so that a script with a hundred calls costs the target one question.
//!
//! Credentials are kept as a keyed hash with a key that no other process has. A verdict is forgotten soon: for as long as that a
//! withdrawn right still counts. There are never more than [`MOST`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use tokio::time::Instant;

/// Verdicts that are kept.
const MOST: usize = 1_024;
/// How long a good one counts.
pub(crate) const GOOD: Duration = Duration::from_secs(30);
/// How long a bad one counts.
pub(crate) const BAD: Duration = Duration::from_secs(5);

/// A bounded memory of verdicts.
pub(crate) struct Verdicts<V> {
    /// `None`: the system has no random bytes, and nothing is kept.
    key: Option<hmac::Key>,
    kept: Mutex<HashMap<Vec<u8>, (Instant, V)>>,
}

impl<V: Clone> Verdicts<V> {
    pub(crate) fn new() -> Self {
        Verdicts {
            key: hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok(),
            kept: Mutex::default(),
        }
    }

    /// The verdict about these credentials, if it still counts.
    pub(crate) fn get(&self, about: &[&str]) -> Option<V> {
        let name = self.name(about)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verdict) = kept.get(&name)?;
        (Instant::now() < *until).then(|| verdict.clone())
    }

    /// Keeps a verdict for as long as it counts.
    pub(crate) fn keep(&self, about: &[&str], verdict: V, counts: Duration) {
        let Some(name) = self.name(about) else { return };
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() >= MOST {
            let first = kept
                .iter()
                .min_by_key(|(_, (until, _))| *until)
                .map(|(name, _)| name.clone());
            first.and_then(|name| kept.remove(&name));
        }
        kept.insert(name, (now + counts, verdict));
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn name(&self, about: &[&str]) -> Option<Vec<u8>> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in about {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Some(context.sign().as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn verdicts_count_for_their_time() {
        let verdicts = Verdicts::new();
        verdicts.keep(&["a", "b"], true, GOOD);
        verdicts.keep(&["bad"], false, BAD);
        tokio::time::advance(BAD).await;
        assert_eq!(
            (verdicts.get(&["a", "b"]), verdicts.get(&["bad"])),
            (Some(true), None)
        );
        assert_eq!(verdicts.get(&["ab"]), None, "parts do not run together");
        verdicts.clear();
        assert_eq!(verdicts.get(&["a", "b"]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_too_many() {
        let verdicts = Verdicts::new();
        for number in 0..MOST + 10 {
            verdicts.keep(&[&number.to_string()], (), GOOD);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(verdicts.kept.lock().unwrap().len(), MOST);
        assert_eq!(verdicts.get(&["0"]), None);
        assert!(verdicts.get(&[&(MOST + 9).to_string()]).is_some());
    }
}
