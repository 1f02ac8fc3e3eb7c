//! Servers between two tests of a process.

use std::sync::{Mutex, PoisonError};

use super::emptying::Inventory;
use super::{Instance, Release, ServerConfig};

/// Each has a JVM that holds some hundred megabytes.
const MOST: usize = 4;

static SHELF: Mutex<Vec<Shelved>> = Mutex::new(Vec::new());

/// A server that nobody uses.
#[derive(Debug)]
pub(crate) struct Shelved {
    pub(crate) instance: Instance,
    /// What it had when it was new.
    pub(crate) inventory: Inventory,
}

/// Takes one that was started like this.
pub(crate) fn take(release: Release, config: &ServerConfig) -> Option<Shelved> {
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |one: &Shelved| one.instance.release() == release && one.instance.config() == config;
    let at = shelf.iter().position(fits)?;
    Some(shelf.remove(at))
}

/// Keeps one that runs; the one that has waited longest makes room.
pub(crate) fn put(mut one: Shelved) {
    one.instance.thaw();
    if one.instance.pid().is_none() || one.instance.exited().is_some() {
        return;
    }
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    shelf.push(one);
    if shelf.len() > MOST {
        let oldest = shelf.remove(0);
        // Its end may take a while.
        drop(shelf);
        drop(oldest);
    }
}
