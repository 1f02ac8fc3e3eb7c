//! An agent as a process of its own, which a suite can kill at any instruction and start again.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use slipstream_testkit::client::eventually;

use super::SOON;

/// The product's binary, built by `make` before the suites run.
///
/// # Panics
/// If it is not there.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default();
    let binary = folder.join("slipstream");
    assert!(
        binary.exists(),
        "{} is not built: run `cargo build -p slipstream` first",
        binary.display()
    );
    binary
}

/// One agent process, which can be killed and started again with the same configuration.
pub struct Process {
    name: &'static str,
    config: PathBuf,
    log: PathBuf,
    /// Reads files only where their permissions let it, also as root.
    ordinary: bool,
    /// Logs one object a line.
    json: bool,
    child: Option<Child>,
}

impl Process {
    /// A `leader` or `follower`, which has its configuration and its log in a folder, in files of this name; not started.
    pub(super) fn new(name: &'static str, folder: &Path, file: &str) -> Process {
        Process {
            name,
            config: folder.join(format!("{file}.toml")),
            log: folder.join(format!("{file}.log")),
            ordinary: false,
            json: false,
            child: None,
        }
    }

    /// Starts it.
    ///
    /// # Panics
    /// If the system cannot.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        let errors = log.try_clone().expect("another handle");
        let mut command = if self.ordinary {
            let powers = "-dac_override,-dac_read_search";
            let mut command = Command::new("setpriv");
            command
                .args(["--bounding-set", powers, "--inh-caps", powers])
                .arg(binary());
            command
        } else {
            Command::new(binary())
        };
        let child = command
            .arg(self.name)
            .arg("--config")
            .arg(&self.config)
            .args(["--log-format", if self.json { "json" } else { "text" }])
            .env(
                "SLIPSTREAM_LOG",
                "info,slipstream_source=debug,slipstream_follower=debug",
            )
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the agent's process");
        self.child = Some(child);
    }

    /// Whether the tests are run by root: only he reads and writes what permissions forbid, and only he can put that away.
    ///
    /// # Panics
    /// If this process is not found.
    pub fn is_roots() -> bool {
        std::fs::metadata("/proc/self").expect("this process").uid() == 0
    }

    /// From its next life on the process reads files only where their permissions let it. Needs root, who could read
    /// everything else.
    pub fn becomes_ordinary(&mut self) {
        self.ordinary = true;
    }

    /// From its next life on the process logs one object a line.
    pub fn logs_json(&mut self) {
        self.json = true;
    }

    /// Waits until the log has an event with these fields, and gives the line. The process [`Self::logs_json`].
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn event(&self, name: &str, fields: &[(&str, Value)]) -> Value {
        eventually(
            &format!("{} logs {name} {fields:?}", self.name),
            SOON,
            async || {
                self.events(name)
                    .into_iter()
                    .find(|line| fields.iter().all(|(field, value)| line[field] == *value))
                    .ok_or_else(|| tail(&self.log()))
            },
        )
        .await
    }

    /// All events of this name that it has logged so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &Value| line["event"] == name).collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and the exit status once it has ended.
    ///
    /// # Panics
    /// If it does not end soon.
    pub async fn terminate(&mut self) -> Option<i32> {
        let pid = self.pid()?.to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        self.ended(SOON).await
    }

    /// SIGHUP.
    pub fn reload(&self) {
        if let Some(child) = &self.child {
            let _ = Command::new("kill")
                .args(["-HUP", &child.id().to_string()])
                .status();
        }
    }

    /// Its exit status, once it has ended by itself.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let name = self.name;
        let mut child = self.child.take()?;
        eventually(&format!("the {name} agent ends"), limit, async || {
            match child.try_wait() {
                Ok(Some(status)) => Ok(status.code()),
                _ => Err("it runs"),
            }
        })
        .await
    }

    /// Kills it, and starts it again.
    pub fn crash(&mut self) {
        self.kill();
        self.start();
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The process's id, where it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything that it has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has a line with all of these words in it.
    pub async fn logged(&self, words: &[&str]) {
        eventually(&format!("{} logs {words:?}", self.name), SOON, async || {
            let log = self.log();
            let found = log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)));
            if found { Ok(()) } else { Err(tail(&log)) }
        })
        .await;
    }

    /// The file that it was configured with.
    pub fn config(&self) -> &Path {
        &self.config
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- the end of the log of the {} agent\n{}",
                self.name,
                tail(&self.log())
            );
        }
    }
}

pub(super) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
