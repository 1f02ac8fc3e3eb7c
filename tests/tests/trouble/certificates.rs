//! Certificates and rules: who is let in, what both sides say of it, and that mending takes no restart.

use std::path::Path;
use std::time::{Duration, SystemTime};

use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{Options, SOON, certs, issue};
use slipstream_wire::certs::{San, Validity, issue as issue_for};

use slipstream_tests::world::{World, ends, pass};

/// Puts a certificate for `follower.test` in place that is good from an hour ago until `end`.
fn issue_until(world: &World, name: &str, end: SystemTime) {
    let validity = Validity {
        not_before: SystemTime::now() - Duration::from_hours(1),
        not_after: end,
    };
    let sans = [San::parse("follower.test").expect("a name")];
    issue_for(&world.path("certs"), name, &sans, validity).expect("a certificate");
    install(world, &world.path("certs"), name, "follower");
}

/// Copies a certificate and its key over an agent's.
fn install(world: &World, from: &Path, name: &str, agent: &str) {
    for kind in ["pem", "key"] {
        let to = world.path("certs").join(format!("{agent}.{kind}"));
        std::fs::copy(from.join(format!("{name}.{kind}")), to).expect("a file");
    }
}

/// A CA that nobody trusts, and a certificate of it.
fn strange(world: &World, name: &str, sans: &[&str]) -> std::path::PathBuf {
    let folder = world.path("strange");
    certs(&["init", &folder.join("certs").display().to_string()]);
    issue(&folder, name, sans);
    folder.join("certs")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_an_expired_certificate_does_not_start() {
    let mut world = World::prepare(Options::default()).await;
    install_backup(&world);
    issue_until(&world, "expired", SystemTime::now() - Duration::from_mins(1));
    let (code, said) = ends("follower", world.agents.follower.config(), &[]).await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("follower.pem` expired at") && said.contains("have a new one issued"),
        "{said}"
    );
    assert!(said.contains("follower.toml"), "{said}");

    install(&world, &world.path("backup"), "follower", "follower");
    world.start_agents().await;
    world.following().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_is_replaced_without_a_restart() {
    let mut world = World::prepare(Options::default()).await;
    install_backup(&world);
    world.start_agents().await;
    world.following().await;
    let mut tries = 0;
    let end = eventually(
        "a certificate is taken that lives for seconds",
        SOON,
        async || {
            tries += 1;
            let end = SystemTime::now() + Duration::from_secs(3);
            issue_until(&world, &format!("brief{tries}"), end);
            let reloads = || {
                world
                    .agents
                    .follower
                    .log()
                    .matches("certificate_reloaded")
                    .count()
            };
            let before = reloads();
            world.agents.follower.reload();
            while SystemTime::now() < end {
                if reloads() > before {
                    return Ok(end);
                }
                pass(Duration::from_millis(20)).await;
            }
            Err("it was not reloaded before it expired")
        },
    )
    .await;
    // Certificates count to the second.
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    pass(left + Duration::from_secs(1)).await;
    world.agents.link.disconnect();
    world
        .waits(&[
            "127.0.0.1",
            "refused our certificate: it has expired",
            "have a new one issued",
        ])
        .await;
    world
        .agents
        .leader
        .logged(&["refused a connection", "certificate has expired"])
        .await;
    world.leader.write("lead", 10..20).await;

    install(&world, &world.path("backup"), "follower", "follower");
    world.agents.follower.reload();
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_certificate_from_another_ca_is_refused_on_both_sides() {
    let mut world = World::prepare(Options::default()).await;
    install_backup(&world);
    let theirs = strange(&world, "follower", &["follower.test"]);
    install(&world, &theirs, "follower", "follower");
    world.start_agents().await;
    let words = ["refused our certificate: an unknown CA signed it", "tls.ca_file"];
    world.refused("lead", 503, "replication_exception", &words).await;
    world
        .agents
        .leader
        .logged(&["refused a connection", "certificate was signed by an unknown CA"])
        .await;

    install(&world, &world.path("backup"), "follower", "follower");
    world.agents.follower.reload();
    world.agents.follower.logged(&["certificate_reloaded"]).await;
    world.following().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_agent_with_a_certificate_from_another_ca_is_not_trusted() {
    let mut world = World::prepare(Options::default()).await;
    for kind in ["pem", "key"] {
        let certs = world.path("certs");
        std::fs::copy(
            certs.join(format!("leader.{kind}")),
            certs.join(format!("kept.{kind}")),
        )
        .expect("a file");
    }
    let theirs = strange(&world, "leader", &["127.0.0.1"]);
    install(&world, &theirs, "leader", "leader");
    world.start_agents().await;
    let words = [
        "is not trusted: its certificate was signed by an unknown CA",
        "tls.ca_file",
    ];
    world.refused("lead", 503, "replication_exception", &words).await;
    world
        .agents
        .leader
        .logged(&[
            "refused a connection",
            "the client did not accept our certificate",
        ])
        .await;

    install(&world, &world.path("certs"), "kept", "leader");
    world.agents.leader.reload();
    world
        .agents
        .leader
        .logged(&["certificates and allow rules reloaded"])
        .await;
    world.following().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_no_rule_allows_is_refused_with_the_identity_in_the_leaders_log() {
    let mut world = World::prepare(Options {
        allow: vec!["lead*".to_owned()],
        ..Options::default()
    })
    .await;
    world.start_agents().await;
    world
        .create("secret", serde_json::json!({}), serde_json::json!({}))
        .await;
    let words = ["follower.test may not read the index [secret]", "[[allow]] rule"];
    world.refused("secret", 403, "security_exception", &words).await;
    let line = [
        "refused an index that no rule allows",
        "identity=follower.test",
        "index=secret",
    ];
    world.agents.leader.logged(&line).await;
    // Whether an index exists is not told to whom may not read it.
    let words = ["follower.test may not read the index [missing]"];
    world.refused("missing", 403, "security_exception", &words).await;
    world.following().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_revoked_ends_the_stream_and_one_given_back_resumes_it() {
    let world = World::start().await;
    world.following().await;
    world.edit("leader.toml", "indices = [\"*\"]", "indices = [\"other\"]");
    world.agents.leader.reload();
    world
        .held(
            "FAILED",
            &["follower.test may not read the index [lead]", "[[allow]] rule"],
        )
        .await;
    let line = [
        "the rules no longer allow an open stream",
        "identity=follower.test",
        "index=lead",
    ];
    world.agents.leader.logged(&line).await;
    world.leader.write("lead", 10..20).await;
    assert_eq!(world.target.count("f").await, 10);

    world.edit("leader.toml", "indices = [\"other\"]", "indices = [\"lead\"]");
    world.agents.leader.reload();
    eventually("the rules are reloaded", SOON, async || {
        let log = world.agents.leader.log();
        if log.matches("certificates and allow rules reloaded").count() == 2 {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    world.agents.command("f", "_resume").await;
    world.goes_on("lead", "f").await;
}

/// Keeps the follower's good certificate for later.
fn install_backup(world: &World) {
    std::fs::create_dir(world.path("backup")).expect("a folder");
    for kind in ["pem", "key"] {
        let name = format!("follower.{kind}");
        std::fs::copy(world.path("certs").join(&name), world.path("backup").join(&name)).expect("a file");
    }
}
