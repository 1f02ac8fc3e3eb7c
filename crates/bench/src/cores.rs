//! Cores of their own for what would be a host of its own.
//!
//! Both clusters and both agents share this machine. Where a section asks what one of them costs another that would be elsewhere, each
//! side gets half of the cores for as long as it is measured, with what it is compared with on the same cores. Caches,
//! memory and disk stay common.

use std::io;

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::process::Process;

/// The cores that this program may use, in halves.
pub(crate) struct Halves {
    all: CpuSet,
    halves: [CpuSet; 2],
}

/// Processes that keep to their half until this is dropped.
pub(crate) struct Apart {
    all: CpuSet,
    processes: Vec<Process>,
}

impl Halves {
    /// `None` if there is one core only.
    pub(crate) fn of_this_machine() -> Result<Option<Halves>> {
        let all = sched_getaffinity(None).context("cannot tell which cores there are")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        if cores.len() < 2 {
            return Ok(None);
        }
        let (first, second) = cores.split_at(cores.len() / 2);
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            for core in cores {
                set.set(*core);
            }
            set
        };
        Ok(Some(Halves {
            all,
            halves: [set(first), set(second)],
        }))
    }

    /// Keeps each side to a half of its own.
    pub(crate) fn keep(&self, sides: [&[Process]; 2]) -> Result<Apart> {
        let mut apart = Apart {
            all: self.all,
            processes: Vec::new(),
        };
        for (side, half) in sides.into_iter().zip(&self.halves) {
            for process in side {
                apart.processes.push(*process);
                keep(*process, half)
                    .with_context(|| format!("cannot give process {} cores of its own", process.0))?;
            }
        }
        Ok(apart)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for process in &self.processes {
            // Those that have ended meanwhile need no cores.
            _ = keep(*process, &self.all);
        }
    }
}

/// All threads of a process. Those that it starts later are where their maker is.
fn keep(process: Process, cores: &CpuSet) -> io::Result<()> {
    for task in std::fs::read_dir(format!("/proc/{}/task", process.0))? {
        let thread = task?.file_name().to_str().and_then(|name| name.parse().ok());
        match sched_setaffinity(thread.and_then(Pid::from_raw), cores) {
            // It has ended since it was listed.
            Err(rustix::io::Errno::SRCH) => {}
            set => set?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_to_its_half_until_it_is_let_go() {
        let Some(halves) = Halves::of_this_machine().unwrap() else {
            return;
        };
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let cores = || sched_getaffinity(Some(pid)).unwrap();
        let apart = halves.keep([&[], &[Process(child.id())]]).unwrap();
        assert!(cores() == halves.halves[1]);
        drop(apart);
        assert!(cores() == halves.all);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
