//! Ports for servers, chosen so that nobody else takes them, not even while the server is down for a restart.
//!
//! Asking the kernel for any free port gives one of the ephemeral range, which an outgoing connection may take the
//! moment it is let go. These come from below that range, and a lock file per port keeps several test processes
//! apart; the kernel drops the lock with the process that held it.

use std::{
    fs::{File, TryLockError},
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use rand::RngExt;

use super::error::SkipOrError;

const FIRST: u16 = 18_000;
const LAST: u16 = 32_000;

/// A port that is ours until this value is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port of 127.0.0.1; `folder` holds the lock files.
    pub(crate) fn take(folder: &Path) -> Result<Self, SkipOrError> {
        std::fs::create_dir_all(folder).map_err(|source| SkipOrError::file("create", folder, source))?;
        let span = LAST - FIRST;
        let start = rand::rng().random_range(0..span);
        for step in 0..span {
            let number = FIRST + (start + step) % span;
            if let Some(port) = Self::try_take(folder, number)? {
                return Ok(port);
            }
        }
        Err(SkipOrError::Ports {
            first: FIRST,
            last: LAST,
        })
    }

    fn try_take(folder: &Path, number: u16) -> Result<Option<Self>, SkipOrError> {
        let path = folder.join(number.to_string());
        let lock = File::create(&path).map_err(|source| SkipOrError::file("create", &path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(SkipOrError::file("lock", path, source)),
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        Ok(free.then_some(Self { number, _lock: lock }))
    }

    /// The port's number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::take(folder.path()).unwrap();
        assert!(Port::try_take(folder.path(), port.number()).unwrap().is_none());
        let number = port.number();
        drop(port);
        assert!(Port::try_take(folder.path(), number).unwrap().is_some());
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::take(folder.path()).unwrap();
        let number = port.number();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        drop(port);
        assert!(Port::try_take(folder.path(), number).unwrap().is_none());
        drop(listener);
    }
}
