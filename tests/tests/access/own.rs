//! The gateway's own users and certificates over https, from the command line, and what can change while it runs.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_tests::agents::{Options, SOON, binary, issue};
use slipstream_tests::world::World;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{audited, start};

const RULES: &str = r#"
[[allow]]
user = "vera"
role = "view"

[[allow]]
user = "ada"
role = "administer"

[[allow]]
identity = "ops.example"
role = "operate"
indices = ["f*"]
"#;

/// Runs the command line; exit status, stdout, stderr.
pub(crate) async fn run(args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("stdin");
    // Most commands do not read it.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = tokio::time::timeout(SOON, child.wait_with_output())
        .await
        .expect("an end")
        .expect("output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The line of a user whose password is his name.
async fn line(name: &str) -> String {
    let (code, line, stderr) = run(&["password", name], &format!("{name}\n")).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        line.starts_with(&format!("{name}:$pbkdf2-sha256$")) && line.ends_with('\n'),
        "{line}"
    );
    line
}

/// Embedded clusters, and agents whose gateway knows `vera`, `ada` and the certificate of `ops.example`.
async fn world() -> World {
    let options = Options {
        gateway: "auth = \"users\"\nusers_file = \"users\"\naudit_file = \"audit.jsonl\"\ncert_file = \"certs/gateway.pem\"\n\
                  key_file = \"certs/gateway.key\"\nclient_ca_file = \"certs/ca.pem\"\n"
            .to_owned(),
        follower_extra: RULES.to_owned(),
        ..Options::default()
    };
    let mut world = World::prepare(options).await;
    let folder = world.agents.folder.path().to_owned();
    issue(&folder, "gateway", &["localhost", "127.0.0.1"]);
    issue(&folder, "ops", &["ops.example"]);
    issue(&folder, "stranger", &["stranger.example"]);
    std::fs::write(folder.join("users"), line("vera").await + &line("ada").await).expect("users");
    std::fs::write(folder.join("password"), "vera\n").expect("a password");
    let ca = std::fs::read(folder.join("certs/ca.pem")).expect("a CA");
    let url = format!("https://localhost:{}", world.agents.gateway_port());
    world.agents.gateway = Es::trusting(&url, Some(&ca)).as_user("ada", "ada");
    world.start_agents().await;
    world
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[tokio::test(flavor = "multi_thread")]
async fn people_prove_who_they_are_by_password_or_certificate() {
    let world = world().await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 0..10).await;
    let at = |name: &str| -> PathBuf { world.path(name) };
    let gateway = format!("--gateway=https://localhost:{}", world.agents.gateway_port());
    let (ca, password) = (at("certs/ca.pem"), at("password"));
    let trusting = [gateway.as_str(), "--ca-file", text(&ca)];
    let with = |args: &[&str], more: &[&str]| -> Vec<String> {
        [args, &trusting, more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let cli = async |args: &[&str], more: &[&str]| {
        let args = with(args, more);
        run(&args.iter().map(String::as_str).collect::<Vec<_>>(), "").await
    };
    let vera = ["--user", "vera", "--password-file", text(&password)];
    let begin = [
        "start",
        "f",
        "--leader",
        "leader-cluster",
        "--leader-index",
        "lead",
        "--wait",
    ];

    let (code, _, said) = cli(&["status"], &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("refused (401): missing authentication credentials") && said.contains("--user"),
        "{said}"
    );
    let (code, _, said) = cli(&begin, &vera).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("(403): no permissions for [indices:admin/plugins/replication/index/start]"),
        "{said}"
    );
    assert!(!world.target.exists("f").await, "nothing was made");

    let certificate = |name: &str| [at(&format!("certs/{name}.pem")), at(&format!("certs/{name}.key"))];
    let [cert, key] = certificate("ops");
    let (code, _, said) = cli(&begin, &["--cert-file", text(&cert), "--key-file", text(&key)]).await;
    assert_eq!(code, Some(0), "{said}");
    world.equal("lead", "f").await;
    let (code, shown, said) = cli(&["status"], &vera).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("SYNCING"), "{shown}");
    let [cert, key] = certificate("stranger");
    let (code, _, said) = cli(
        &["status"],
        &["--cert-file", text(&cert), "--key-file", text(&key)],
    )
    .await;
    assert!(
        code == Some(1) && said.contains("User [name=stranger.example,"),
        "{said}"
    );

    let (code, _, said) = run(&["status", &gateway], "").await;
    assert!(
        code == Some(1) && said.contains("--ca-file"),
        "the system does not trust that CA: {said}"
    );
    let action = "indices:admin/plugins/replication/index/start";
    assert_eq!(
        audited(&world.path("audit.jsonl")),
        [
            json!(["ada", "cluster:admin/settings/update", null, 200, "done"]),
            json!(["vera", action, "f", 403, "denied"]),
            json!(["ops.example", action, "f", 200, "done"]),
        ]
    );
    let (_, metrics) = world.agents.gateway.get_bytes("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    for outcome in ["ok", "unauthenticated", "forbidden"] {
        let counter = format!("slipstream_gateway_requests_total{{outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&counter), "{counter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_rules_and_certificates_change_without_a_restart() {
    let world = world().await;
    let vera = world.agents.gateway.as_user("vera", "vera");
    let looks = async |wanted: u16| {
        eventually(&format!("vera is answered {wanted}"), SOON, async || {
            match vera.try_get("/_slipstream/v1/indices").await {
                Ok((status, _)) if status == wanted => Ok(()),
                Ok((status, answer)) => Err(format!("{status} {answer}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    };
    looks(200).await;
    let found = super::doctor(&world.agents).await;
    for check in [
        "[gateway] certificate: good for",
        "[gateway] auth: 2 users, 3 rules",
        "audit.jsonl can be written",
    ] {
        assert!(found.contains(check), "{check} in {found}");
    }
    std::fs::write(world.path("users"), line("ada").await).expect("users");
    world.agents.follower.reload();
    world
        .agents
        .follower
        .logged(&["`vera` is not in `users_file`", "not reloaded"])
        .await;
    looks(200).await;
    world.edit(
        "follower.toml",
        "user = \"vera\"\nrole = \"view\"",
        "user = \"ada\"\nrole = \"view\"",
    );
    world.agents.follower.reload();
    world
        .agents
        .follower
        .logged(&["certificates, users and allow rules reloaded"])
        .await;
    looks(401).await;

    // Another certificate, whose CA the old clients do not know.
    let certs = world.path("certs").display().to_string();
    let other = world.path("other").display().to_string();
    slipstream_tests::agents::certs(&["init", &other]);
    slipstream_tests::agents::certs(&["issue", &other, "gateway", "--san", "localhost"]);
    for name in ["gateway.pem", "gateway.key"] {
        std::fs::copy(format!("{other}/{name}"), format!("{certs}/{name}")).expect("a copy");
    }
    world.agents.follower.reload();
    let ca = std::fs::read(format!("{other}/ca.pem")).expect("a CA");
    let url = format!("https://localhost:{}", world.agents.gateway_port());
    eventually("the new certificate is shown", SOON, async || {
        Es::trusting(&url, Some(&ca)).try_get("/healthz").await
    })
    .await;
    let old = std::fs::read(world.path("certs/ca.pem")).expect("a CA");
    assert!(Es::trusting(&url, Some(&old)).try_get("/healthz").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_done() {
    let world = world().await;
    world.create("lead", json!({}), json!({})).await;
    let audit = world.path("audit.jsonl");
    std::fs::remove_file(&audit).expect("it is there");
    std::fs::create_dir(&audit).expect("something else in its place");
    let (status, answer) = start(&world.agents.gateway, "f", "lead").await;
    assert_eq!(
        (status, &answer["error"]["type"]),
        (503, &json!("replication_exception")),
        "{answer}"
    );
    assert!(
        super::reason(&answer).contains("the audit log cannot be written"),
        "{answer}"
    );
    assert!(!world.target.exists("f").await);
    std::fs::remove_dir(&audit).expect("it is there");
    let (status, answer): (u16, Value) = start(&world.agents.gateway, "f", "lead").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(audited(&audit).len(), 1);
}
