//! In which life of the host the store is used: from one start of the kernel to the next.
//!
//! What was written outlives this process at once, whatever ends it; the host only once it was synced. So who opens a store in the
//! life of the host that it was last used in has lost nothing. In another one whatever was not synced may be gone, and
//! the end of RocksDB's log may have reached the disk in any order.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::claim;
use crate::error::{Result, StoreError};

/// Where the kernel tells it; see `random(4)`.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file in the store's folder that keeps it.
const NAME: &str = "SLIPSTREAM.host";

/// A life of the host, by a name that the kernel made up for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostLife(String);

impl HostLife {
    /// A life of that name.
    pub fn new(name: impl Into<String>) -> Self {
        HostLife(name.into())
    }

    /// The life that we are in; `None` where the system does not tell.
    pub(crate) fn current() -> Option<HostLife> {
        let name = fs::read_to_string(BOOT_ID).ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| HostLife::new(name))
    }
}

/// The life in which the store in a folder was last used; `None` for one of a release that did not note it, which synced everything.
pub(crate) fn last_used_in(path: &Path) -> Result<Option<HostLife>> {
    match fs::read_to_string(path.join(NAME)) {
        Ok(name) => Ok(Some(HostLife::new(name.trim()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io(
            path,
            "read in which life of the host it was last used",
            e,
        )),
    }
}

/// Notes, durably, in which life a store is used from now on.
pub(crate) fn note(path: &Path, life: &HostLife) -> Result<()> {
    claim::replace(path, NAME, &format!("{}\n", life.0))
        .map_err(|e| StoreError::io(path, "note in which life of the host it is used", e))
}
