//! What can go wrong with the store, in words for the operator: what failed, why, and what to do next.
//!
//! RocksDB reports one text for everything; [`classify`] finds the causes that call for different hands.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;
use thiserror::Error;

/// The result of a call to the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The cause under a [`StoreError`].
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the store could not be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another [`crate::Store`] of this one, has the folder open.
    #[error(
        "the store at `{path}` is in use by another process, most likely a second follower agent: \
         stop one of the two, or give each a `store.path` of its own"
    )]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },

    /// The folder holds something, and not a store of ours. It was not touched.
    #[error(
        "`{path}` is not empty and holds no slipstream store: point `store.path` to an empty or new folder, \
         or to the folder of an earlier follower agent"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },

    /// A file of the store is missing or does not hold what was written.
    #[error(
        "the store at `{path}` is damaged ({action}): check the disk, then put back a copy of the folder, or \
         move it away and start replication anew; the follower indices themselves are not affected"
    )]
    Corrupt {
        /// The store's folder.
        path: PathBuf,
        /// What was being done when the damage showed.
        action: String,
        /// What was found.
        #[source]
        source: Cause,
    },

    /// The store was written by a later release, whose records this one would misread.
    #[error(
        "the store at `{path}` has schema {found}, this release knows schemas up to {known}: \
         run the release that wrote it, or a later one"
    )]
    NewerSchema {
        /// The store's folder.
        path: PathBuf,
        /// The schema found.
        found: u32,
        /// The newest schema that this release knows.
        known: u32,
    },

    /// The process may not write there.
    #[error("not allowed to write to the store at `{path}`: give the folder to the user that runs the agent")]
    NotWritable {
        /// The store's folder.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: Cause,
    },

    /// The file system is mounted read-only, which kernels also do by themselves after errors of the disk.
    #[error(
        "the file system of the store at `{path}` is read-only: check the kernel log for disk errors, mount it \
         writable, then restart the agent"
    )]
    ReadOnly {
        /// The store's folder.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: Cause,
    },

    /// The disk is full.
    #[error("no space left for the store at `{path}` ({action}): free some on its file system")]
    Full {
        /// The store's folder.
        path: PathBuf,
        /// What was being done.
        action: String,
        /// The refusal.
        #[source]
        source: Cause,
    },

    /// Another error of the operating system on the folder itself.
    #[error("cannot {action} the store at `{path}`")]
    Io {
        /// The store's folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The error.
        #[source]
        source: io::Error,
    },

    /// Another error of RocksDB.
    #[error("the store at `{path}` failed to {action}: see RocksDB's own log there, `LOG`")]
    Engine {
        /// The store's folder.
        path: PathBuf,
        /// What was being done, on which index and shard.
        action: String,
        /// The error.
        #[source]
        source: rocksdb::Error,
    },
}

/// A stored value that no release can have written.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

impl StoreError {
    /// An error of the operating system while doing `action` to the folder.
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied => StoreError::NotWritable {
                path,
                source: Box::new(source),
            },
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly {
                path,
                source: Box::new(source),
            },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full {
                path,
                action: action.to_owned(),
                source: Box::new(source),
            },
            _ => StoreError::Io { path, action, source },
        }
    }

    /// An error of RocksDB while doing `action`.
    pub(crate) fn engine(path: &Path, action: impl Into<String>, source: rocksdb::Error) -> Self {
        let (path, action) = (path.to_path_buf(), action.into());
        match classify(&source.kind(), source.as_ref()) {
            Class::Locked => StoreError::Locked { path },
            Class::Corrupt => StoreError::Corrupt {
                path,
                action,
                source: Box::new(source),
            },
            Class::NotWritable => StoreError::NotWritable {
                path,
                source: Box::new(source),
            },
            Class::ReadOnly => StoreError::ReadOnly {
                path,
                source: Box::new(source),
            },
            Class::Full => StoreError::Full {
                path,
                action,
                source: Box::new(source),
            },
            Class::Other => StoreError::Engine { path, action, source },
        }
    }

    /// Damage found by us rather than by RocksDB.
    pub(crate) fn corrupt(path: &Path, action: impl Into<String>, source: impl Into<Cause>) -> Self {
        StoreError::Corrupt {
            path: path.to_path_buf(),
            action: action.into(),
            source: source.into(),
        }
    }
}

/// The causes that call for different hands.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    Locked,
    Corrupt,
    NotWritable,
    ReadOnly,
    Full,
    Other,
}

/// Sorts RocksDB's error texts. They end with `strerror` of the call that failed, and begin with a status code.
fn classify(kind: &ErrorKind, text: &str) -> Class {
    match kind {
        ErrorKind::Corruption => Class::Corrupt,
        // An existing store is opened without leave to create, so this one has lost its file `CURRENT`.
        ErrorKind::InvalidArgument if text.contains("does not exist") => Class::Corrupt,
        ErrorKind::IOError => {
            // Both the text for another process and the one for another handle of this process.
            if text.contains("While lock file") || text.contains("lock hold by current process") {
                Class::Locked
            } else if text.contains("No space left") || text.contains("quota exceeded") {
                Class::Full
            } else if text.contains("Read-only file system") {
                Class::ReadOnly
            } else if text.contains("Permission denied") || text.contains("Operation not permitted") {
                Class::NotWritable
            } else if text.contains("No such file") {
                Class::Corrupt
            } else {
                Class::Other
            }
        }
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rocksdb_texts_are_told_apart() {
        let io = |text: &str| classify(&ErrorKind::IOError, text);
        assert_eq!(
            io("IO error: While lock file: /s/LOCK: Resource temporarily unavailable"),
            Class::Locked
        );
        assert_eq!(
            io(
                "IO error: lock hold by current process, acquire time 1 acquiring thread 2: /s/LOCK: No locks available"
            ),
            Class::Locked
        );
        assert_eq!(
            io("IO error: No space left on device: While appending to file: /s/1.log"),
            Class::Full
        );
        assert_eq!(
            io("IO error: While open a file for lock: /s/LOCK: Read-only file system"),
            Class::ReadOnly
        );
        assert_eq!(
            io("IO error: While open a file for lock: /s/LOCK: Permission denied"),
            Class::NotWritable
        );
        assert_eq!(
            io("IO error: No such file or directory: While open a file: /s/000012.sst"),
            Class::Corrupt
        );
        assert_eq!(
            io("IO error: While fsync: /s/1.log: Input/output error"),
            Class::Other
        );
        assert_eq!(
            classify(&ErrorKind::Corruption, "Corruption: block checksum mismatch"),
            Class::Corrupt
        );
        assert_eq!(
            classify(&ErrorKind::TimedOut, "Operation timed out"),
            Class::Other
        );
    }

    #[test]
    fn messages_name_the_folder_and_the_remedy_but_not_the_source() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = StoreError::io(Path::new("/var/lib/slipstream"), "create", denied);
        let text = error.to_string();
        assert!(
            text.contains("`/var/lib/slipstream`") && text.contains("give the folder"),
            "{text}"
        );
        assert!(!text.contains("permission denied"), "{text}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
