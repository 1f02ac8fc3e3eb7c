//! The file that changes are written to: room for a line is made before its change begins, and a line that could not be written is kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Room for one line; longer ones are not made.
pub(super) const LINE: u64 = 32 << 10;

/// The file, and what is owed to it.
pub(super) struct Book {
    path: PathBuf,
    pub(super) file: File,
    /// Changes that have begun and whose lines are not written yet.
    begun: u64,
    /// Lines that could not be written.
    missed: Vec<String>,
}

/// Opens the file, and makes it where it is not there.
pub(super) fn open(path: &PathBuf) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not an ordinary file"))
    }
}

impl Book {
    pub(super) fn open(path: PathBuf) -> io::Result<Book> {
        let file = open(&path)?;
        Ok(Book {
            path,
            file,
            begun: 0,
            missed: Vec::new(),
        })
    }

    /// Makes room for one more line, after those that are owed.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        self.follow()?;
        while let Some(line) = self.missed.first() {
            append(&mut self.file, line)?;
            self.missed.remove(0);
        }
        let room = LINE * (self.begun + 1);
        let length = self.file.metadata()?.len();
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, length, room) {
            // A file system that cannot keep room free: the write itself will tell.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.begun += 1;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn write(&mut self, line: String) -> io::Result<()> {
        self.begun = self.begun.saturating_sub(1);
        let written = self.follow().and_then(|()| append(&mut self.file, &line));
        if written.is_err() {
            self.missed.push(line);
        }
        written
    }

    /// Opens the file anew if another stands in its place, or none.
    fn follow(&mut self) -> io::Result<()> {
        let open_one = self.file.metadata()?;
        let same = std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (open_one.dev(), open_one.ino()));
        if !same {
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

fn append(file: &mut File, line: &str) -> io::Result<()> {
    file.write_all(line.as_bytes())?;
    file.sync_data()
}
