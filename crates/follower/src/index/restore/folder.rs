//! Files below one folder, worked with away from the runtime's threads. Nothing outside of it is ever touched, whatever path the
//! leader agent names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crc32fast::Hasher;
use slipstream_wire::chunk::CHUNK_BYTES;

use super::RestoreError;

/// Where a file goes; never outside of the folder.
pub(super) fn place(folder: &Path, path: &str) -> Result<PathBuf, RestoreError> {
    let relative = Path::new(path);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !inside {
        return Err(RestoreError::Path(path.to_owned()));
    }
    Ok(folder.join(relative))
}

/// The length and the checksum of a file; nothing of one that is not there.
pub(super) fn read_through(file: &Path) -> io::Result<(u64, u32)> {
    let mut file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        file => file?,
    };
    let (mut hasher, mut length) = (Hasher::new(), 0);
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
    Ok((length, hasher.finalize()))
}

/// A file to be written into, with what it has and the folders above it.
pub(super) fn open(file: &Path) -> io::Result<File> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file)
}

/// Removes all files but these.
pub(super) fn remove_others(folder: &Path, keep: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, keep)?;
        } else if !keep.contains(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes the folder with all that is in it, if it is there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Works on a file on a thread that may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RestoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| unwritable(path, source))
}

/// What it means that a file cannot be worked with.
pub(super) fn unwritable(path: &Path, source: io::Error) -> RestoreError {
    RestoreError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_goes_outside_of_the_folder() {
        let folder = Path::new("/repo/own");
        for path in ["", "/etc/passwd", "../other", "indices/../../x", "indices/.."] {
            assert!(place(folder, path).is_err(), "{path}");
        }
        assert_eq!(
            place(folder, "indices/a/0/__b").unwrap(),
            Path::new("/repo/own/indices/a/0/__b")
        );
    }
}
