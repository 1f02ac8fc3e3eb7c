//! The map of a restored shard: not made as long as nobody needs it, and then whole, whatever comes in between.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::servers::Release;

use crate::world::{World, copy};

/// What the agent logs when it begins to list the restored documents, after each step, and at the end.
const BEGUN: &str = "the documents that were restored are being listed";
const STEP: &str = "a step of a listing is done";
const DONE: &str = "the restored documents are listed";

fn lines<'a>(log: &'a str, words: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(words)).collect()
}

/// Documents that were restored and never touched are deleted on the leader, whose log nobody reads. In between the target is restarted, and
/// the agent killed in the middle of its listing.
#[tokio::test(flavor = "multi_thread")]
async fn windows_make_it_whole_over_crashes() {
    let Some(mut world) = World::of_windows(Release::OpenSearch2_19_1).await else {
        return;
    };
    world.fill("windows", 40_000).await;
    world.begins("windows", "files: ").await;
    assert_eq!(
        lines(&world.agents.follower.log(), BEGUN).len(),
        0,
        "nobody needs it"
    );

    world.target.restart().await.expect("the target comes back");
    // So slow that the agent dies before the third of four steps.
    world.link.set_bandwidth(Some(60_000));
    world.thin_out("windows", 40_000, 7).await;
    world.agents.follower.logged(&[STEP]).await;
    world.agents.follower.kill();
    world.link.resume();
    world.agents.follower.start();
    world.agents.wait_for_gateway().await;
    world.equal("windows").await;
    let log = world.agents.follower.log();
    let begun = lines(&log, BEGUN);
    assert!(begun[0].contains("after=-1 "), "{begun:?}");
    assert!(
        begun.last().is_some_and(|line| !line.contains("after=-1 ")),
        "{begun:?}"
    );
    assert_eq!(lines(&log, DONE).len(), 1, "{log}");

    // From here on it is kept like any other.
    let begun = begun.len();
    world.thin_out("windows", 40_000, 11).await;
    world.fill("windows", 200).await;
    world.equal("windows").await;
    assert_eq!(lines(&world.agents.follower.log(), BEGUN).len(), begun);
    world.nothing_is_left().await;
}

/// Where the leader's log is read, nobody needs it. Once that is over, it is made whole, with what changed before.
#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_log_does_without() {
    let Some(mut world) = World::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    world.fill("logged", 20_000).await;
    world.follow("logged").await;
    world.begun_with("logged", "files: ").await;
    let long = Duration::from_mins(1);
    world
        .agents
        .wait_for_reader(&copy("logged"), "translog", "", long)
        .await;
    world.thin_out("logged", 20_000, 7).await;
    world.fill("logged", 300).await;
    world.equal("logged").await;
    assert_eq!(
        lines(&world.agents.follower.log(), BEGUN).len(),
        0,
        "nobody needs it"
    );

    let config = world.agents.leader.config().to_owned();
    let toml = std::fs::read_to_string(&config).expect("its configuration");
    let toml = toml.replacen("[cluster]\n", "[cluster]\ntranslog = \"off\"\n", 1);
    std::fs::write(&config, toml).expect("its configuration");
    world.agents.leader.crash();
    world
        .agents
        .wait_for_reader(&copy("logged"), "window", "", long)
        .await;
    world.thin_out("logged", 20_000, 11).await;
    world.equal("logged").await;
    assert_eq!(lines(&world.agents.follower.log(), DONE).len(), 1);
}

/// I5: what only the history before had is found gone, although it was restored and never touched.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_history_that_was_rewritten_takes_what_only_it_had() {
    let Some(world) = World::of_windows(Release::OpenSearch2_19_1).await else {
        return;
    };
    let leader = world.source();
    world.fill("rewound", 3_000).await;
    let folder = world.leader.repo_path().join("hand");
    let repository = json!({ "type": "fs", "settings": { "location": folder } });
    let snapshot = json!({ "indices": "rewound", "include_global_state": false });
    for (path, body) in [
        ("/_snapshot/hand", repository),
        (
            "/_snapshot/hand/before?wait_for_completion=true",
            snapshot.clone(),
        ),
    ] {
        let (status, answer) = leader.put(path, &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    world.fill("rewound", 3_100).await;
    world.begins("rewound", "files: ").await;

    for (path, body) in [
        ("/rewound/_close", json!({})),
        (
            "/_snapshot/hand/before/_restore?wait_for_completion=true",
            snapshot,
        ),
    ] {
        let (status, answer) = leader.post(path, &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let long = Duration::from_mins(1);
    world
        .agents
        .wait_for_status(&copy("rewound"), "PAUSED", long)
        .await;
    assert_eq!(
        lines(&world.agents.follower.log(), BEGUN).len(),
        0,
        "nobody needs it"
    );
    world.agents.command(&copy("rewound"), "_resume").await;
    world.equal("rewound").await;
    assert_eq!(lines(&world.agents.follower.log(), DONE).len(), 1);
}
