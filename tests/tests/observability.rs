//! What is told to those who watch: metrics that Prometheus takes without complaint, alerts that fire for what they are
//! meant for, and a dashboard that asks for nothing that is not there; events by their names, and traces.

#[path = "observability/events.rs"]
mod events;
#[path = "observability/traces.rs"]
mod traces;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use slipstream_testkit::client::Es;
use slipstream_tests::agents::{Options, free_port};
use slipstream_tests::world::World;

fn root() -> PathBuf {
    // Cargo runs tests in their package's folder. A path that is compiled in would be that of the clone which was built first,
    // where several share a target folder.
    let here = std::env::current_dir().expect("a current folder");
    here.join("..")
}

/// Debian's promtool: the script says so where it cannot be had.
fn promtool() -> String {
    let output = Command::new(root().join("scripts/promtool.sh"))
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(promtool())
        .args(arguments)
        .current_dir(root().join("deploy/observability"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn well(what: &str, output: &Output) {
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

/// Names of our metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !word(c))
        .filter(|name| name.starts_with("slipstream_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_fire_for_what_they_are_meant_for() {
    well("the rules", &run(&["check", "rules", "alerts.yml"], ""));
    well("their tests", &run(&["test", "rules", "alerts_test.yml"], ""));
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    for line in rules.lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            assert!(
                tests.contains(&format!("alertname: {alert}\n")),
                "{alert} has no test"
            );
        }
    }
}

#[test]
fn rules_and_dashboard_ask_for_documented_metrics_only() {
    let documented = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the list of metrics");
    let documented = metrics_in(&documented);
    let dashboard = read("grafana.json");
    serde_json::from_str::<Value>(&dashboard).expect("the dashboard is JSON");
    for (file, text) in [("alerts.yml", read("alerts.yml")), ("grafana.json", dashboard)] {
        let unknown: Vec<String> = metrics_in(&text).difference(&documented).cloned().collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

fn read(name: &str) -> String {
    let path = root().join("deploy/observability").join(name);
    std::fs::read_to_string(path).expect("a file")
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_takes_both_agents_metrics_without_complaint() {
    let observe = free_port();
    let options = Options {
        leader_extra: format!("[observe]\naddress = \"127.0.0.1:{observe}\"\n"),
        ..Options::default()
    };
    let mut world = World::prepare(options).await;
    world.start_agents().await;
    world.following().await;
    let leader = Es::new(&format!("http://127.0.0.1:{observe}"));
    for (agent, client) in [("leader", &leader), ("follower", &world.agents.gateway)] {
        let (status, text) = client.try_send("GET", "/metrics", None).await.expect("metrics");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(status, 200, "{text}");
        assert!(!metrics_in(&text).is_empty(), "{text}");
        well(
            &format!("the metrics of the {agent} agent"),
            &run(&["check", "metrics"], &text),
        );
    }
}
