//! The replication calls where things are not quiet: many indices at once, two requests at the same moment, an agent or a
//! cluster that dies in the middle, a leader index that is deleted.
//!
//! Two embedded clusters and real agent processes. After each trouble the same request is made again, and has to do the right thing.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_sandbox::Endpoint;
use slipstream_testkit::client::{Es, NoAnswer, eventually};
use slipstream_tests::agents::{ALIAS, LONG, SOON};
use slipstream_tests::world::{World, pass, refusal};

const BASE: &str = "/_plugins/_replication";

/// Leader indices of ten documents each.
async fn create(world: &World, names: &[&str]) {
    for name in names {
        world.create(name, json!({}), json!({})).await;
        world.leader.write(name, 0..10).await;
    }
}

/// Begins a task over many indices, and waits until it has ended.
async fn many(gateway: &Es, call: &str, body: Value) -> Value {
    let (status, answer) = gateway.post(&format!("{BASE}/{call}"), &body).await;
    assert_eq!(
        (status, &answer["acknowledged"]),
        (200, &json!(true)),
        "{call}: {answer}"
    );
    let task = answer["task_id"].as_str().expect("a task").to_owned();
    eventually(&format!("{call} has ended"), SOON, async || {
        let (_, told) = gateway.get(&format!("{BASE}/_task_status/{task}")).await;
        if told["completed"] == true {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await
}

fn numbers(told: &Value) -> [Option<u64>; 4] {
    ["num_success", "num_failed", "num_pending", "num_cancelled"].map(|name| told[name].as_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_indices_are_started_paused_resumed_and_stopped_by_a_pattern() {
    let mut world = World::start().await;
    create(&world, &["logs-1", "logs-2", "logs-3", "logs-skip", "other"]).await;
    // One that cannot be started: its name is taken.
    world
        .target
        .put("/logs-3/_doc/mine", &json!({ "mine": true }))
        .await;
    let gateway = world.agents.gateway.clone();
    let start =
        json!({ "leader_alias": ALIAS, "pattern": "logs-*", "filters": { "exclude_index": ["*-skip"] } });
    let told = many(&gateway, "_bulk_start", start.clone()).await;
    assert_eq!(numbers(&told), [Some(2), Some(1), Some(0), Some(0)], "{told}");
    assert_eq!(told["failed_indices"][0]["index"], "logs-3", "{told}");
    let why = told["failed_indices"][0]["failure_reason"]
        .as_str()
        .unwrap_or_default();
    assert!(why.contains("Delete the index:logs-3"), "{told}");
    // The same again does what is left, and what is done counts as done.
    world.target.delete("/logs-3").await;
    let told = many(&gateway, "_bulk_start", start).await;
    assert_eq!(numbers(&told), [Some(3), Some(0), Some(0), Some(0)], "{told}");
    for index in ["logs-1", "logs-2", "logs-3"] {
        world.agents.wait_for_status(index, "SYNCING", SOON).await;
    }
    for index in ["logs-skip", "other"] {
        let status = world.agents.status(index).await;
        assert_eq!(
            status["status"], "REPLICATION NOT IN PROGRESS",
            "{index}: {status}"
        );
    }

    let all = json!({ "pattern": "logs-*" });
    for (call, states) in [
        ("_bulk_pause", vec!["PAUSED"]),
        ("_bulk_resume", vec!["SYNCING", "RUNNING"]),
    ] {
        for _ in 0..2 {
            let told = many(&gateway, call, all.clone()).await;
            assert_eq!(
                numbers(&told),
                [Some(3), Some(0), Some(0), Some(0)],
                "{call}: {told}"
            );
        }
        let (_, told) = gateway.get(&format!("{BASE}/_bulk_status?pattern=logs-*")).await;
        let told = told["indices"].as_object().cloned().unwrap_or_default();
        assert_eq!(told.len(), 3, "{told:?}");
        for (index, status) in told {
            assert!(
                states.contains(&status["status"].as_str().unwrap_or_default()),
                "{index}: {status}"
            );
        }
    }

    // One task at a time, which can be cancelled; what it has begun is carried through.
    world
        .target
        .faults()
        .delay(Endpoint::All, Duration::from_millis(300), Duration::ZERO);
    let (_, begun) = gateway
        .post(&format!("{BASE}/_bulk_stop"), &json!({ "pattern": "*" }))
        .await;
    let task = begun["task_id"].as_str().expect("a task").to_owned();
    let (status, answer) = gateway.post(&format!("{BASE}/_bulk_pause"), &all).await;
    refusal(
        (status, &answer),
        409,
        "illegal_state_exception",
        &[&task, "is still running"],
    );
    let (status, answer) = gateway
        .post(&format!("{BASE}/_task_cancel/{task}"), &json!({}))
        .await;
    assert_eq!(status, 200, "{answer}");
    world.target.faults().clear();
    let told = eventually("it has ended", SOON, async || {
        let (_, told) = gateway.get(&format!("{BASE}/_task_status/{task}")).await;
        if told["completed"] == true {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await;
    let [done, failed, pending, cancelled] = numbers(&told).map(Option::unwrap_or_default);
    assert_eq!((done + cancelled, failed, pending), (3, 0, 0), "{told}");
    let (status, answer) = gateway
        .post(&format!("{BASE}/_task_cancel/{task}"), &json!({}))
        .await;
    refusal(
        (status, &answer),
        404,
        "resource_not_found_exception",
        &["not found or already completed"],
    );

    // A task ends with the agent; the same request in the next life does the rest.
    world.agents.restart_follower(Duration::ZERO).await;
    let (status, answer) = gateway.get(&format!("{BASE}/_task_status/{task}")).await;
    refusal(
        (status, &answer),
        404,
        "resource_not_found_exception",
        &["not found or already completed"],
    );
    let (status, answer) = gateway
        .post(&format!("{BASE}/_bulk_stop"), &json!({ "pattern": "*" }))
        .await;
    assert!(status == 200 || (status == 404 && done == 3), "{status} {answer}");
    eventually("all are stopped", SOON, async || {
        let (_, told) = gateway.get(&format!("{BASE}/_bulk_status?pattern=*")).await;
        if told["indices"] == json!({}) {
            Ok(())
        } else {
            Err(told.to_string())
        }
    })
    .await;
    assert_eq!(world.target.count("logs-1").await, 10);
}

async fn switch(world: &World, on: bool) {
    let body = json!({ "persistent": { "plugins.replication.replicate.delete_index": on } });
    let (status, answer) = world.agents.gateway.put("/_cluster/settings", &body).await;
    assert_eq!(status, 200, "{answer}");
}

/// Waits until `f` neither follows nor exists.
async fn gone(world: &World) {
    eventually("[f] has gone with its leader", SOON, async || {
        let status = world.agents.status("f").await;
        let exists = world.target.exists("f").await;
        if status["status"] == "REPLICATION NOT IN PROGRESS" && !exists {
            Ok(())
        } else {
            Err(format!("{status}, exists: {exists}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_goes_with_its_leader_index_only_where_that_is_wanted_and_sure() {
    let mut world = World::start().await;
    world.following().await;
    switch(&world, true).await;

    // Not for a leader that cannot be asked, nor for one that is closed.
    world.agents.leader.kill();
    world.waits(&["cannot reach the leader agent"]).await;
    world.start_leader().await;
    world.goes_on("lead", "f").await;
    world.leader.call("/lead/_close").await;
    world.held("PAUSED", &["is closed"]).await;
    world.leader.call("/lead/_open").await;
    world.agents.command("f", "_resume").await;
    world.goes_on("lead", "f").await;

    // Nor for one that we may not ask: it may be there.
    world.edit("leader.toml", "indices = [\"*\"]", "indices = [\"lead-no-more\"]");
    world.agents.leader.reload();
    world.held("FAILED", &["may not read the index [lead]"]).await;
    world.leader.delete("/lead").await;
    world.agents.command("f", "_resume").await;
    world.held("FAILED", &["may not read the index [lead]"]).await;
    assert!(world.target.exists("f").await);

    // Made anew under the same name it is another index, and what there is of the old one may be wanted more than ever.
    world.create("lead", json!({}), json!({})).await;
    world.edit("leader.toml", "indices = [\"lead-no-more\"]", "indices = [\"*\"]");
    world.agents.leader.reload();
    eventually("it is held for another reason", SOON, async || {
        let status = world.agents.status("f").await;
        let reason = status["reason"].as_str().unwrap_or_default();
        if status["status"] == "PAUSED" && reason.contains("deleted and created again") {
            return Ok(());
        }
        // Until the rules are in force it fails again.
        if status["status"] == "FAILED" {
            world.agents.command("f", "_resume").await;
        }
        Err(status.to_string())
    })
    .await;
    assert!(world.target.count("f").await >= 10);

    // Deleted and not made anew it is gone for sure.
    world.leader.delete("/lead").await;
    world.agents.command("f", "_resume").await;
    gone(&world).await;

    // The name is free again.
    world.following().await;
    switch(&world, false).await;
    world.leader.delete("/lead").await;
    world.held("PAUSED", &["was deleted"]).await;
    assert_eq!(world.target.count("f").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_with_the_leader_is_carried_through_over_restarts() {
    let mut world = World::start().await;
    world.following().await;
    switch(&world, true).await;
    world.target.down().await;
    world.leader.delete("/lead").await;
    world.agents.wait_for_status("f", "STOPPING", SOON).await;
    world.agents.follower.kill();
    world.start_follower_alone().await;
    world.agents.wait_for_status("f", "STOPPING", SOON).await;
    world.target.up().await;
    gone(&world).await;
    assert!(
        world
            .agents
            .follower
            .log()
            .contains("[plugins.replication.replicate.delete_index] is on")
    );

    // Another index that has got the name meanwhile is not ours to delete.
    world.following().await;
    world.target.down().await;
    world.leader.delete("/lead").await;
    world.agents.wait_for_status("f", "STOPPING", SOON).await;
    world.agents.follower.kill();
    world.target.up().await;
    world.target.delete("/f").await;
    world.target.put("/f/_doc/mine", &json!({ "mine": true })).await;
    world.start_follower().await;
    world
        .agents
        .wait_for_status("f", "REPLICATION NOT IN PROGRESS", SOON)
        .await;
    assert_eq!(world.target.count("f").await, 1);
}

/// Two calls at the same moment: their statuses, the smaller first, and both answers.
async fn both(gateway: &Es, method: &'static str, path: &str, bodies: [Value; 2]) -> ([u16; 2], String) {
    let send = |body: Value| async move {
        let body = Some(("application/json", body.to_string().into_bytes()));
        gateway.try_send(method, path, body).await.expect("an answer")
    };
    let [first, second] = bodies;
    let (first, second) = tokio::join!(send(first), send(second));
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&first.1),
        String::from_utf8_lossy(&second.1)
    );
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    (statuses, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_at_the_same_moment_one_wins_and_the_other_is_told() {
    let world = World::start().await;
    create(&world, &["lead", "lead-2"]).await;
    let gateway = &world.agents.gateway;
    let start = |leader: &str| json!({ "leader_alias": ALIAS, "leader_index": leader });
    world
        .target
        .faults()
        .delay(Endpoint::All, Duration::from_millis(20), Duration::ZERO);
    for round in 0..5 {
        let (statuses, said) = both(
            gateway,
            "PUT",
            &format!("{BASE}/f/_start"),
            [start("lead"), start("lead-2")],
        )
        .await;
        assert_eq!(statuses, [200, 400], "round {round}: {said}");
        assert!(
            said.contains("Cant use same index again for replication. Delete the index:f"),
            "{said}"
        );
        let leader = world.agents.status("f").await["leader_index"]
            .as_str()
            .map(str::to_owned);
        let leader = leader.expect("it follows");
        world.agents.wait_for_status("f", "SYNCING", SOON).await;

        let (statuses, said) = both(
            gateway,
            "POST",
            &format!("{BASE}/f/_pause"),
            [json!({}), json!({})],
        )
        .await;
        assert_eq!(statuses, [200, 400], "{said}");
        assert!(said.contains("Index f is already paused"), "{said}");
        let (statuses, said) = both(
            gateway,
            "POST",
            &format!("{BASE}/f/_resume"),
            [json!({}), json!({})],
        )
        .await;
        assert_eq!(statuses, [200, 400], "{said}");
        assert!(
            said.contains("Replication on Index f is already running"),
            "{said}"
        );
        world.equal(&leader, "f").await;

        let (statuses, said) = both(
            gateway,
            "POST",
            &format!("{BASE}/f/_stop"),
            [json!({}), json!({})],
        )
        .await;
        assert_eq!(statuses, [200, 400], "{said}");
        assert!(said.contains("No replication in progress for index:f"), "{said}");
        world.target.delete("/f").await;
    }

    // A stop in the middle of a start: whichever way round, nothing goes on behind the caller's back.
    for _ in 0..5 {
        let starting = world.agents.try_follow("f", "lead");
        let stopping = async {
            pass(Duration::from_millis(30)).await;
            gateway.post(&format!("{BASE}/f/_stop"), &json!({})).await
        };
        let ((started, start_said), (stopped, stop_said)) = tokio::join!(starting, stopping);
        assert!(started == 200, "{start_said}");
        match stopped {
            // The start was not that far yet.
            400 => world.agents.command("f", "_stop").await,
            status => assert_eq!(status, 200, "{stop_said}"),
        }
        assert_eq!(
            world.agents.status("f").await["status"],
            "REPLICATION NOT IN PROGRESS"
        );
        world.target.delete("/f").await;
    }
    world.target.faults().clear();
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}

/// Who dies in the middle of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Follower,
    Leader,
    Target,
}

/// What came of a call in whose middle somebody died.
type Came = Result<(u16, Value), NoAnswer>;

/// Sends a call, and lets somebody die and come back while it is under way.
async fn in_the_middle(world: &mut World, who: Who, verb: &str, after: Duration) -> Came {
    let gateway = world.agents.gateway.clone();
    let (method, body) = match verb {
        "_start" => ("PUT", json!({ "leader_alias": ALIAS, "leader_index": "lead" })),
        _ => ("POST", json!({})),
    };
    let path = format!("{BASE}/f/{verb}");
    let call = tokio::spawn(async move {
        let sent = gateway.try_send(
            method,
            &path,
            Some(("application/json", body.to_string().into_bytes())),
        );
        sent.await
            .map(|(status, body)| (status, serde_json::from_slice(&body).unwrap_or_default()))
    });
    pass(after).await;
    match who {
        Who::Follower => world.agents.restart_follower(Duration::ZERO).await,
        Who::Leader => {
            world.agents.leader.kill();
            world.start_leader().await;
        }
        Who::Target => {
            world.target.down().await;
            pass(Duration::from_millis(100)).await;
            world.target.up().await;
        }
    }
    call.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_whose_middle_somebody_dies_can_be_made_again() {
    let mut world = World::start().await;
    create(&world, &["lead"]).await;
    let words = |verb: &str| match verb {
        "_start" => "Cant use same index again",
        "_pause" => "already paused",
        "_resume" => "already running",
        _ => "No replication in progress",
    };
    for who in [Who::Follower, Who::Leader, Who::Target] {
        for after in [5, 40, 120] {
            let after = Duration::from_millis(after);
            for verb in ["_start", "_pause", "_resume", "_stop"] {
                let at = format!("{verb}, {who:?} dies after {after:?}");
                world.target.faults().delay(
                    Endpoint::All,
                    Duration::from_millis(15),
                    Duration::from_millis(15),
                );
                let came = in_the_middle(&mut world, who, verb, after).await;
                world.target.faults().clear();
                // An answer is a yes, or a no that says whose fault it is; never a crash.
                if let Ok((status, answer)) = &came {
                    assert!([200, 503].contains(status), "{at}: {answer}");
                    if *status == 503 {
                        assert_eq!(answer["error"]["type"], "replication_exception", "{at}: {answer}");
                    }
                }
                // The same again: done, or told that it is done already, as soon as everybody is back.
                eventually(&format!("again: {at}"), LONG, async || {
                    let body = match verb {
                        "_start" => json!({ "leader_alias": ALIAS, "leader_index": "lead" }),
                        _ => json!({}),
                    };
                    let path = format!("{BASE}/f/{verb}");
                    let (status, answer) = match verb {
                        "_start" => world.agents.gateway.put(&path, &body).await,
                        _ => world.agents.gateway.post(&path, &body).await,
                    };
                    let reason = answer["error"]["reason"].as_str().unwrap_or_default();
                    let done = status == 200 || (status == 400 && reason.contains(words(verb)));
                    assert!(done || status == 503, "{at}: {status} {answer}");
                    if done { Ok(()) } else { Err(answer.to_string()) }
                })
                .await;
                match verb {
                    "_start" | "_resume" => {
                        world.agents.wait_for_status("f", "SYNCING", LONG).await;
                        world.equal("lead", "f").await;
                    }
                    "_pause" => {
                        world.agents.wait_for_status("f", "PAUSED", SOON).await;
                    }
                    _ => {
                        world
                            .agents
                            .wait_for_status("f", "REPLICATION NOT IN PROGRESS", SOON)
                            .await;
                        let (_, held) = world.target.es.get("/f/_settings?flat_settings=true").await;
                        assert!(
                            held["f"]["settings"].get("index.gc_deletes").is_none(),
                            "{at}: {held}"
                        );
                        world.target.delete("/f").await;
                    }
                }
            }
        }
    }
    assert!(!world.agents.follower.log().contains("panicked"));
    assert!(!world.agents.leader.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_can_be_followed_in_turn() {
    let world = World::start().await;
    world.following().await;
    let mut second = world.agents.one_more_leader("second", &world.target.url()).await;
    second.process.start();
    second.process.logged(&["listening", "follower agents"]).await;
    let body =
        json!({ "persistent": { "cluster.remote.second.seeds": [second.link.address().to_string()] } });
    assert_eq!(world.agents.gateway.put("/_cluster/settings", &body).await.0, 200);
    let start = json!({ "leader_alias": "second", "leader_index": "f" });
    let (status, answer) = world
        .agents
        .gateway
        .put(&format!("{BASE}/g/_start?wait_for_restore"), &start)
        .await;
    assert_eq!(status, 200, "{answer}");
    world.leader.write("lead", 20..25).await;
    world.leader.delete("/lead/_doc/21").await;
    world.equal("lead", "f").await;
    eventually("the follower's follower has it all", SOON, async || {
        match world.target.count("g").await {
            14 => Ok(()),
            count => Err(format!("{count} documents")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_the_target_refuses_leaves_nothing_behind() {
    let world = World::start().await;
    create(&world, &["lead"]).await;
    let path = format!("{BASE}/f/_start");
    let start =
        |settings: Value| json!({ "leader_alias": ALIAS, "leader_index": "lead", "settings": settings });
    for (settings, words) in [
        (json!({ "index.bogus": 1 }), "index.bogus"),
        (
            json!({ "index.number_of_replicas": "many" }),
            "index.number_of_replicas",
        ),
        (
            json!({ "index.number_of_shards": 3 }),
            "the follower's shards must be the leader's",
        ),
    ] {
        let (status, answer) = world.agents.gateway.put(&path, &start(settings)).await;
        refusal((status, &answer), 400, "illegal_argument_exception", &[words]);
        assert_eq!(
            world.agents.status("f").await["status"],
            "REPLICATION NOT IN PROGRESS"
        );
        assert!(!world.target.exists("f").await, "{words}");
    }
    let (status, answer) = world.agents.gateway.put(&path, &start(json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_failed_cannot_be_paused_but_resumed_and_stopped() {
    let world = World::start().await;
    world.following().await;
    let (all, none) = ("indices = [\"*\"]", "indices = [\"nothing\"]");
    for end in ["_resume", "_stop"] {
        world.edit("leader.toml", all, none);
        world.agents.leader.reload();
        world.held("FAILED", &["may not read the index [lead]"]).await;
        let (status, answer) = world
            .agents
            .gateway
            .post(&format!("{BASE}/f/_pause"), &json!({}))
            .await;
        let words = ["Cannot pause when in FAILED state"];
        refusal((status, &answer), 400, "illegal_argument_exception", &words);
        world.edit("leader.toml", none, all);
        world.agents.leader.reload();
        if end == "_stop" {
            world.agents.command("f", end).await;
            continue;
        }
        eventually("it goes on once the rules are in force", SOON, async || {
            let status = world.agents.status("f").await;
            match status["status"].as_str() {
                Some("SYNCING") if !status["syncing_details"].is_null() => return Ok(()),
                Some("FAILED") => world.agents.command("f", end).await,
                _ => {}
            }
            Err(status.to_string())
        })
        .await;
        world.goes_on("lead", "f").await;
    }
    world.target.put("/f/_doc/mine", &json!({ "n": -1 })).await;
}
