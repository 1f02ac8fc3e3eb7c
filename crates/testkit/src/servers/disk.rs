//! A small disk for a server's data or its repositories, so that a test can fill it.
//!
//! A file system in memory with a limit, mounted where they go. That takes the right to mount, which a test without it
//! skips. Should the test process be killed, the mount stays until the next sweep of its server's folder.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::SkipOrError;

const BALLAST: &str = "ballast";

/// A disk of its own, there as long as this lives.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts an empty disk of `megabytes` over a folder.
    pub(crate) fn mount(at: &Path, megabytes: u32) -> Result<Disk, SkipOrError> {
        let size = format!("size={megabytes}m,mode=0755");
        let tried = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();
        match tried {
            Ok(output) if output.status.success() => Ok(Disk { at: at.to_owned() }),
            Ok(output) => Err(SkipOrError::Skip {
                reason: format!(
                    "a small disk could not be mounted, which root may do: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                ),
            }),
            Err(source) => Err(SkipOrError::Program {
                program: "mount",
                purpose: "have a small disk to fill",
                source,
            }),
        }
    }

    /// Writes until nothing more fits.
    pub(crate) fn fill(&self) -> Result<(), SkipOrError> {
        let path = self.at.join(BALLAST);
        let file = |source| SkipOrError::file("write", &path, source);
        let mut ballast = File::create(&path).map_err(file)?;
        // Down to single bytes: what is left of a page would take a small document.
        let mut portion = vec![b'x'; 1 << 20];
        while !portion.is_empty() {
            match ballast.write(&portion) {
                Ok(written) if written == portion.len() => {}
                Ok(_) => portion.truncate(portion.len() / 2),
                Err(error) if error.kind() == ErrorKind::StorageFull => portion.truncate(portion.len() / 2),
                Err(error) => return Err(file(error)),
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        std::fs::remove_file(self.at.join(BALLAST))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

/// Takes a disk away, also one that somebody still uses or that a killed process left; nothing happens where there is none.
pub(crate) fn unmount(at: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(at).output();
}
