//! Rules and settings from one place: auto-follow by names, overrides while following.
//!
//! Two embedded clusters, real agent processes, and the calls that an operator's scripts make.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{ALIAS, SOON, binary};
use slipstream_tests::world::{World, pass, refusal};

const RULES: &str = "/_plugins/_replication/_autofollow";

/// Makes a rule for `logs-*` with these fields besides.
async fn add_rule(world: &World, name: &str, more: Value) {
    let mut body = json!({ "leader_alias": ALIAS, "name": name, "pattern": "logs-*" });
    for (field, value) in more.as_object().into_iter().flatten() {
        body[field] = value.clone();
    }
    let (status, answer) = world.agents.gateway.post(RULES, &body).await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
}

/// Leader indices of one document each.
async fn create(world: &World, names: &[&str]) {
    for name in names {
        world.create(name, json!({}), json!({})).await;
        world.leader.write(name, 0..1).await;
    }
}

async fn follows(world: &World, index: &str) {
    world.agents.wait_for_status(index, "SYNCING", SOON).await;
}

async fn is_not_followed(world: &World, index: &str) {
    let status = world.agents.status(index).await;
    assert_eq!(
        status["status"], "REPLICATION NOT IN PROGRESS",
        "[{index}]: {status}"
    );
}

/// Runs `slipstream doctor` on an agent's file: its exit status, and what it printed.
fn doctor(world: &World, file: &str) -> (Option<i32>, String) {
    let output = std::process::Command::new(binary())
        .args(["doctor", "--config"])
        .arg(world.path(file))
        .output()
        .expect("it starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

/// Runs a command of the binary against the gateway: whether it went well, and what it printed.
fn command(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(binary())
        .args(arguments)
        .args([
            "--gateway",
            &format!("http://127.0.0.1:{}", world.agents.gateway_port()),
        ])
        .output()
        .expect("it starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_follows_what_there_is_and_what_comes() {
    let world = World::start().await;
    create(&world, &["logs-1", "logs-debug-1", "metrics-1", "logs-shut"]).await;
    world.leader.call("/logs-shut/_close").await;
    add_rule(
        &world,
        "logs",
        json!({ "exclude": ["logs-debug-*"], "settings": { "number_of_replicas": 1 } }),
    )
    .await;
    follows(&world, "logs-1").await;

    create(&world, &["logs-2"]).await;
    follows(&world, "logs-2").await;
    // Opened, it is one more; by then the others would have come too.
    world.leader.call("/logs-shut/_open").await;
    follows(&world, "logs-shut").await;
    for index in ["logs-debug-1", "metrics-1"] {
        is_not_followed(&world, index).await;
    }

    let (_, stats) = world
        .agents
        .gateway
        .get("/_plugins/_replication/autofollow_stats")
        .await;
    assert_eq!(stats["num_success_start_replication"], 3, "{stats}");
    assert_eq!(stats["autofollow_stats"][0]["pattern"], "logs-*", "{stats}");
    let (_, settings) = world.target.es.get("/logs-2/_settings?flat_settings=true").await;
    assert_eq!(
        settings["logs-2"]["settings"]["index.number_of_replicas"], "1",
        "{settings}"
    );

    // Without the rule nothing new comes, and what it started goes on.
    let (well, said) = command(&world, &["autofollow", "remove", "logs", "--leader", ALIAS]);
    assert!(well && said.contains("what it has started goes on"), "{said}");
    create(&world, &["logs-3"]).await;
    world.leader.write("logs-1", 10..12).await;
    eventually("what was started goes on", SOON, async || {
        match world.target.count("logs-1").await {
            3 => Ok(()),
            count => Err(format!("{count} documents")),
        }
    })
    .await;
    pass(Duration::from_millis(1_200)).await;
    is_not_followed(&world, "logs-3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_stops_stays_stopped_also_over_a_restart() {
    let mut world = World::start().await;
    create(&world, &["logs-1"]).await;
    add_rule(
        &world,
        "logs",
        json!({ "follower_index_pattern": "copy-of-{{leader_index}}" }),
    )
    .await;
    follows(&world, "copy-of-logs-1").await;
    world.agents.command("copy-of-logs-1", "_stop").await;
    world.target.delete("/copy-of-logs-1").await;
    create(&world, &["logs-2"]).await;
    follows(&world, "copy-of-logs-2").await;

    world.agents.restart_follower(Duration::ZERO).await;
    create(&world, &["logs-3"]).await;
    follows(&world, "copy-of-logs-3").await;
    is_not_followed(&world, "copy-of-logs-1").await;
    assert!(!world.target.exists("copy-of-logs-1").await);

    // Made again it is another index.
    world.leader.delete("/logs-1").await;
    create(&world, &["logs-1"]).await;
    follows(&world, "copy-of-logs-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_listed_with_the_reason_and_tried_again() {
    let mut world = World::start().await;
    create(&world, &["logs-1", "logs-2"]).await;
    world
        .target
        .put("/logs-1/_doc/mine", &json!({ "mine": true }))
        .await;
    add_rule(&world, "logs", json!({})).await;
    follows(&world, "logs-2").await;
    let told = eventually("it is listed", SOON, async || {
        let (well, said) = command(&world, &["autofollow", "list"]);
        assert!(well, "{said}");
        if said.contains("logs-1 could not be started") {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await;
    assert!(
        told.contains("Cant use same index again for replication. Delete the index:logs-1"),
        "{told}"
    );
    let (_, stats) = world
        .agents
        .gateway
        .get("/_opendistro/_replication/autofollow_stats")
        .await;
    assert_eq!(stats["failed_indices"], json!(["logs-1"]), "{stats}");

    world.target.delete("/logs-1").await;
    follows(&world, "logs-1").await;
    world.equal("logs-1", "logs-1").await;

    // A leader that cannot be asked is told too, and asked again.
    world.agents.leader.kill();
    let error = eventually("the rule says that the leader is away", SOON, async || {
        let (_, rules) = world.agents.gateway.get("/_slipstream/v1/autofollow").await;
        let error = rules["rules"][0]["leader_error"].as_str().map(str::to_owned);
        error.ok_or_else(|| rules.to_string())
    })
    .await;
    assert!(error.contains("leader"), "{error}");
    world.start_leader().await;
    create(&world, &["logs-3"]).await;
    follows(&world, "logs-3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cannot_be_are_refused() {
    let world = World::start().await;
    let gateway = &world.agents.gateway;
    let unknown = json!({ "leader_alias": "nobody", "name": "r", "pattern": "*" });
    let (status, answer) = gateway.post(RULES, &unknown).await;
    let words = ["no such remote cluster: [nobody]"];
    refusal((status, &answer), 404, "no_such_remote_cluster_exception", &words);

    let nameless =
        json!({ "leader_alias": ALIAS, "name": "r", "pattern": "*", "follower_index_pattern": "one" });
    let (status, answer) = gateway.post(RULES, &nameless).await;
    let words = ["must contain {{leader_index}}"];
    refusal((status, &answer), 400, "illegal_argument_exception", &words);

    add_rule(&world, "logs", json!({})).await;
    let again = json!({ "leader_alias": ALIAS, "name": "logs", "pattern": "other-*" });
    let (status, answer) = gateway.post(RULES, &again).await;
    let words = ["[logs]", "exists already", "delete it first"];
    refusal(
        (status, &answer),
        400,
        "resource_already_exists_exception",
        &words,
    );

    // The leader of a rule cannot be forgotten.
    let forget = json!({ "persistent": { "cluster.remote": { ALIAS: { "seeds": null } } } });
    let (status, answer) = gateway.put("/_cluster/settings", &forget).await;
    let words = ["still used by the autofollow rule [logs]", "delete that first"];
    refusal((status, &answer), 409, "illegal_argument_exception", &words);

    let (well, said) = command(&world, &["autofollow", "remove", "nothing", "--leader", ALIAS]);
    assert!(!well && said.contains("does not exist"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_can_be_switched_off_and_the_switch_survives_a_restart() {
    let mut world = World::start().await;
    create(&world, &["logs-1"]).await;
    let block = |on: bool| json!({ "persistent": { "plugins.replication.follower.block.start": on } });
    let (status, answer) = world.agents.gateway.put("/_cluster/settings", &block(true)).await;
    assert_eq!(status, 200, "{answer}");
    world.agents.restart_follower(Duration::ZERO).await;
    let words = ["Replication START block is set"];
    world.refused("logs-1", 403, "status_exception", &words).await;
    let (_, shown) = world
        .agents
        .gateway
        .get("/_cluster/settings?flat_settings=true")
        .await;
    assert_eq!(
        shown["persistent"]["plugins.replication.follower.block.start"], "true",
        "{shown}"
    );

    let (status, answer) = world
        .agents
        .gateway
        .put("/_cluster/settings", &block(false))
        .await;
    assert_eq!(status, 200, "{answer}");
    world.agents.follow("f", "logs-1").await;
    follows(&world, "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_are_replaced_while_following() {
    let world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    let start =
        json!({ "leader_alias": ALIAS, "leader_index": "lead", "settings": { "refresh_interval": "7s" } });
    let (status, answer) = world
        .agents
        .gateway
        .put("/_plugins/_replication/f/_start", &start)
        .await;
    assert_eq!(status, 200, "{answer}");
    follows(&world, "f").await;
    let settings = async |wanted: &[(&str, &str)]| {
        eventually("the target has the settings", SOON, async || {
            let (_, held) = world.target.es.get("/f/_settings?flat_settings=true").await;
            let held = &held["f"]["settings"];
            if wanted.iter().all(|(name, value)| held[*name] == *value) {
                Ok(())
            } else {
                Err(held.to_string())
            }
        })
        .await;
    };
    settings(&[("index.refresh_interval", "7s")]).await;

    let update = async |body: Value| {
        let (status, answer) = world
            .agents
            .gateway
            .put("/_plugins/_replication/f/_update", &body)
            .await;
        assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    };
    update(json!({ "settings": { "index": { "number_of_replicas": 2 } } })).await;
    // What was given before is given no longer.
    settings(&[
        ("index.number_of_replicas", "2"),
        ("index.refresh_interval", "100ms"),
    ])
    .await;

    // Also of one that is paused: it counts from the resumption.
    world.agents.command("f", "_pause").await;
    update(json!({})).await;
    assert_eq!(world.agents.status("f").await["status"], "PAUSED");
    world.agents.command("f", "_resume").await;
    settings(&[("index.number_of_replicas", "0")]).await;
    world.leader.write("lead", 0..5).await;
    world.equal("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_well_and_what_to_change() {
    let mut world = World::start().await;
    create(&world, &["logs-1", "logs-2"]).await;
    let link = world.agents.link.address();
    world.edit(
        "follower.toml",
        "[store]",
        &format!("[[leader]]\nalias = \"{ALIAS}\"\nagents = [\"{link}\"]\n\n[store]"),
    );
    let (code, said) = doctor(&world, "leader.toml");
    let words = [
        "ok      cluster: elasticsearch 7.10.2 [leader]",
        "ok      clock",
        "ok      certificate: good for",
        "follower.test may read 2 of the open indices",
        "is in use",
        "look    fast path",
    ];
    says(&said, &words);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = doctor(&world, "follower.toml");
    let words = [
        "ok      cluster: opensearch 2.19.1 [target]",
        "store can be written",
        "ok      leader leader-cluster",
        "knows us as follower.test",
        "2 indices there may be read",
    ];
    says(&said, &words);
    assert_eq!(code, Some(0), "{said}");

    world.agents.leader.kill();
    world.target.down().await;
    let (code, said) = doctor(&world, "follower.toml");
    let words = [
        "FAILED  cluster",
        "cannot connect",
        "→ check [cluster] url",
        "FAILED  leader leader-cluster",
        "→ check that the leader agent runs",
        "2 checks failed",
    ];
    says(&said, &words);
    assert_eq!(code, Some(1), "{said}");

    world.edit(
        "leader.toml",
        "identity = \"follower.test\"",
        "identiti = \"follower.test\"",
    );
    let (code, said) = doctor(&world, "leader.toml");
    says(&said, &["leader.toml:", "identity: missing", "→ add `identity`"]);
    assert_eq!(code, Some(2), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_finds_exactly_what_differs() {
    let mut world = World::start().await;
    world.following().await;
    // It reads as many at once as the index gives.
    let few = json!({ "index": { "max_result_window": 4 } });
    world.leader.put("/lead/_settings", &few).await;
    world.target.put("/f/_settings", &few).await;
    let (well, said) = command(&world, &["verify", "f"]);
    assert!(well, "{said}");
    says(&said, &["f is equal: 10 documents"]);

    // Written past the gateway, as nobody should.
    world.target.put("/f/_doc/3", &json!({ "n": -1 })).await;
    world.target.put("/f/_doc/extra", &json!({ "mine": true })).await;
    world.target.delete("/f/_doc/7").await;
    let (well, said) = command(&world, &["verify", "f"]);
    assert!(!well, "{said}");
    let words = [
        "document \"3\" is different (version on the leader 1, here 2)",
        "document \"extra\" is extra (version on the leader none, here 1)",
        "document \"7\" is missing (version on the leader 1, here none)",
        "f differs from its leader",
    ];
    says(&said, &words);
    assert_eq!(said.matches("document \"").count(), 3, "{said}");
    let (_, told) = world.agents.gateway.get("/_slipstream/v1/indices/f/verify").await;
    assert_eq!(told["outcome"], "different", "{told}");
    assert_eq!(told["differences"].as_array().map(Vec::len), Some(3), "{told}");

    // What changes while it is being compared is no difference.
    world.create("busy", json!({}), json!({})).await;
    world.agents.follow("g", "busy").await;
    let writing = async {
        for round in 0..40 {
            world.leader.write("busy", 0..50).await;
            world.leader.delete(&format!("/busy/_doc/{round}")).await;
        }
    };
    let gateway = &world.agents.gateway;
    let comparing = async {
        let (status, answer) = gateway.post("/_slipstream/v1/indices/g/verify", &json!({})).await;
        assert_eq!(status, 200, "{answer}");
        eventually("it has been compared", SOON, async || {
            let (_, told) = gateway.get("/_slipstream/v1/indices/g/verify").await;
            if told["outcome"] == "running" {
                Err(told.to_string())
            } else {
                Ok(told)
            }
        })
        .await
    };
    let ((), told) = tokio::join!(writing, comparing);
    assert_eq!(told["outcome"], "equal", "{told}");

    world.agents.leader.kill();
    let output = std::process::Command::new(binary())
        .args([
            "verify",
            "f",
            "--gateway",
            &format!("http://127.0.0.1:{}", world.agents.gateway_port()),
        ])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    says(&said, &["it could not be told whether f is equal"]);
    let (status, answer) = world
        .agents
        .gateway
        .post("/_slipstream/v1/indices/nope/verify", &json!({}))
        .await;
    let words = ["No replication in progress for index:nope"];
    refusal((status, &answer), 400, "illegal_argument_exception", &words);
}
