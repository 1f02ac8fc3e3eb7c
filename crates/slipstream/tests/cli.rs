//! The command line: what it prints where, and with which exit status it ends.

mod process;

use std::os::unix::fs::PermissionsExt;

use process::{http, run};
use serde_json::Value;

#[test]
fn usage_errors_end_with_two_and_help_and_version_with_zero() {
    for args in [
        &[][..],
        &["nonsense"],
        &["leader"],
        &["start", "f1"],
        &["certs", "issue", "d", "n"],
        &["status", "--nope"],
    ] {
        assert_eq!(run(args).0, Some(2), "{args:?}");
    }
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), concat!("slipstream ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    let (code, stdout, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(
        [
            "demo", "leader", "follower", "sandbox", "certs", "start", "status"
        ]
        .iter()
        .all(|c| stdout.contains(c))
    );
}

#[test]
fn usage_errors_are_objects_where_json_is_asked_for() {
    for args in [&["status", "--nope", "--json"][..], &["--json", "start", "f1"]] {
        let (code, stdout, stderr) = run(args);
        let error: Value = serde_json::from_str(&stderr).unwrap();
        assert_eq!(
            (code, stdout.as_str(), &error["exit_status"]),
            (Some(2), "", &Value::from(2))
        );
        assert!(!error["error"]["cause"].as_str().unwrap().is_empty(), "{error}");
    }
}

#[test]
fn completions_go_to_stdout() {
    let (code, stdout, stderr) = run(&["completions", "bash"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("complete -F _slipstream"), "{stdout}");
}

#[test]
fn configuration_errors_end_with_two_and_say_what_to_do() {
    let (code, stdout, stderr) = run(&["leader", "--config", "/nonexistent/leader.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.starts_with("error: /nonexistent/leader.toml: ") && stderr.contains(" → "),
        "{stderr}"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("follower.toml");
    std::fs::write(&file, "[cluster]\nurl = \"http://h:9200\"\ncolour = 1\n").unwrap();
    let (code, _, stderr) = run(&["follower", "--config", file.to_str().unwrap(), "--json"]);
    let error: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((code, &error["exit_status"]), (Some(2), &Value::from(2)));
    let cause = error["error"]["cause"].as_str().unwrap();
    assert!(
        cause.ends_with("follower.toml:3: [cluster] colour: unknown key"),
        "{cause}"
    );
    assert!(
        error["error"]["remedy"]
            .as_str()
            .unwrap()
            .contains("password_file")
    );
}

#[test]
fn a_gateway_that_does_not_answer_is_a_failure_and_one_that_is_none_a_usage_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, stdout, stderr) = run(&["status", "--gateway", &format!("http://{free}")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("error: no answer from the gateway") && stderr.contains(" → "),
        "{stderr}"
    );
    assert_eq!(run(&["status", "--gateway", "nonsense"]).0, Some(2));
}

#[test]
fn who_somebody_is_never_stands_on_the_command_line_alone() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nope");
    let missing = missing.to_str().unwrap();
    for (args, said) in [
        (&["status", "--user", "anna"][..], "there is no password for anna"),
        (&["status", "--password-file", missing], "nobody whose it is"),
        (
            &["status", "--user", "anna", "--password-file", missing],
            "cannot read",
        ),
        (&["status", "--ca-file", missing], "cannot read"),
        (&["status", "--cert-file", missing], "--key-file"),
        (&["password", "an na"], "cannot be the name of a user"),
    ] {
        let (code, _, stderr) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    // Nothing is on the stdin of a test.
    let nothing = process::slipstream(&["password", "anna"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn certificates_are_made_once_and_keys_are_their_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    let text = dir.to_str().unwrap();
    let (code, stdout, _) = run(&["certs", "init", text]);
    assert_eq!(
        (code, stdout),
        (Some(0), format!("{text}/ca.pem\n{text}/ca.key\n"))
    );
    let (code, stdout, stderr) = run(&[
        "certs",
        "issue",
        text,
        "agent",
        "--san",
        "agent.example",
        "--san",
        "127.0.0.1",
        "--san",
        "spiffe://x/a",
        "--json",
    ]);
    assert_eq!(code, Some(0), "{stderr}");
    let files: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(files["key"], format!("{text}/agent.key"));
    for key in ["ca.key", "agent.key"] {
        assert_eq!(
            std::fs::metadata(dir.join(key)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{key}"
        );
    }
    for again in [
        &["certs", "init", text][..],
        &["certs", "issue", text, "agent", "--san", "a.example"],
    ] {
        let (code, _, stderr) = run(again);
        assert_eq!(code, Some(1));
        assert!(stderr.contains("exists already"), "{stderr}");
    }
    for (args, said) in [
        (
            ["certs", "issue", text, "b", "--san", "not a name"],
            "neither a DNS name",
        ),
        (
            ["certs", "issue", text, "../b", "--san", "b.example"],
            "cannot be the name of a certificate",
        ),
    ] {
        let (code, _, stderr) = run(&args);
        assert_eq!(code, Some(2));
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn the_sandbox_says_where_it_listens_and_ends_in_order() {
    let mut sandbox =
        process::Running::start(&["sandbox", "--listen", "127.0.0.1:0", "--engine", "elasticsearch"]);
    let address = sandbox.address("sandbox");
    let (status, about) = http("GET", &format!("http://{address}/"), None);
    assert_eq!(status, 200);
    assert!(about.contains("7.10.2"), "{about}");
    sandbox.signal("TERM");
    assert_eq!(sandbox.end().code(), Some(0));
}
