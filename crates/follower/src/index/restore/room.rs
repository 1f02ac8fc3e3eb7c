//! The room in the folder for files that are still to come, of all indices together: what one has been promised is not free for another.

use std::sync::Arc;
use std::sync::Mutex;

use crate::lock;

/// Bytes that indices still wait for.
#[derive(Debug, Clone, Default)]
pub(super) struct Room(Arc<Mutex<u64>>);

/// What one index waits for. Free for others once it has come, or when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    room: Room,
    /// Changed with the sum only, so both agree.
    bytes: Mutex<u64>,
}

impl Room {
    /// A claim of nothing yet.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            room: self.clone(),
            bytes: Mutex::new(0),
        }
    }
}

impl Claim {
    /// Claims so many bytes, in place of what was claimed before, of those that are free and not claimed by others.
    ///
    /// # Errors
    /// How many others have claimed, where too few are left.
    pub(super) fn claim(&self, bytes: u64, free: u64) -> Result<(), u64> {
        let (mut all, mut own) = (lock(&self.room.0), lock(&self.bytes));
        let others = *all - *own;
        if free < bytes.saturating_add(others) {
            return Err(others);
        }
        *all = others + bytes;
        *own = bytes;
        Ok(())
    }

    /// So many of them have come, and are not free any more.
    pub(super) fn came(&self, bytes: u64) {
        let (mut all, mut own) = (lock(&self.room.0), lock(&self.bytes));
        let bytes = bytes.min(*own);
        *all -= bytes;
        *own -= bytes;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.came(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_was_promised_is_not_free_for_another() {
        let room = Room::default();
        let (large, small) = (room.claim(), room.claim());
        assert_eq!(large.claim(70, 100), Ok(()));
        assert_eq!(small.claim(31, 100), Err(70));
        assert_eq!(small.claim(30, 100), Ok(()));
        // What has come is not free, and not waited for.
        large.came(50);
        assert_eq!(small.claim(31, 50), Err(20));
        assert_eq!(small.claim(30, 50), Ok(()));
        // It turns out to need more than it was promised.
        assert_eq!(large.claim(21, 50), Err(30));
        drop(small);
        assert_eq!(large.claim(50, 50), Ok(()));
        large.came(80);
        assert_eq!(*lock(&room.0), 0);
    }
}
