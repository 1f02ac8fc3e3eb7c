//! Shards that are where they are, and shards that move: one by one, and a whole index.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::eventually;
use slipstream_testkit::workload::{StormIndex, Workload};
use slipstream_tests::agents::{LONG, SOON};
use tokio::time::sleep;

use crate::places::{Holders, holders};
use crate::world::{World, bulk, copy};

/// The index that most phases write to.
pub(crate) const SPREAD: &str = "spread";
/// The index without replicas.
pub(crate) const LONELY: &str = "lonely";

/// How long it may take until a session goes to the agent beside a copy that was not there, or not answering, when it began: it
/// looks every 15 s, at what may be 15 s old.
pub(crate) const FOUND: Duration = Duration::from_secs(45);

/// Each shard is read beside its primary, each agent has the streams of the primaries on its node, and every kind of change
/// arrives.
pub(crate) async fn spread_over_all_agents(world: &World, seed: u64) -> Workload {
    let workload = Workload::new(seed).with_indices(vec![StormIndex {
        name: SPREAD.to_owned(),
        shards: 6,
        versions_restart: true,
    }]);
    workload.create_indices(&world.source()).await;
    world.set(SPREAD, json!({ "number_of_replicas": 1 })).await;
    world.leader.wait_for_green(SPREAD).await;
    world.write(&workload, Duration::from_secs(1)).await;
    world.follow(SPREAD).await;
    world.tailed_beside_primaries(SPREAD, SOON).await;

    let holders = holders(&world.source(), SPREAD).await;
    for (number, agent) in world.beside.iter().enumerate() {
        let node = world.node(number);
        let primaries = holders
            .values()
            .filter(|shard| shard.primary.as_deref() == Some(node));
        let primaries = primaries.count() as u64;
        assert!(
            primaries > 0,
            "[{SPREAD}] has no primary on [{node}]: {holders:?}"
        );
        assert_eq!(
            agent.sessions().await,
            Some(primaries),
            "streams of the agent beside [{node}]"
        );
    }

    world.write(&workload, Duration::from_secs(2)).await;
    world.equal(SPREAD).await;
    world.tailed_beside_primaries(SPREAD, SOON).await;
    workload
}

/// All of an index without replicas moves from the last node to the first while the follower has much to catch up.
pub(crate) async fn in_the_middle_of_catching_up(world: &World) {
    let mut settings = on(world, world.last());
    settings["number_of_shards"] = json!(2);
    settings["number_of_replicas"] = json!(0);
    world.create(LONELY, settings).await;
    bulk(&world.source(), LONELY, 0..100, 10).await;
    world.follow(LONELY).await;
    world.tailed_beside_primaries(LONELY, SOON).await;

    world.agents.command(&copy(LONELY), "_pause").await;
    for portion in 0..20 {
        bulk(&world.source(), LONELY, portion * 200..portion * 200 + 300, 2000).await;
    }
    for agent in &world.beside {
        agent.link.set_bandwidth(Some(200_000));
    }
    world.agents.command(&copy(LONELY), "_resume").await;
    eventually(&format!("[{LONELY}] is being caught up"), SOON, async || {
        let details = world.agents.details(&copy(LONELY)).await;
        let begun = |shard: &Value| shard["follower_checkpoint"].as_i64() > Some(60);
        let shards = details["shards"].as_array().cloned().unwrap_or_default();
        if shards.iter().any(begun) {
            Ok(())
        } else {
            Err(details.to_string())
        }
    })
    .await;
    world.set(LONELY, on(world, 0)).await;
    moved(world, 0).await;
    let details = world.agents.details(&copy(LONELY)).await;
    let behind = |shard: &Value| shard["leader_checkpoint"].as_i64() > shard["follower_checkpoint"].as_i64();
    let shards = details["shards"].as_array().cloned().unwrap_or_default();
    assert!(
        shards.iter().any(behind),
        "it had caught up before it moved: {details}"
    );
    for agent in &world.beside {
        agent.link.resume();
    }
    world.equal(LONELY).await;
}

/// The index moves back, and the primary of one shard of another to a node that held no copy of it if there is one, while
/// everything is written to. They are read where they are then.
pub(crate) async fn in_the_middle_of_writes(world: &World, workload: &Workload) {
    let writers = workload.start(world.source().url());
    let mut first = 10_000;
    let writing = async {
        loop {
            bulk(&world.source(), LONELY, first..first + 50, 100).await;
            first += 50;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let moving = async {
        world.set(LONELY, on(world, world.last())).await;
        let goal = move_a_primary(world).await;
        moved(world, world.last()).await;
        goal
    };
    let goal = tokio::select! {
        () = writing => None,
        goal = moving => goal,
    };
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    world.equal(LONELY).await;
    world.equal(SPREAD).await;
    world.tailed_beside_primaries(LONELY, FOUND).await;
    let there = |holders: &Holders, reader: &str| {
        let is_moved = holders.primary == goal && goal.is_some();
        holders.is_primary(reader) || (holders.is_replica(reader) && !is_moved)
    };
    world.served(SPREAD, "where it is now", FOUND, there).await;
}

/// Moves the primary of a shard to a node that has no copy of it. Where it is then, if there is such a node.
async fn move_a_primary(world: &World) -> Option<String> {
    let placed = holders(&world.source(), SPREAD).await;
    let from = placed[&0].primary.clone().expect("a primary");
    let holds = |node: &str| node == from || placed[&0].replicas.iter().any(|replica| replica == node);
    let mut nodes = (0..=world.last()).map(|number| world.node(number));
    let to = nodes.find(|node| !holds(node))?;
    let command = json!({ "commands": [{ "move": {
        "index": SPREAD, "shard": 0, "from_node": from, "to_node": to,
    } }] });
    let (status, answer) = world.source().post("/_cluster/reroute", &command).await;
    assert_eq!(status, 200, "{answer}");
    let what = format!("the primary of [{SPREAD}][0] moves to [{to}]");
    eventually(&what, LONG, async || {
        let placed = holders(&world.source(), SPREAD).await;
        if placed[&0].primary.as_deref() == Some(to) {
            Ok(())
        } else {
            Err(format!("{placed:?}"))
        }
    })
    .await;
    Some(to.to_owned())
}

fn on(world: &World, number: usize) -> Value {
    json!({ "routing.allocation.require._name": world.node(number) })
}

/// Waits until all of the lonely index is on a node.
async fn moved(world: &World, number: usize) {
    let node = world.node(number);
    eventually(&format!("[{LONELY}] moves to [{node}]"), LONG, async || {
        let placed = holders(&world.source(), LONELY).await;
        if placed
            .values()
            .all(|shard| shard.primary.as_deref() == Some(node))
        {
            Ok(())
        } else {
            Err(format!("{placed:?}"))
        }
    })
    .await;
}
