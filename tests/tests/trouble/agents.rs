//! The agents themselves: killed, ended, wrongly configured, with a store that is not usable.

use std::time::{Duration, Instant};

use serde_json::json;
use slipstream_model::{Checkpoint, DocRef, IndexName, Phase, SeqNo, SeqRange, ShardId};
use slipstream_sandbox::Endpoint;
use slipstream_store::{Run, ShardProgress, Store, Trail};
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{Options, SOON};

use slipstream_tests::world::{World, ends};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_agent_killed_in_the_middle_of_a_bootstrap_goes_on_from_there() {
    let mut world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    for block in 0..4 {
        world
            .leader
            .write_padded("lead", block * 100..block * 100 + 100, 20_000)
            .await;
    }
    let faults = world.target.faults();
    faults.delay(
        Endpoint::Bulk,
        Duration::from_millis(100),
        Duration::from_millis(100),
    );
    world.agents.follow("f", "lead").await;
    for life in 0..3 {
        eventually("the bootstrap is in its middle", SOON, async || {
            let details = world.agents.details("f").await;
            assert_eq!(
                details["phase"], "BOOTSTRAPPING",
                "it was too quick in life {life}: {details}"
            );
            if details["shards"][0]["operations_written"].as_u64() > Some(5) {
                Ok(())
            } else {
                Err(details.to_string())
            }
        })
        .await;
        world.leader.delete(&format!("/lead/_doc/{life}")).await;
        world.leader.write("lead", 1_000 + life..1_001 + life).await;
        world.agents.restart_follower(Duration::ZERO).await;
    }
    faults.clear();
    world.agents.wait_for_status("f", "SYNCING", SOON).await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_agent_killed_at_steady_state_goes_on_from_there() {
    let mut world = World::start().await;
    world.following().await;
    for round in 1..5 {
        world.leader.write("lead", round * 10..round * 10 + 30).await;
        world.leader.delete(&format!("/lead/_doc/{round}")).await;
        world.agents.restart_follower(Duration::ZERO).await;
        world
            .leader
            .delete(&format!("/lead/_doc/{}", round * 10 + 5))
            .await;
    }
    assert_eq!(world.agents.status("f").await["reason"], "User initiated");
    world.goes_on("lead", "f").await;
}

/// A storm (seed 1795522156) killed the agent after the last shard had stored that its first copy was complete and before the
/// index had stored its new phase. What that leaves in the store is put there by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_agent_killed_between_the_last_shard_and_the_new_phase_is_syncing_all_the_same() {
    let mut world = World::start().await;
    world.following().await;
    world.agents.follower.kill();
    {
        let store =
            Store::open(&world.agents.folder.path().join("store")).expect("the store of a dead agent");
        let mut definition = store.definitions().expect("definitions").remove(0);
        definition.phase = Phase::Bootstrapping;
        store.put_definition(&definition).expect("put");
    }
    world.agents.follower.start();
    world.agents.wait_for_gateway().await;
    world.agents.wait_for_status("f", "SYNCING", SOON).await;
    world.goes_on("lead", "f").await;
}

/// The agent's death takes what was noted a moment before, the host's what was not synced. What that leaves in the store is put there by
/// hand: it is as it was when the place was stored, by a run that did not end in order.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_the_store_lost_with_the_agent_are_deleted_when_they_are_gone() {
    let mut world = World::start().await;
    world.following().await;
    world.equal("lead", "f").await;
    world.agents.follower.kill();
    let path = world.agents.folder.path().join("store");
    let shard = || {
        let store = Store::open(&path).expect("the store of a dead agent");
        store.shard(&IndexName::new("f"), ShardId(0))
    };
    let stored = shard().progress().expect("a place");
    let trail = stored.trail.clone().expect("it has been written to");
    assert!(trail.run.is_some() && trail.above > Checkpoint::NONE, "{trail:?}");
    world.start_follower().await;

    // New ones, and an old one at a new place.
    world.leader.write("lead", 100..120).await;
    world.leader.write("lead", 5..6).await;
    world.equal("lead", "f").await;
    // In order, so that all of it is known before some is taken away.
    assert_eq!(world.agents.follower.terminate().await, Some(0));
    {
        let shard = shard();
        let all = SeqRange::new(stored.checkpoint.get(), Checkpoint::new(i64::MAX));
        let lost = shard.live_in(all, usize::MAX).expect("what is known");
        assert_eq!(lost.len(), 21);
        let lost: Vec<_> = lost.into_iter().map(|(seq, doc)| (seq, doc.id)).collect();
        shard.forget(&lost).expect("forgotten");
        // The old one was known at its old place.
        let old = DocRef {
            id: "5".to_owned(),
            routing: None,
        };
        shard.remember(&[(SeqNo::new(5), &old)]).expect("remembered");
        let stored = ShardProgress {
            trail: Some(Trail {
                run: Some(Run::new("the one before")),
                ..trail
            }),
            ..stored
        };
        shard.save_progress(&stored).expect("saved");
    }
    for gone in [5, 100, 101, 110, 119] {
        world.leader.delete(&format!("/lead/_doc/{gone}")).await;
    }
    world.leader.write("lead", 111..112).await;
    world.start_follower().await;
    world.goes_on("lead", "f").await;
    let log = world.agents.follower.log();
    assert!(log.contains("the agent did not end in order"), "{log}");
}

/// An agent that ends in order has remembered everything, and says so: the next one has nothing to look for.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_agent_that_ended_in_order_looks_for_nothing() {
    let mut world = World::start().await;
    world.following().await;
    world.leader.write("lead", 10..300).await;
    world.equal("lead", "f").await;
    world.leader.write("lead", 300..310).await;
    assert_eq!(world.agents.follower.terminate().await, Some(0));
    {
        let path = world.agents.folder.path().join("store");
        let store = Store::open(&path).expect("the store of an agent that ended");
        let shard = store.shard(&IndexName::new("f"), ShardId(0));
        let trail = shard
            .progress()
            .expect("a place")
            .trail
            .expect("it was written to");
        assert_eq!(trail.run, None);
        assert!(trail.above > Checkpoint::NONE, "{trail:?}");
    }
    world.start_follower().await;
    world.leader.delete("/lead/_doc/305").await;
    world.goes_on("lead", "f").await;
    let log = world.agents.follower.log();
    assert!(!log.contains("did not end in order"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_told_to_end_do_so_at_once_with_live_streams() {
    let mut world = World::start().await;
    world.following().await;
    world.leader.write("lead", 10..500).await;
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(world.agents.follower.terminate().await, Some(0));
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the follower agent took {:?}",
            begun.elapsed()
        );
        world.start_follower().await;
        world.equal("lead", "f").await;

        let begun = Instant::now();
        assert_eq!(world.agents.leader.terminate().await, Some(0));
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the leader agent took {:?}",
            begun.elapsed()
        );
        world.waits(&["leader agent"]).await;
        world.leader.write("lead", 500..510).await;
        world.agents.leader.start();
        world.goes_on("lead", "f").await;
    }
    let log = world.agents.follower.log();
    assert!(
        log.contains("signal=\"SIGTERM\"") && log.contains("ended"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_no_store_is_refused_and_untouched() {
    let world = World::prepare(Options::default()).await;
    std::fs::create_dir(world.path("store")).expect("a folder");
    std::fs::write(world.path("store/precious.txt"), "keep me").expect("a file");
    let (code, said) = ends("follower", world.agents.follower.config(), &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("is not empty and holds no slipstream store"),
        "{said}"
    );
    assert!(
        said.contains("point `store.path` to an empty or new folder"),
        "{said}"
    );
    let left: Vec<_> = std::fs::read_dir(world.path("store"))
        .expect("a folder")
        .collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        std::fs::read_to_string(world.path("store/precious.txt")).expect("a file"),
        "keep me"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_and_a_copy_of_it_goes_on() {
    let mut world = World::start().await;
    world.following().await;
    assert_eq!(world.agents.follower.terminate().await, Some(0));
    let (store, copy) = (world.path("store"), world.path("copy"));
    std::fs::create_dir(&copy).expect("a folder");
    for file in std::fs::read_dir(&store).expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), copy.join(file.file_name())).expect("a copy");
    }
    let manifest = std::fs::read_dir(&store)
        .expect("a folder")
        .filter_map(Result::ok)
        .find(|file| file.file_name().to_string_lossy().starts_with("MANIFEST"))
        .expect("a manifest");
    let length = manifest.metadata().expect("its size").len() as usize;
    std::fs::write(manifest.path(), vec![0xa5; length]).expect("damage");
    world.leader.write("lead", 10..20).await;

    let (code, said) = ends("follower", world.agents.follower.config(), &[]).await;
    assert_eq!(code, Some(1));
    let path = store.display().to_string();
    assert!(
        said.contains(&path) && said.contains("is damaged") && said.contains("put back a copy"),
        "{said}"
    );
    assert_eq!(world.target.count("f").await, 10);

    std::fs::remove_dir_all(&store).expect("the damaged store is moved away");
    std::fs::rename(&copy, &store).expect("the copy is put back");
    world.start_follower().await;
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_second_agent_on_the_same_store_is_refused_and_the_first_goes_on() {
    let world = World::start().await;
    world.following().await;
    let elsewhere = [("SLIPSTREAM_GATEWAY__ADDRESS", "127.0.0.1:0")];
    let (code, said) = ends("follower", world.agents.follower.config(), &elsewhere).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("is in use by another process") && said.contains("stop one of the two"),
        "{said}"
    );
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_in_a_configuration_is_named_with_file_and_line() {
    let mut world = World::prepare(Options::default()).await;
    world.edit("leader.toml", "[listen]\n", "[listen]\nadress = \"typo\"\n");
    let (code, said) = ends("leader", world.agents.leader.config(), &[]).await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("leader.toml:5") && said.contains("adress"),
        "{said}"
    );
    world.edit("leader.toml", "adress = \"typo\"\n", "");

    world.edit(
        "follower.toml",
        "[store]\npath = \"store\"\n",
        "[store]\npath = 7\n",
    );
    let (code, said) = ends("follower", world.agents.follower.config(), &[]).await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("follower.toml:5") && said.contains("[store] path"),
        "{said}"
    );
    world.edit("follower.toml", "path = 7", "path = \"store\"");

    world.start_agents().await;
    world.following().await;
    // Read again with a mistake in it, everything stays as it was.
    world.edit(
        "leader.toml",
        "identity = \"follower.test\"",
        "identiy = \"follower.test\"",
    );
    world.agents.leader.reload();
    let line = [
        "not reloaded: everything stays as it was",
        "leader.toml:12",
        "identity: missing",
    ];
    world.agents.leader.logged(&line).await;
    world.goes_on("lead", "f").await;
}
