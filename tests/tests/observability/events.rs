//! What operators alert on has a name in the log.

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{ALIAS, Options, SOON};
use slipstream_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_carry_the_names_of_events() {
    let mut world = World::prepare(Options::default()).await;
    world.agents.leader.logs_json();
    world.agents.follower.logs_json();
    world.start_agents().await;
    world.following().await;
    let of_f = ("index", json!("f"));
    let agents = &mut world.agents;
    for agent in [&agents.leader, &agents.follower] {
        agent.event("agent_started", &[("level", json!("INFO"))]).await;
    }
    agents
        .follower
        .event("index_started", &[of_f.clone(), ("leader_index", json!("lead"))])
        .await;
    let syncing = [of_f.clone(), ("phase", json!("SYNCING"))];
    agents.follower.event("index_state_changed", &syncing).await;

    agents.command("f", "_pause").await;
    agents
        .follower
        .event("index_paused", std::slice::from_ref(&of_f))
        .await;
    agents.command("f", "_resume").await;
    let (status, _) = agents.try_follow("g", "not-there").await;
    assert_eq!(status, 404);
    let failed = agents
        .follower
        .event(
            "index_start_failed",
            &[("index", json!("g")), ("level", json!("WARN"))],
        )
        .await;
    assert!(
        failed["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("not-there"),
        "{failed}"
    );

    // Behind this the session waits for nothing but frames: not for the leader's metadata, which would be told instead.
    let document = json!({ "n": 1 });
    world.leader.put("/lead/_doc/after-the-resume", &document).await;
    eventually("the resumed shard is read again", SOON, async || {
        match world.target.es.get("/f/_doc/after-the-resume").await {
            (200, _) => Ok(()),
            (_, missing) => Err(missing.to_string()),
        }
    })
    .await;
    agents.leader.kill();
    let cut = agents
        .follower
        .event("session_cut", &[("shard", json!("[f][0]"))])
        .await;
    assert_eq!(cut["level"], "WARN", "{cut}");
    let unreachable = [("others_stand_in", Value::Bool(false))];
    agents
        .follower
        .event("leader_agent_unreachable", &unreachable)
        .await;
    let gateway = agents.gateway.clone();
    eventually(
        "the leader's absence is shown, and takes nobody out of service",
        SOON,
        async || {
            let (status, readiness) = gateway.get("/readyz").await;
            assert_eq!((status, &readiness["ready"]), (200, &json!(true)), "{readiness}");
            let of = |name: &str| {
                let components = readiness["components"].as_array().into_iter().flatten();
                components
                    .into_iter()
                    .find(|component| component["name"] == name)
                    .cloned()
            };
            for name in ["store", "target", "certificate"] {
                assert_eq!(
                    of(name).map(|found| found["ok"].clone()),
                    Some(json!(true)),
                    "{readiness}"
                );
            }
            match of(&format!("leader {ALIAS}")) {
                Some(leader) if leader["ok"] == false && leader["reason"] != Value::Null => Ok(()),
                _ => Err(readiness.to_string()),
            }
        },
    )
    .await;
    agents.leader.start();
    agents.follower.event("leader_agent_back", &[]).await;
    agents.follower.event("session_reconnected", &[]).await;
    let told = agents.follower.events("leader_agent_unreachable").len();
    assert_eq!(told, 1, "an outage is told once");

    world.target.down().await;
    world.leader.write("lead", 20..30).await;
    let agents = &mut world.agents;
    agents.follower.event("cluster_unreachable", &[]).await;
    world.target.up().await;
    agents.follower.event("cluster_back", &[]).await;
    world.goes_on("lead", "f").await;

    world.leader.delete("/lead").await;
    let agents = &mut world.agents;
    agents.wait_for_status("f", "PAUSED", SOON).await;
    let held = agents
        .follower
        .event("index_paused_by_itself", std::slice::from_ref(&of_f))
        .await;
    assert_eq!(held["level"], "WARN", "{held}");
    agents.command("f", "_stop").await;
    agents.follower.event("index_stopped", &[of_f]).await;

    std::fs::write(agents.folder.path().join("certs/follower.key"), "no key").expect("a file");
    agents.follower.reload();
    agents.follower.event("reload_failed", &[]).await;
    assert_eq!(agents.follower.terminate().await, Some(0));
    agents.follower.event("agent_stopping", &[]).await;
    agents.follower.event("agent_stopped", &[]).await;
}
