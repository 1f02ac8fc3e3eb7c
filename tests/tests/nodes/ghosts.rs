//! A node dies in the middle of bulks, and leaves ghosts: operations that its primaries and some of the replicas have, and that
//! nobody acknowledged. Others are promoted, and the numbers of the ghosts go to other documents.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::workload::Workload;
use slipstream_tests::agents::SOON;
use slipstream_translog::{Checkpoint, names};
use tokio::task::JoinSet;

use crate::moves::{FOUND, SPREAD};
use crate::places::{Holders, holders};
use crate::world::{DOOMED, World, bulk, copy, lines};

const INDEX: &str = "haunted";
const SHARDS: u32 = 3;
/// The least number of a ghost.
const GHOSTS: u32 = 100_000;

/// I1, I3: whichever copy a follower reads, and whether it was there or comes later, it never sees a ghost. The agent beside
/// the dead node lives on without a cluster.
pub(crate) async fn of_a_killed_node(world: &mut World, workload: &Workload) {
    let survivors: Vec<usize> = (0..=world.last()).filter(|node| *node != DOOMED).collect();
    all_primaries_on_the_doomed(world).await;
    bulk(&world.source(), INDEX, 0..300, 100).await;
    followed_beside_primaries_and_replicas(world).await;
    for survivor in &survivors {
        world.follow_as(&late(*survivor), INDEX).await;
        world.equal_as(&late(*survivor), INDEX).await;
        world.agents.command(&late(*survivor), "_pause").await;
    }
    let uuid = uuid(&world.source()).await;

    let writers = workload.start(world.source().url());
    let written = kill_the_primary_with_ghosts(world, &survivors, &uuid).await;
    world.promoted(INDEX).await;
    // Ids of their own, and numbers that the ghosts had.
    bulk(&world.source(), INDEX, 300..900, 100).await;
    without_a_cluster(world).await;
    world.tailed_beside_copies(SPREAD, FOUND).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    let lost = written - survived(&world.source()).await;
    assert!(lost > 0, "none of {written} operations was rolled back");
    for name in [EARLY, &copy(INDEX)] {
        world.equal_as(name, INDEX).await;
        world
            .served_as(name, INDEX, "beside a copy", FOUND, Holders::is_either)
            .await;
    }
    for survivor in &survivors {
        read_from_one_survivor(world, *survivor, &survivors).await;
    }

    let gently = workload.clone().with_pause(Duration::from_millis(50));
    let writers = gently.start(world.source().url());
    world.leader.nodes[DOOMED]
        .restart()
        .await
        .expect("the killed node comes back");
    world.leader.wait_for_nodes(world.last() + 1).await;
    for index in [SPREAD, INDEX] {
        world.leader.wait_for_green(index).await;
    }
    writers.stop().await;
    world.equal(SPREAD).await;
    world.tailed_beside_copies(SPREAD, FOUND).await;
    if survivors.len() == 1 {
        // Only then it is certain which copy is promoted.
        for shard in 0..SHARDS {
            world.leader.move_primary(INDEX, shard, DOOMED).await;
        }
    }
    bulk(&world.source(), INDEX, 800..1000, 100).await;
    let late = survivors.into_iter().map(late);
    for name in late.chain([EARLY.to_owned(), copy(INDEX)]) {
        world.equal_as(&name, INDEX).await;
    }
}

fn late(survivor: usize) -> String {
    format!("{INDEX}-late-{survivor}")
}

/// The follower that reads the primaries when they die. The one of the usual name reads replicas.
const EARLY: &str = "haunted-early";

async fn followed_beside_primaries_and_replicas(world: &mut World) {
    world.beside[DOOMED].process.kill();
    world.follow(INDEX).await;
    world
        .served(INDEX, "beside a replica", FOUND, Holders::is_replica)
        .await;
    world.beside[DOOMED].process.start();
    world.follow_as(EARLY, INDEX).await;
    // An agent that failed a moment ago is left alone, and a session that reads a replica stays with it.
    eventually(
        "a follower that is resumed reads the primaries",
        SOON,
        async || {
            for command in ["_pause", "_resume"] {
                world.agents.command(EARLY, command).await;
            }
            world.agents.wait_for_status(EARLY, "SYNCING", SOON).await;
            // Whichever reader it is: a follower that is paused again before it has one never has one.
            let somehow = |_: &Holders, reader: &str| !reader.is_empty();
            world.served_as(EARLY, INDEX, "somehow", SOON, somehow).await;
            let unlike = world.unlike(EARLY, INDEX, Holders::is_primary).await;
            unlike.map_or(Ok(()), Err)
        },
    )
    .await;
}

/// The agent whose node is gone has no streams, and has not ended.
async fn without_a_cluster(world: &mut World) {
    let agent = &mut world.beside[DOOMED];
    assert!(agent.process.is_running());
    eventually(
        "the agent without a cluster has no streams",
        SOON,
        async || match agent.sessions().await {
            Some(0) => Ok(()),
            sessions => Err(format!("{sessions:?}")),
        },
    )
    .await;
}

/// A follower that was paused meanwhile reads all that it missed beside one copy that lived through it.
async fn read_from_one_survivor(world: &mut World, survivor: usize, all: &[usize]) {
    let others = || all.iter().copied().filter(move |other| *other != survivor);
    for other in others() {
        world.beside[other].process.kill();
    }
    world.agents.command(&late(survivor), "_resume").await;
    world.equal_as(&late(survivor), INDEX).await;
    let node = world.node(survivor).to_owned();
    let there = |holders: &Holders, reader: &str| holders.is_either(reader) && reader.contains(&node);
    let how = format!("on [{node}]");
    world.served_as(&late(survivor), INDEX, &how, FOUND, there).await;
    for other in others() {
        world.beside[other].process.start();
    }
}

/// A copy of each shard on every node, the primaries on the one that is going to die.
async fn all_primaries_on_the_doomed(world: &World) {
    let only = json!({
        "number_of_shards": SHARDS, "number_of_replicas": 0, "routing.allocation.require._name": world.node(DOOMED),
    });
    world.create(INDEX, only).await;
    let everywhere = json!({
        "number_of_replicas": world.leader.nodes.len() - 1, "routing.allocation.require._name": null,
    });
    world.set(INDEX, everywhere).await;
    world.leader.wait_for_green(INDEX).await;
    let placed = holders(&world.source(), INDEX).await;
    let doomed = |shard: &Holders| shard.primary.as_deref() == Some(world.node(DOOMED));
    assert!(placed.values().all(doomed), "{placed:?}");
}

/// Stops the clocks of the replicas, so that nothing more is acknowledged and little gets there, writes to the primaries, and
/// kills them. How many operations they had that nobody acknowledged.
async fn kill_the_primary_with_ghosts(world: &mut World, survivors: &[usize], uuid: &str) -> i64 {
    let translogs: Vec<Translog> = (0..SHARDS)
        .map(|shard| Translog::of(world, uuid, DOOMED, shard))
        .collect();
    for survivor in survivors {
        world.leader.nodes[*survivor].freeze();
    }
    let mut bulks = JoinSet::new();
    for number in 0..16 {
        let client = world.leader.nodes[DOOMED].client();
        let first = GHOSTS + number * 200;
        bulks.spawn(async move {
            let path = format!("/{INDEX}/_bulk");
            let body = lines(first..first + 200, 4000).into_bytes();
            client
                .try_send("POST", &path, Some(("application/x-ndjson", body)))
                .await
        });
    }
    eventually("the primaries have what nobody acknowledged", SOON, async || {
        let above: Vec<i64> = translogs.iter().map(Translog::unacknowledged).collect();
        if above.iter().all(|above| *above > 500) {
            Ok(())
        } else {
            Err(format!("{above:?}"))
        }
    })
    .await;
    world.leader.nodes[DOOMED].kill().await;
    for survivor in survivors {
        world.leader.nodes[*survivor].thaw();
    }
    while let Some(answer) = bulks.join_next().await {
        let answer = answer.expect("a bulk");
        assert!(answer.is_err(), "it was acknowledged: {answer:?}");
    }
    translogs.iter().map(Translog::unacknowledged).sum()
}

/// How many of them the others had too.
async fn survived(leader: &Es) -> i64 {
    leader.refresh(INDEX).await;
    let query = format!("/{INDEX}/_count?q=n:>={GHOSTS}");
    let (status, answer) = leader.get(&query).await;
    assert_eq!(status, 200, "{answer}");
    answer["count"].as_i64().expect("a count")
}

/// The files of a shard copy.
struct Translog(PathBuf);

impl Translog {
    fn of(world: &World, uuid: &str, node: usize, shard: u32) -> Translog {
        let data = world.leader.nodes[node].data_path();
        Translog(data.join(format!("nodes/0/indices/{uuid}/{shard}/translog")))
    }

    /// How many operations are synced that nobody has acknowledged.
    fn unacknowledged(&self) -> i64 {
        let bytes = fs::read(self.0.join(names::CHECKPOINT)).unwrap_or_default();
        // A look may fall into the engine's write.
        Checkpoint::parse(&bytes).map_or(0, |checkpoint| {
            checkpoint.max_seq_no - checkpoint.global_checkpoint
        })
    }
}

async fn uuid(leader: &Es) -> String {
    let (_, settings) = leader.get(&format!("/{INDEX}/_settings")).await;
    let uuid = settings[INDEX]["settings"]["index"]["uuid"].as_str();
    uuid.expect("an index has a uuid").to_owned()
}
