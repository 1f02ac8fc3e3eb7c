//! Agents as processes: configured by files, watched over HTTP, driven from the command line, ended by signals.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod process;

use std::path::Path;

use process::{Running, certificates, http, run};
use serde_json::Value;

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn leader_file(folder: &Path, cluster: &str, identity: &str) -> String {
    let text = format!(
        "[cluster]\nurl = \"http://{cluster}\"\n[listen]\naddress = \"127.0.0.1:0\"\n[tls]\ncert_file = \"leader.pem\"\n\
         key_file = \"leader.key\"\nca_file = \"ca.pem\"\n[observe]\naddress = \"127.0.0.1:0\"\n[[allow]]\n\
         identity = \"{identity}\"\nindices = [\"leader-*\"]\n"
    );
    write(folder, "leader.toml", &text)
}

fn follower_file(folder: &Path, cluster: &str, leader: &str) -> String {
    let text = format!(
        "[cluster]\nurl = \"http://{cluster}\"\n[store]\npath = \"store\"\n[gateway]\naddress = \"127.0.0.1:0\"\n[tls]\n\
         cert_file = \"follower.pem\"\nkey_file = \"follower.key\"\nca_file = \"ca.pem\"\n[[leader]]\nalias = \"main\"\n\
         agents = [\"{leader}\"]\n"
    );
    write(folder, "follower.toml", &text)
}

#[test]
fn two_agents_are_driven_from_the_command_line_from_start_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut source = Running::start(&["sandbox", "--listen", "127.0.0.1:0", "--engine", "elasticsearch"]);
    let mut target = Running::start(&["sandbox", "--listen", "127.0.0.1:0"]);
    let (source_at, target_at) = (source.address("sandbox"), target.address("sandbox"));
    let mut leader = Running::start(&[
        "leader",
        "--config",
        &leader_file(folder.path(), &source_at, "follower.dr.example"),
    ]);
    let leader_at = leader.address("follower agents");
    let config = follower_file(folder.path(), &target_at, &leader_at);
    let mut follower = Running::start(&["follower", "--config", &config]);
    let gateway = format!("http://{}", follower.address("gateway"));
    let ask = |args: &[&str]| run(&[args, &["--gateway", &gateway]].concat());

    let (code, stdout, _) = ask(&["status"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "no index follows\n"));
    let (code, _, stderr) = ask(&["start", "f1", "--leader", "other", "--leader-index", "leader-01"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no such remote cluster: [other]"), "{stderr}");
    let (code, _, stderr) = ask(&["start", "f1", "--leader", "main", "--leader-index", "leader-01"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no such index [leader-01]"), "{stderr}");

    let put = |path: &str| http("PUT", &format!("http://{source_at}{path}"), Some("{\"v\":1}")).0;
    assert_eq!(put("/leader-01/_doc/1"), 201);
    let (code, stdout, stderr) = ask(&[
        "start",
        "f1",
        "--leader",
        "main",
        "--leader-index",
        "leader-01",
        "--wait",
    ]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "f1 follows main:leader-01\n"),
        "{stderr}"
    );
    let (code, stdout, _) = ask(&["status", "f1", "--json"]);
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &status["phase"]), (Some(0), &Value::from("SYNCING")));
    let (code, stdout, _) = ask(&["pause", "f1", "--reason", "maintenance"]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "f1 is paused; its place is kept\n")
    );
    let (_, stdout, _) = ask(&["status"]);
    assert!(
        stdout.contains("PAUSED") && stdout.contains("maintenance"),
        "{stdout}"
    );
    let (code, _, stderr) = ask(&["pause", "f1"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("Index f1 is already paused"), "{stderr}");
    assert_eq!(ask(&["resume", "f1"]).0, Some(0));
    assert_eq!(ask(&["stop", "f1"]).0, Some(0));
    let (code, _, stderr) = ask(&["status", "f1"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("f1 does not follow any index") && stderr.contains(" → "),
        "{stderr}"
    );

    for agent in [follower, leader, target, source] {
        agent.signal("TERM");
        assert_eq!(agent.end().code(), Some(0));
    }
}

#[test]
fn a_leader_agent_shows_its_health_and_reloads_what_it_can() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut source = Running::start(&["sandbox", "--listen", "127.0.0.1:0"]);
    let cluster = source.address("sandbox");
    let mut leader = Running::start(&[
        "leader",
        "--config",
        &leader_file(folder.path(), &cluster, "a.example"),
    ]);
    let observe = format!("http://{}", leader.address("metrics and health"));
    assert_eq!(
        http("GET", &format!("{observe}/healthz"), None),
        (200, "ok\n".to_owned())
    );
    let (status, readiness) = http("GET", &format!("{observe}/readyz"), None);
    let readiness: Value = serde_json::from_str(&readiness).unwrap();
    assert_eq!((status, &readiness["ready"]), (200, &Value::Bool(true)));
    let of = |name: &str| {
        let components = readiness["components"].as_array().unwrap();
        components
            .iter()
            .find(|component| component["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("cluster")["ok"], true);
    // The embedded engine has no files; that is shown, and the agent serves.
    let translog = of("translog");
    assert_eq!(
        (&translog["ok"], &translog["needed"]),
        (&Value::Bool(false), &Value::Bool(false))
    );
    assert!(!translog["reason"].as_str().unwrap().is_empty());
    let (_, metrics) = http("GET", &format!("{observe}/metrics"), None);
    let left = metrics
        .lines()
        .find_map(|line| line.strip_prefix("slipstream_certificate_expiry_seconds "))
        .unwrap();
    let left: f64 = left.parse().unwrap();
    assert!((364.0 * 86_400.0..=365.0 * 86_400.0).contains(&left), "{left}");

    leader.signal("HUP");
    leader.logged(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("certificates and allow rules reloaded"))
    });
    std::fs::write(folder.path().join("leader.toml"), "[cluster]\n").unwrap();
    leader.signal("HUP");
    let refused = leader.logged(|line| line["level"] == "ERROR");
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("[cluster] url: missing"),
        "{refused}"
    );
    assert_eq!(http("GET", &format!("{observe}/healthz"), None).0, 200);
    leader.signal("INT");
    assert_eq!(leader.end().code(), Some(0));
}

#[test]
fn a_leader_agent_whose_cluster_is_away_lives_and_says_that_it_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let away = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let mut leader = Running::start(&[
        "leader",
        "--config",
        &leader_file(folder.path(), &away, "a.example"),
    ]);
    let observe = format!("http://{}", leader.address("metrics and health"));
    assert_eq!(http("GET", &format!("{observe}/healthz"), None).0, 200);
    let (status, why) = http("GET", &format!("{observe}/readyz"), None);
    assert_eq!(status, 503);
    assert!(why.contains(&away) && why.contains("\"ready\":false"), "{why}");
    leader.signal("TERM");
    assert_eq!(leader.end().code(), Some(0));
}

#[test]
fn a_port_in_use_is_said_before_anything_works() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = follower_file(folder.path(), "127.0.0.1:9", "127.0.0.1:9");
    let output = process::slipstream(&["follower", "--config", &config])
        .env(
            "SLIPSTREAM_GATEWAY__ADDRESS",
            taken.local_addr().unwrap().to_string(),
        )
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("cannot listen on") && stderr.contains("[gateway] address"),
        "{stderr}"
    );
    assert!(!folder.path().join("store").exists());
}
