//! Where the numbers come from: machine, time and versions.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// What the report says about its circumstances.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Processor, cores and memory.
    pub(crate) hardware: String,
    /// Kernel.
    pub(crate) kernel: String,
    /// When, in UTC.
    pub(crate) date: String,
    /// What the agents' binary says of itself, and the commit of this working tree.
    pub(crate) version: String,
    /// The agents' binary: its name, and its folder's, which is that of the build profile.
    pub(crate) binary: String,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(binary: &Path) -> Result<Machine> {
        let cores = std::thread::available_parallelism()?;
        let processor =
            field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let said = said(Command::new(binary).arg("--version")).context("the agents' binary does not run")?;
        let commit = said_or(
            Command::new("git").args(["describe", "--always", "--dirty"]),
            "unknown",
        );
        Ok(Machine {
            hardware: format!("{processor}, {cores} cores, {} GiB", kib.div_ceil(1 << 20)),
            kernel: format!("Linux {}", kernel.trim()),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            version: format!("{said}, commit {commit}"),
            binary: last_two(binary),
        })
    }
}

fn last_two(path: &Path) -> String {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    names[names.len().saturating_sub(2)..].join("/")
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let (_, value) = text
        .lines()
        .find(|line| line.starts_with(name))?
        .split_once(':')?;
    Some(value.trim().to_owned())
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn said_or(command: &mut Command, otherwise: &str) -> String {
    said(command)
        .ok()
        .filter(|said| !said.is_empty())
        .unwrap_or_else(|| otherwise.to_owned())
}
