//! The way of the files: overlapped with the snapshot, over a link with trouble, under a cap, and for many indices at once.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::Release;
use slipstream_tests::agents::{ALIAS, LONG, Options, SOON, free_port};
use slipstream_tests::real::Pair;
use tokio::time::{Instant, sleep};

use crate::world::{World, copy};

const MIB: u64 = 1 << 20;
const RATE: &str = "plugins.replication.follower.index.recovery.max_bytes_per_sec";

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_over_a_link_with_trouble() {
    let Some((mut world, leader)) = start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    indices_of_all_sizes_share_few_snapshots(&world, &leader).await;
    files_come_while_the_snapshot_is_taken(&world, 2_001).await;
    another_cap_counts_for_what_runs(&world).await;
    what_has_come_stays_whatever_breaks(&mut world, &leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_while_the_snapshot_is_taken() {
    let Some((world, _)) = start(Release::Elasticsearch7_10_2, Release::OpenSearch2_19_1).await else {
        return;
    };
    files_come_while_the_snapshot_is_taken(&world, 2_002).await;
}

/// Both agents, and what the leader agent counts.
async fn start(leader: Release, target: Release) -> Option<(World, Es)> {
    let pair = Pair::start(leader, target).await?;
    let observe = free_port();
    let options = Options {
        leader_extra: format!("[observe]\naddress = \"127.0.0.1:{observe}\"\n"),
        ..World::options(&pair)
    };
    let world = World::of(pair, options).await;
    Some((world, Es::new(&format!("http://127.0.0.1:{observe}"))))
}

/// A rule finds a hundred indices, most of them tiny, some not, one large. All begin with files, and the leader is not asked for a
/// hundred snapshots.
async fn indices_of_all_sizes_share_few_snapshots(world: &World, leader: &Es) {
    const INDICES: u32 = 100;
    for number in 0..INDICES {
        let documents = if number % 25 == 3 { 5_000 } else { 20 };
        world.fill(&format!("sized-{number}"), documents).await;
    }
    dense(world, "sized-0", 30).await;
    let rule = json!({ "leader_alias": ALIAS, "name": "sized", "pattern": "sized-*",
        "follower_index_pattern": "{{leader_index}}-copy" });
    let (status, answer) = world
        .agents
        .gateway
        .post("/_plugins/_replication/_autofollow", &rule)
        .await;
    assert_eq!(status, 200, "{answer}");
    for number in 0..INDICES {
        let name = format!("sized-{number}");
        world.agents.wait_for_status(&copy(&name), "SYNCING", LONG).await;
        world.begun_with(&name, "files: ").await;
        world.equal(&name).await;
    }
    let snapshots = counted(leader, "slipstream_snapshots_total", "taken").await;
    assert!((1..=u64::from(INDICES) / 2).contains(&snapshots), "{snapshots}");
    assert_eq!(counted(leader, "slipstream_snapshots_total", "failed").await, 0);
    world.nothing_is_left().await;
    let rule = json!({ "leader_alias": ALIAS, "name": "sized" });
    let rule = rule.to_string().into_bytes();
    let path = "/_plugins/_replication/_autofollow";
    let ended = world
        .agents
        .gateway
        .try_send("DELETE", path, Some(("application/json", rule)))
        .await;
    assert_eq!(ended.expect("an answer").0, 200);
}

/// Files are on their way before the snapshot has ended, while everything is being written to.
async fn files_come_while_the_snapshot_is_taken(world: &World, seed: u64) {
    let name = "overlapped";
    let workload = world.workload(seed, &[name]);
    workload.create_indices(&world.source()).await;
    dense(world, name, 60).await;
    let writers = workload.start(&world.leader.url());
    world.agents.follow(&copy(name), name).await;
    let mut early = 0;
    loop {
        let details = world.agents.details(&copy(name)).await;
        let files = &details["files"];
        if files["stage"] == "snapshot" {
            early = files["bytes_received"].as_u64().unwrap_or_default();
        } else if details["phase"] != "INIT" {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    world.in_step(name).await;
    world.begun_with(name, "files: ").await;
    assert!(early > 0, "nothing came while the snapshot was taken");
    writers.stop().await;
    world.equal(name).await;
    world.nothing_is_left().await;
}

/// A cap that is set slows what comes, and lifted it does so no more: within a second, without starting over.
async fn another_cap_counts_for_what_runs(world: &World) {
    let name = "capped";
    dense(world, name, 40).await;
    cap(world, json!("2mb")).await;
    let before = fetched(world).await;
    world.agents.follow(&copy(name), name).await;
    coming(world, name, MIB).await;
    let (begun, first) = (Instant::now(), fetched(world).await);
    sleep(Duration::from_secs(4)).await;
    let pace = (fetched(world).await - first) as f64 / begun.elapsed().as_secs_f64();
    assert!(
        pace < 2.2 * MIB as f64,
        "{pace} bytes a second under a cap of 2 MiB/s"
    );
    let status = world.agents.status(&copy(name)).await;
    assert!(
        status["bootstrap_details"]["bytes_per_second"].is_u64(),
        "{status}"
    );
    assert!(
        status["bootstrap_details"]["files_total"].as_u64() > Some(0),
        "{status}"
    );
    let (well, told) = world
        .agents
        .gateway
        .get("/_cluster/settings?flat_settings=true")
        .await;
    assert_eq!((well, &told["persistent"][RATE]), (200, &json!("2mb")), "{told}");
    cap(world, Value::Null).await;
    world.agents.wait_for_status(&copy(name), "SYNCING", SOON).await;
    let all = fetched(world).await - before;
    assert!((40 * MIB..50 * MIB).contains(&all), "{all} bytes of about 40 MiB");
    world.equal(name).await;
    world.nothing_is_left().await;
}

/// The link is cut, and brings other bytes than were sent; the follower agent is killed. Nothing is sent twice for that, and one snapshot
/// is enough. The leader agent is killed too: then another is taken, which has the files of the one before.
async fn what_has_come_stays_whatever_breaks(world: &mut World, leader: &Es) {
    let name = "broken";
    dense(world, name, 60).await;
    let snapshots = counted(leader, "slipstream_snapshots_total", "taken").await;
    cap(world, json!("4mb")).await;
    let before = fetched(world).await;
    world.agents.follow(&copy(name), name).await;
    coming(world, name, 6 * MIB).await;
    world.agents.link.cut();
    sleep(outage()).await;
    let status = world.agents.status(&copy(name)).await;
    assert!(status["waiting_for"].is_string(), "{status}");
    world.agents.link.resume();
    coming(world, name, 14 * MIB).await;
    world.agents.link.corrupt(0.000_01, 7);
    sleep(Duration::from_secs(3)).await;
    world.agents.link.resume();
    coming(world, name, 22 * MIB).await;
    let first_life = fetched(world).await - before;
    world.agents.restart_follower(Duration::from_secs(1)).await;
    coming(world, name, 30 * MIB).await;
    let taken = counted(leader, "slipstream_snapshots_total", "taken").await - snapshots;
    assert_eq!(taken, 1, "one snapshot is enough");
    world.agents.leader.kill();
    sleep(Duration::from_secs(2)).await;
    world.agents.leader.start();
    coming(world, name, 38 * MIB).await;
    cap(world, json!("-1")).await;
    world.in_step(name).await;
    let all = first_life + fetched(world).await;
    assert!((60 * MIB..75 * MIB).contains(&all), "{all} bytes of about 60 MiB");
    world.begun_with(name, "files: ").await;
    world.equal(name).await;
    world.nothing_is_left().await;
    cap(world, Value::Null).await;
}

/// How long the link is cut: some seconds, or what `make outage` says.
fn outage() -> Duration {
    let told = std::env::var("OUTAGE_SECONDS").ok();
    let seconds = told.map(|told| told.parse().expect("OUTAGE_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(15))
}

/// So many MiB of documents that no compression makes smaller, for which an index of one shard is made unless there is one.
pub(crate) async fn dense(world: &World, index: &str, megabytes: u32) {
    world.fill(index, 1).await;
    let leader = world.source();
    let kept = json!({ "properties": { "noise": { "type": "object", "enabled": false } } });
    let (status, answer) = leader.put(&format!("/{index}/_mapping"), &kept).await;
    assert_eq!(status, 200, "{answer}");
    let mut state = u64::from(megabytes);
    for batch in 0..megabytes {
        let mut lines = String::new();
        for number in 0..16 {
            // Stored fields are compressed by the engine: what it cannot compress is what it gets.
            // A few instructions a character, for this is not optimised.
            let noise = (0..64 * 1_024).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'#' + (state >> 58) as u8 % 56)
            });
            let noise: String = noise.collect();
            let _ = writeln!(
                lines,
                "{{\"index\":{{\"_id\":\"dense-{batch}-{number}\"}}}}\n{}",
                json!({ "noise": { "raw": noise } })
            );
        }
        let (status, answer) = leader.bulk(&format!("/{index}/_bulk"), lines).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    }
    // Small files too, and their number stays what it is.
    let (status, answer) = leader.post(&format!("/{index}/_flush"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

pub(crate) async fn cap(world: &World, value: Value) {
    let body = json!({ "persistent": { RATE: value } });
    let (status, answer) = world.agents.gateway.put("/_cluster/settings", &body).await;
    assert_eq!(status, 200, "{answer}");
}

/// Waits until so much is here, and more is to come.
async fn coming(world: &World, index: &str, bytes: u64) {
    eventually(
        &format!("{bytes} bytes of [{index}] have come"),
        LONG,
        async || {
            let details = world.agents.details(&copy(index)).await;
            match details["files"]["bytes_received"].as_u64() {
                Some(received) if received >= bytes => Ok(()),
                _ => Err(details.to_string()),
            }
        },
    )
    .await;
}

/// Bytes of files that came in this life of the follower agent.
async fn fetched(world: &World) -> u64 {
    counted(&world.agents.gateway, "slipstream_files_bytes_total", "file").await
}

async fn counted(of: &Es, metric: &str, label: &str) -> u64 {
    let (status, text) = of.get_bytes("/metrics").await;
    assert_eq!(status, 200);
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(metric) && line.contains(&format!("\"{label}\"")));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    number.unwrap_or_default() as u64
}
