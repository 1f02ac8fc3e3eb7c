//! Whether a folder is ours to open, before RocksDB gets to see it.
//!
//! A marker file says that the folder is a store, and whether its creation was completed. Without it a folder with
//! anything in it is foreign and stays untouched; with it a store that lost its files is damaged, and not a new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Malformed, Result, StoreError};

/// The marker's name.
const MARKER: &str = "SLIPSTREAM";

/// The marker while the store is being created.
const CREATING: &str = "slipstream follower store: creating\n";

/// The marker of a store that was created completely.
const READY: &str = "slipstream follower store: ready\n";

/// What a folder is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// New, or left behind by a creation that did not come to its end: there is nothing to lose in it.
    Creating,
    /// A store that was in use.
    Ready,
}

/// Makes the folder where it is missing, readable by its owner only, and says what it is.
pub(crate) fn claim(path: &Path) -> Result<Claim> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| StoreError::io(path, "create", e))?;
    match fs::read_to_string(marker(path)) {
        Ok(text) if text == READY => Ok(Claim::Ready),
        // A marker that a crash left short is one of a store that was being created.
        Ok(text) if CREATING.starts_with(&text) => Ok(Claim::Creating),
        Ok(_) => Err(damaged(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if !is_empty(path).map_err(|e| StoreError::io(path, "list", e))? {
                return Err(StoreError::Foreign {
                    path: path.to_path_buf(),
                });
            }
            write(path, &marker(path), CREATING).map_err(|e| StoreError::io(path, "create", e))?;
            Ok(Claim::Creating)
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(damaged(path)),
        Err(e) => Err(StoreError::io(path, "read the marker of", e)),
    }
}

/// Records that the store is complete: from now on, missing files are damage.
pub(crate) fn complete(path: &Path) -> Result<()> {
    replace(path, MARKER, READY).map_err(|e| StoreError::io(path, "complete the creation of", e))
}

/// Puts a text in place of what a file in the folder held, durably; whatever breaks in between, it holds one of the two.
pub(crate) fn replace(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let fresh = path.join(format!("{name}.new"));
    write(path, &fresh, text)?;
    fs::rename(&fresh, path.join(name))?;
    sync_folder(path)
}

fn marker(path: &Path) -> PathBuf {
    path.join(MARKER)
}

fn damaged(path: &Path) -> StoreError {
    StoreError::corrupt(
        path,
        "reading its marker `SLIPSTREAM`",
        Malformed("the marker has an unknown text"),
    )
}

fn write(folder: &Path, file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether there is nothing in a folder but what a freshly made file system has in its root.
fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_folder_is_private_and_an_interrupted_creation_starts_over() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/store");
        assert_eq!(claim(&path).unwrap(), Claim::Creating);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(claim(&path).unwrap(), Claim::Creating);
        fs::write(path.join(MARKER), "slip").unwrap();
        assert_eq!(claim(&path).unwrap(), Claim::Creating);
        complete(&path).unwrap();
        assert_eq!(claim(&path).unwrap(), Claim::Ready);
    }

    #[test]
    fn a_fresh_file_system_counts_as_empty_and_a_strangers_folder_does_not() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();
        assert_eq!(claim(root.path()).unwrap(), Claim::Creating);

        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(claim(other.path()), Err(StoreError::Foreign { .. })));
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(claim(&path), Err(StoreError::Io { .. })));
    }
}
