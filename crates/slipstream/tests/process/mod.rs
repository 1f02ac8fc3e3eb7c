//! The built program as a process of its own: its output, its log, its end.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "shared by test files, each of which is a crate")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything here may take; far more than it does.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program with nothing of the caller's environment that means something to it.
pub fn slipstream(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SLIPSTREAM_")) {
        command.env_remove(name);
    }
    command.args(args);
    command
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = slipstream(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A process that runs until it is told to end; killed if a test ends without that.
pub struct Running {
    child: Child,
    log: Receiver<String>,
    seen: Vec<Value>,
}

impl Running {
    /// Starts one with a log that can be read.
    pub fn start(args: &[&str]) -> Running {
        let mut command = slipstream(args);
        command
            .args(["--log-format", "json"])
            .env("SLIPSTREAM_LOG", "info");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Running {
            child,
            log,
            seen: Vec::new(),
        }
    }

    /// Waits for a line of the log.
    pub fn logged(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.seen.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("not in the log: {:#?}", self.seen);
            };
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Waits for a line on stdout.
    pub fn printed<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> T {
        let stdout = BufReader::new(self.child.stdout.take().unwrap());
        let mut seen = Vec::new();
        for line in stdout.lines().map_while(Result::ok) {
            if let Some(found) = wanted(&line) {
                return found;
            }
            seen.push(line);
        }
        panic!("not printed: {seen:#?}");
    }

    /// Where it listens for this service.
    pub fn address(&mut self, service: &str) -> String {
        let line = self.logged(|line| line["message"] == "listening" && line["service"] == service);
        line["address"].as_str().unwrap().to_owned()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end.
    pub fn end(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running: {:#?}",
                self.log.try_iter().collect::<Vec<_>>()
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A CA with one certificate each for a leader agent and a follower agent.
pub fn certificates(folder: &Path) {
    let folder = folder.to_str().unwrap();
    for args in [
        vec!["certs", "init", folder],
        vec!["certs", "issue", folder, "leader", "--san", "127.0.0.1"],
        vec![
            "certs",
            "issue",
            folder,
            "follower",
            "--san",
            "follower.dr.example",
        ],
    ] {
        let (code, _, stderr) = run(&args);
        assert_eq!(code, Some(0), "{stderr}");
    }
}

/// One request; its status and what it says.
pub fn http(method: &str, url: &str, body: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let mut request = client.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    })
}
