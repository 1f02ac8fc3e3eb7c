//! What the kernel knows of a process: processor time and memory.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks a second in `/proc/PID/stat`: part of Linux's interface to programs, whatever the kernel's own timer does.
const TICKS: u32 = 100;

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// This one.
    pub(crate) fn own() -> Self {
        Process(std::process::id())
    }

    /// The processor time that it has used so far, in user and kernel mode, on all cores.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let stat = self.read("stat")?;
        cpu(&stat).with_context(|| format!("/proc/{}/stat cannot be read: {stat}", self.0))
    }

    /// The same of a JVM without the threads of its compilers. What they translate and when is theirs to choose, and does not depend on
    /// what is measured.
    pub(crate) fn cpu_but_compilers(self) -> Result<Duration> {
        // In this order: a tick of a compiler's in between is no less than nothing.
        let compilers = self.compilers()?;
        Ok(self.cpu()?.saturating_sub(compilers))
    }

    fn compilers(self) -> Result<Duration> {
        let path = format!("/proc/{}/task", self.0);
        let mut all = Duration::ZERO;
        for thread in std::fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
            // One that has ended since has no file any more.
            let stat = std::fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
            if stat.contains("(C1 Compiler") || stat.contains("(C2 Compiler") {
                all += cpu(&stat).with_context(|| format!("a file in {path} cannot be read: {stat}"))?;
            }
        }
        Ok(all)
    }

    /// The memory that it occupies now, in bytes.
    pub(crate) fn resident(self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory that it has ever occupied, in bytes.
    pub(crate) fn peak(self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(self, name: &str) -> Result<u64> {
        let status = self.read("status")?;
        kibibytes(&status, name)
            .map(|kib| kib * 1024)
            .with_context(|| format!("/proc/{}/status has no {name}", self.0))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

fn cpu(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs(1) * (user + system) / TICKS)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_by_their_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 9 0 100 0 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1750)));
        assert_eq!(
            kibibytes("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n", "VmHWM:"),
            Some(2048)
        );
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let own = Process::own();
        assert!(own.cpu().is_ok());
        assert!(own.cpu_but_compilers().unwrap() <= own.cpu().unwrap());
        assert!(own.peak().unwrap() >= own.resident().unwrap() / 2);
    }
}
