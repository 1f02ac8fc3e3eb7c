//! Encoders that all sessions of an agent share.
//!
//! An encoder holds a compressor's tables, some hundred kilobytes. A thousand sessions pack a batch now and then, a few of
//! them at the same moment: so an encoder belongs to the batch that is being packed, not to the session, and what is kept is bounded by
//! how many are packed at once, never by how many shards are followed (I8).

use std::sync::{Arc, Mutex, PoisonError};

use slipstream_wire::BatchEncoder;

/// Kept for the next batch at most; more at once are made and dropped.
const KEPT: usize = 4;

/// A few encoders. Cheap to clone; all clones share them.
#[derive(Clone, Default)]
pub(crate) struct Encoders(Arc<Mutex<Vec<BatchEncoder>>>);

impl Encoders {
    /// Works with an encoder that nobody else has meanwhile.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut BatchEncoder) -> T) -> T {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = kept.unwrap_or_default();
        let outcome = work(&mut encoder);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(encoder);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i8_what_is_kept_does_not_grow_with_how_many_were_needed_at_once() {
        fn nested(encoders: &Encoders, depth: usize) {
            if depth > 0 {
                encoders.with(|_| nested(encoders, depth - 1));
            }
        }
        let encoders = Encoders::default();
        nested(&encoders, KEPT * 3);
        assert_eq!(encoders.0.lock().unwrap().len(), KEPT);
        encoders.with(|_| assert_eq!(encoders.0.lock().unwrap().len(), KEPT - 1));
    }
}
