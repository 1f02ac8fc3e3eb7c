//! `slipstream status --watch`: a live table on a terminal, lines elsewhere, colours only where they are wanted.

mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use process::slipstream;
use serde_json::json;

/// How long anything here may take; far more than it does.
const PATIENCE: Duration = Duration::from_mins(1);

/// What answers as a gateway does: an index that writes a hundred operations more at each look.
#[expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
fn gateway() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (look, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let body = json!({"indices": [{
                "follower_index": "logs-1", "leader_alias": "eu", "leader_index": "logs-1", "phase": "SYNCING",
                "reason": "User initiated", "waiting_for": null, "warnings": [],
                "shards": [{"shard": 0, "leader_checkpoint": 9, "follower_checkpoint": 9, "scanned": 9,
                            "bootstrap_through": null, "reader": "translog: files", "lag_seconds": 0.012,
                            "operations_written": look * 100, "retries": 0}]
            }]})
            .to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            _ = write!(&stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}")
}

/// Reads what a watcher prints until everything wanted is in it, then ends it.
#[expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
fn watched(mut child: Child, wanted: &[&str]) -> String {
    let mut stdout = child.stdout.take().unwrap();
    let (sender, parts) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    let (mut seen, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    let text = loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if wanted.iter().all(|word| text.contains(word)) {
            break text;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match parts.recv_timeout(left) {
            Ok(part) => seen.extend(part),
            Err(_) => break text,
        }
    };
    let ended = Command::new("kill").arg(child.id().to_string()).status();
    assert!(ended.unwrap().success());
    child.wait().unwrap();
    for word in wanted {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    text
}

/// The command in a pseudo-terminal.
#[expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
fn in_a_terminal(arguments: &[&str], no_color: bool) -> Child {
    let program = slipstream(&[]).get_program().to_string_lossy().into_owned();
    let mut command = Command::new("script");
    command
        .args([
            "-qec",
            &format!("exec {program} {}", arguments.join(" ")),
            "/dev/null",
        ])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if no_color {
        command.env("NO_COLOR", "1");
    }
    command.spawn().unwrap()
}

#[test]
fn on_a_terminal_a_table_is_drawn_over_itself() {
    let gateway = gateway();
    let arguments = ["status", "--watch", "--gateway", &gateway];
    let text = watched(
        in_a_terminal(&arguments, false),
        &[
            "1 indices at http://127.0.0.1",
            "OPS/S",
            "\u{1b}[32mSYNCING\u{1b}[0m",
            "12 ms",
            "  50 ",
            "translog",
        ],
    );
    assert!(text.matches("\u{1b}[H").count() >= 2, "{text:?}");
    let plain = watched(in_a_terminal(&arguments, true), &["SYNCING", "OPS/S"]);
    assert!(!plain.contains("\u{1b}[3"), "{plain:?}");
}

#[test]
fn elsewhere_each_look_is_a_line_without_any_escapes() {
    let gateway = gateway();
    let watch = |more: &[&str], wanted: &[&str]| {
        let mut arguments = vec!["status", "--watch", "--gateway", &gateway];
        arguments.extend(more);
        let child = slipstream(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        watched(child, wanted)
    };
    let text = watch(
        &[],
        &["logs-1 SYNCING lag 12 ms ops/s 50 reader translog copied all"],
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let text = watch(&["--json"], &["\n"]);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["indices"][0]["follower_index"], "logs-1");
}

#[test]
fn one_look_on_a_terminal_is_coloured() {
    let gateway = gateway();
    watched(
        in_a_terminal(&["status", "--gateway", &gateway], false),
        &["\u{1b}[32mSYNCING\u{1b}[0m"],
    );
}
