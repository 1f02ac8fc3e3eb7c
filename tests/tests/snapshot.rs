//! Indices that begin with the leader's files, on real servers: exact under writes, through crashes of both agents and both clusters, and
//! with nothing left behind anywhere.

#[path = "snapshot/disks.rs"]
mod disks;
#[path = "snapshot/ending.rs"]
mod ending;
#[path = "snapshot/map.rs"]
mod map;
#[path = "snapshot/served.rs"]
mod served;
#[path = "snapshot/transfer.rs"]
mod transfer;
#[path = "snapshot/trouble.rs"]
mod trouble;
#[path = "snapshot/world.rs"]
mod world;

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};
use slipstream_tests::agents::LONG;
use slipstream_tests::real::Pair;
use tokio::time::sleep;

use crate::world::{World, copy};

// Each number is a seed that repeats what is written.

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_to_opensearch_2_19() {
    let Some(mut world) = World::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    under_writes(
        &world,
        1001,
        "files: a snapshot of the leader's, through the folder ",
    )
    .await;
    ended_in_the_middle(&mut world, 1002).await;
    stopped_in_the_middle(&world).await;
    what_is_the_leader_clusters_own_stays_there(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_in_the_middle() {
    let Some(mut world) = World::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    ending::a_stop_while_the_target_is_away(&mut world).await;
    ending::a_pause_while_the_target_is_away(&mut world).await;
    trouble::a_target_that_dies_while_it_restores(&mut world).await;
    trouble::a_file_that_is_damaged_on_disk(&world).await;
    trouble::a_leader_index_that_is_deleted(&world).await;
    trouble::a_leader_index_that_is_closed(&world).await;
    trouble::a_leader_index_that_is_force_merged(&world).await;
    trouble::a_certificate_that_is_replaced(&world).await;
    trouble::a_snapshot_of_somebody_else(&world).await;
    trouble::a_word_that_is_lost(&world).await;
    trouble::a_setting_that_the_target_does_not_know(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_move() {
    let release = Release::OpenSearch2_19_1;
    let (leader, target) = tokio::join!(
        Server::start(release, ServerConfig::named("leader")),
        Server::ready(release, ServerConfig::named("target")),
    );
    let (Some(leader), Some(target)) = (or_skip(leader), or_skip(target)) else {
        return;
    };
    let shared = format!("[\"{}\"]", leader.repo_path().display());
    let second = ServerConfig::default().joining(&leader, trouble::SECOND);
    let Some(_second) = or_skip(Server::start(release, second.with("path.repo", &shared)).await) else {
        return;
    };
    let pair = Pair { leader, target };
    let options = World::options(&pair);
    let world = World::of(pair, options).await;
    trouble::a_shard_that_moves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_to_opensearch_3_6() {
    let leader = (Release::OpenSearch2_19_1, ServerConfig::named("leader"));
    let authority = served::Authority::new();
    let target = served::reader("target", &authority);
    let Some(mut world) = World::configured(leader, target).await else {
        return;
    };
    under_writes(
        &world,
        1003,
        "files: a snapshot of the leader's, through the folder ",
    )
    .await;
    served::a_url_that_the_target_does_not_allow(&mut world).await;
    served::what_the_target_reads_from_the_agent(&mut world, 1006).await;
    served::what_the_target_reads_over_tls(&mut world, &authority).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_3_6_to_opensearch_3_6() {
    let Some(world) = World::start(Release::OpenSearch3_6_0, Release::OpenSearch3_6_0).await else {
        return;
    };
    under_writes(
        &world,
        1007,
        "files: a snapshot of the leader's, through the folder ",
    )
    .await;
    served::the_operator_decides(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_to_opensearch_2_19() {
    let Some(mut world) = World::start(Release::Elasticsearch7_10_2, Release::OpenSearch2_19_1).await else {
        return;
    };
    under_writes(
        &world,
        1004,
        "files: a snapshot of the leader's, through the folder ",
    )
    .await;
    clusters_that_die_in_the_middle(&mut world, 1005).await;
}

/// What cannot be done with files is done with documents, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn opensearch_3_6_to_elasticsearch_8_19() {
    let Some(world) = World::start(Release::OpenSearch3_6_0, Release::Elasticsearch8_19_21).await else {
        return;
    };
    world.fill("plain", 500).await;
    world
        .begins(
            "plain",
            "documents: elasticsearch 8.19.21 cannot read a snapshot of opensearch 3.6.0",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_the_cluster_may_not_use() {
    let Some(world) = World::with_another_leader_folder(Release::OpenSearch2_19_1).await else {
        return;
    };
    world.fill("elsewhere", 500).await;
    world
        .begins("elsewhere", "documents: files were tried, the leader agent: ")
        .await;
    world.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_are_full_and_folders_that_are_shut() {
    let release = Release::OpenSearch2_19_1;
    let [leader, target] = disks::small(release);
    let Some(mut world) = World::configured(leader, target).await else {
        return;
    };
    disks::full_at_the_leader(&world).await;
    disks::full_at_the_follower(&world).await;
    disks::too_small_for_two_at_once(&world).await;
    disks::a_folder_that_the_agent_may_not_write(&mut world).await;
}

/// Every kind of write goes on while the snapshot is taken, copied and restored, and afterwards.
async fn under_writes(world: &World, seed: u64, words: &str) {
    let names = ["first", "second", "third"];
    let workload = world.workload(seed, &names);
    workload.create_indices(&world.source()).await;
    let writers = workload.start(&world.leader.url());
    for name in names {
        sleep(Duration::from_millis(1_500)).await;
        world.follow(name).await;
        world.begun_with(name, words).await;
    }
    sleep(Duration::from_secs(2)).await;
    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    for name in names {
        world.equal(name).await;
    }
    world.nothing_is_left().await;
    for name in names {
        world.agents.command(&copy(name), "_stop").await;
        // Another run begins with nothing.
        for (server, index) in [(world.target(), copy(name)), (world.source(), name.to_owned())] {
            let (status, answer) = server.delete(&format!("/{index}")).await;
            assert_eq!(status, 200, "{answer}");
        }
    }
}

/// Either agent is killed, again and again, wherever the copy happens to be.
async fn ended_in_the_middle(world: &mut World, seed: u64) {
    let workload = world.workload(seed, &["killed", "killed-too"]);
    workload.create_indices(&world.source()).await;
    world.fill("killed", 30_000).await;
    let writers = workload.start(&world.leader.url());
    for (name, follower) in [("killed", true), ("killed-too", false)] {
        world.agents.follow_eventually(&copy(name), name).await;
        for pause in [30, 150, 400, 800] {
            sleep(Duration::from_millis(pause)).await;
            if follower {
                world.agents.restart_follower(Duration::ZERO).await;
            } else {
                world.agents.leader.kill();
                world.agents.leader.start();
            }
        }
    }
    for name in ["killed", "killed-too"] {
        world.in_step(name).await;
    }
    writers.stop().await;
    for name in ["killed", "killed-too"] {
        world.equal(name).await;
    }
    world.nothing_is_left().await;
}

/// An operator who stops before it has ended finds nothing of it.
async fn stopped_in_the_middle(world: &World) {
    world.fill("stopped", 50_000).await;
    for pause in [0, 100, 300, 600] {
        world.agents.follow(&copy("stopped"), "stopped").await;
        sleep(Duration::from_millis(pause)).await;
        world.agents.command(&copy("stopped"), "_stop").await;
        world.nothing_is_left().await;
        // Either it had not got so far, or there is an ordinary index.
        let _ = world.target().delete(&format!("/{}", copy("stopped"))).await;
    }
}

/// Settings by which the leader cluster handles its index do not come along in its files: a write would wait for copies that
/// the target has not.
async fn what_is_the_leader_clusters_own_stays_there(world: &World) {
    world.fill("own", 500).await;
    // No engine takes more copies to wait for than there are to be.
    for own in [
        json!({ "number_of_replicas": 1 }),
        json!({ "write.wait_for_active_shards": "2", "routing.rebalance.enable": "none" }),
    ] {
        let (status, answer) = world
            .source()
            .put("/own/_settings", &json!({ "index": own }))
            .await;
        assert_eq!(status, 200, "{answer}");
    }
    world.follow("own").await;
    world.begun_with("own", "files: ").await;
    let (_, settings) = world.target().get(&format!("/{}/_settings", copy("own"))).await;
    let index = &settings[copy("own")]["settings"]["index"];
    assert!(
        index["write"].is_null() && index["routing"]["rebalance"].is_null(),
        "{settings}"
    );
    world.equal("own").await;
}

/// Both clusters are killed while the copy is under way.
async fn clusters_that_die_in_the_middle(world: &mut World, seed: u64) {
    let workload = world.workload(seed, &["dying"]);
    workload.create_indices(&world.source()).await;
    world.fill("dying", 30_000).await;
    world.agents.follow(&copy("dying"), "dying").await;
    sleep(Duration::from_millis(300)).await;
    world.target.restart().await.expect("the target comes back");
    world.in_step("dying").await;
    world.equal("dying").await;
    world.agents.command(&copy("dying"), "_stop").await;
    let deleted = world.target().delete(&format!("/{}", copy("dying"))).await;
    assert_eq!(deleted.0, 200, "{}", deleted.1);

    world.agents.follow(&copy("dying"), "dying").await;
    sleep(Duration::from_millis(100)).await;
    world.leader.restart().await.expect("the leader comes back");
    world.in_step("dying").await;
    world.equal("dying").await;
    eventually("nothing is left", LONG, async || world.left().await).await;
}
