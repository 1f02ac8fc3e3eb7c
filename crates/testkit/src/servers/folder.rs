//! A server's own folder: made for it, handed over to the account it runs under, removed with it.
//!
//! A test process that is killed removes nothing. Each folder therefore holds a lock file that its owner keeps locked,
//! and whoever makes a new folder removes those whose owner is gone.

use std::{
    fs::{File, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    account::{self, Account},
    disk,
    error::SkipOrError,
};

const PREFIX: &str = "slipstream-server-";
const LOCK: &str = ".owner";
/// A folder this young may be between its making and its locking.
const YOUNG: Duration = Duration::from_mins(1);

/// A folder with `config`, `data`, `logs`, `repo` and `tmp` in it.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes a folder that `account` can reach, with a copy of `config`.
    pub(crate) fn make(account: Option<Account>, slug: &str, config: &Path) -> Result<Self, SkipOrError> {
        let parent = account::reachable(account, [std::env::temp_dir(), PathBuf::from("/var/tmp")]);
        sweep(&parent);
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{slug}-"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&parent)
            .map_err(|source| SkipOrError::file("create a folder in", &parent, source))?;
        let path = folder.path().join(LOCK);
        let lock = File::create(&path).map_err(|source| SkipOrError::file("create", &path, source))?;
        lock.lock()
            .map_err(|source| SkipOrError::file("lock", path, source))?;
        for name in ["data", "logs", "repo", "tmp"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).map_err(|source| SkipOrError::file("create", &path, source))?;
        }
        copy(config, &folder.path().join("config"))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Hands everything in it over to `account`.
    pub(crate) fn hand_over(&self, account: Option<Account>) -> Result<(), SkipOrError> {
        account.map_or(Ok(()), |account| give(self.path(), account))
    }
}

/// Removes what killed test processes left behind; what cannot be removed stays.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let young = || {
            let age = entry.metadata().ok()?.modified().ok()?.elapsed().ok()?;
            Some(age < YOUNG)
        };
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || young() != Some(false) {
            continue;
        }
        let unowned = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if unowned {
            for name in ["data", "repo"] {
                disk::unmount(&entry.path().join(name));
            }
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<(), SkipOrError> {
    std::fs::create_dir_all(to).map_err(|source| SkipOrError::file("create", to, source))?;
    let entries = std::fs::read_dir(from).map_err(|source| SkipOrError::file("list", from, source))?;
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(|error| SkipOrError::file("copy", source, error))?;
        }
    }
    Ok(())
}

fn give(path: &Path, account: Account) -> Result<(), SkipOrError> {
    chown(path, Some(account.uid), Some(account.gid))
        .map_err(|source| SkipOrError::file("hand over", path, source))?;
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|source| SkipOrError::file("list", path, source))?;
        for entry in entries.flatten() {
            give(&entry.path(), account)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_is_swept_away() {
        let parent = tempfile::tempdir().unwrap();
        let old = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let make = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let lock = File::create(path.join(LOCK)).unwrap();
            File::open(&path).unwrap().set_times(old).unwrap();
            (path, lock)
        };
        let (gone, _) = make("slipstream-server-a");
        let (owned, lock) = make("slipstream-server-b");
        let (foreign, _) = make("other-c");
        lock.lock().unwrap();
        sweep(parent.path());
        assert!(!gone.exists() && owned.exists() && foreign.exists());
    }
}
