//! Sessions of one leader against agents that come, go and move.

mod stub;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use slipstream_model::{ShardId, ShardKey};
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::stub::{Health, StubAgent, World};
use super::{LeaderBook, LeaderError, LeaderLink};
use crate::control::Leaders;

fn shard(number: u32) -> ShardKey {
    ShardKey {
        index: "logs".into(),
        shard: ShardId(number),
    }
}

/// The link to a leader with these agents.
fn link_to(world: &World, addresses: &[&str]) -> Arc<LeaderLink> {
    let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
    let leaders = Leaders::from([("prod".to_owned(), addresses)]);
    let book = LeaderBook::new(world.client(), Leaders::new(), leaders);
    book.link("prod").unwrap()
}

fn link(world: &World, agents: &[&StubAgent]) -> Arc<LeaderLink> {
    let addresses: Vec<&str> = agents.iter().map(|agent| agent.address.as_str()).collect();
    link_to(world, &addresses)
}

/// The address of the agent that a shard is sent to.
async fn agent_for(link: &LeaderLink, shard: &ShardKey) -> String {
    link.connect_for(shard, None).await.unwrap().agent
}

#[tokio::test]
async fn one_agent_alone_is_asked_nothing_but_hello_and_once_for_all() {
    let world = World::new();
    let only = world.agent("n1").await;
    let link = link(&world, &[&only]);
    let shards: Vec<ShardKey> = (0..1_000).map(shard).collect();
    let agents = join_all(shards.iter().map(|shard| agent_for(&link, shard))).await;
    assert!(agents.iter().all(|agent| *agent == only.address));
    assert_eq!((only.hellos(), only.located()), (1, 0));
    assert_eq!(link.better_agent(&shard(0), &only.address).await, None);
    link.connect().await.unwrap();
    assert_eq!((only.hellos(), only.located()), (2, 0), "catalog calls ask anew");
}

#[tokio::test]
async fn sessions_that_open_together_cost_one_hello_an_agent_and_one_question_where_the_shards_are() {
    let world = World::new();
    let agents = [
        world.agent("n1").await,
        world.agent("n2").await,
        world.agent("n3").await,
    ];
    let link = link(&world, &[&agents[2], &agents[1], &agents[0]]);
    let shards: Vec<ShardKey> = (0..1_000).map(shard).collect();
    let chosen = join_all(shards.iter().map(|shard| agent_for(&link, shard))).await;
    assert!(
        chosen.iter().all(|agent| *agent == agents[0].address),
        "n1 has the primaries"
    );
    assert_eq!(agents.each_ref().map(StubAgent::hellos), [1, 1, 1]);
    assert_eq!(agents.iter().map(StubAgent::located).sum::<u32>(), 1);
}

#[tokio::test]
async fn a_shard_goes_where_its_files_are_and_comes_again_where_they_are_by_then() {
    let world = World::new();
    let (one, two, three) = (
        world.agent("n1").await,
        world.agent("n2").await,
        world.agent("n3").await,
    );
    let agents = [&one, &two, &three];
    let link = link(&world, &agents);
    assert_eq!(agent_for(&link, &shard(0)).await, one.address);

    one.change(|manner| manner.health = Health::Failing);
    assert_eq!(agent_for(&link, &shard(0)).await, two.address, "the replica's");
    let reason = "the node is down";
    assert_eq!(world.log.lines(&["WARN", &one.address, reason]), 1);

    // Fails over to n2, and gets a replica on n3.
    for agent in agents {
        agent.change(|manner| manner.copies = Some(("n2", &["n3"])));
    }
    two.change(|manner| manner.tails = false);
    assert_eq!(
        agent_for(&link, &shard(0)).await,
        three.address,
        "of those that tail"
    );
    two.change(|manner| manner.tails = true);
    assert_eq!(agent_for(&link, &shard(0)).await, two.address);
    assert_eq!(world.log.lines(&["WARN", &one.address]), 1, "told once");

    let hellos = one.hellos();
    two.change(|manner| manner.health = Health::Failing);
    three.change(|manner| manner.health = Health::Failing);
    one.change(|manner| manner.health = Health::Good);
    assert_eq!(
        agent_for(&link, &shard(0)).await,
        one.address,
        "tried at once where no other answers"
    );
    assert_eq!(one.hellos(), hellos + 1);
    assert_eq!(world.log.lines(&["INFO", &one.address, "answers again"]), 1);
}

#[tokio::test]
async fn an_agent_that_turned_the_shard_away_is_taken_last() {
    let world = World::new();
    let (one, two) = (world.agent("n1").await, world.agent("n2").await);
    let link = link(&world, &[&one, &two]);
    let chosen = link.connect_for(&shard(0), Some(&one.address)).await.unwrap();
    assert_eq!(chosen.agent, two.address);
    two.change(|manner| manner.health = Health::Failing);
    let chosen = link.connect_for(&shard(0), Some(&one.address)).await.unwrap();
    assert_eq!(chosen.agent, one.address);
}

#[tokio::test]
async fn a_better_agent_is_one_with_files_that_the_present_one_has_not() {
    let world = World::new();
    let (one, three) = (world.agent("n1").await, world.agent("n3").await);
    let link = link(&world, &[&one, &three]);
    let better = link.better_agent(&shard(0), &three.address).await;
    assert_eq!(better.as_ref(), Some(&one.address));
    assert_eq!(link.better_agent(&shard(0), &one.address).await, None);
    for _ in 0..10 {
        link.better_agent(&shard(1), &three.address).await;
    }
    assert_eq!(
        (one.hellos(), one.located() + three.located()),
        (1, 1),
        "nothing is asked anew"
    );
}

#[tokio::test]
async fn an_agent_that_does_not_answer_holds_the_others_up_once_for_a_second() {
    let world = World::new();
    let (one, two) = (world.agent("n1").await, world.agent("n2").await);
    one.change(|manner| manner.health = Health::Silent);
    let link = link(&world, &[&one, &two]);
    let begun = Instant::now();
    assert_eq!(agent_for(&link, &shard(0)).await, two.address);
    let first = begun.elapsed();
    assert!(
        first >= Duration::from_secs(1) && first < Duration::from_secs(4),
        "{first:?}"
    );
    for _ in 0..10 {
        // The same shard, so it is asked anew each time.
        assert_eq!(agent_for(&link, &shard(0)).await, two.address);
    }
    assert_eq!((one.hellos(), two.hellos()), (1, 11));
    assert_eq!(world.log.lines(&["WARN", &one.address]), 1);
}

#[tokio::test]
async fn where_nobody_listens_the_next_one_is_used_and_with_nobody_left_the_error_names_the_first() {
    let world = World::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let one = world.agent("n1").await;
    let link = link_to(&world, &[&nowhere, &one.address]);
    assert_eq!(agent_for(&link, &shard(0)).await, one.address);
    one.change(|manner| manner.health = Health::Failing);
    let error = link.connect().await.map(|connected| connected.agent).unwrap_err();
    assert!(crate::chain(&error).contains(&nowhere), "{error}");
}

#[tokio::test]
async fn an_agent_of_another_cluster_is_not_used_and_the_log_says_so_once() {
    let world = World::new();
    let (one, two, strange) = (
        world.agent("n1").await,
        world.agent("n2").await,
        world.agent("n1").await,
    );
    strange.change(|manner| manner.cluster = "another");
    let link = link(&world, &[&strange, &one, &two]);
    for number in [0, 0, 0, 1, 2] {
        assert_ne!(agent_for(&link, &shard(number)).await, strange.address);
    }
    assert_eq!(
        world
            .log
            .lines(&["ERROR", &strange.address, &one.address, "another"]),
        1
    );

    one.change(|manner| manner.health = Health::Failing);
    two.change(|manner| manner.health = Health::Failing);
    let error = link
        .connect_for(&shard(0), None)
        .await
        .map(|connected| connected.agent)
        .unwrap_err();
    assert!(matches!(&error, LeaderError::Foreign { address, .. } if *address == strange.address));
    assert!(error.to_string().contains(&one.address), "{error}");
    assert_eq!(
        world.log.lines(&["ERROR"]),
        1,
        "the error is the session's to tell"
    );

    strange.change(|manner| manner.cluster = "c");
    assert_eq!(agent_for(&link, &shard(0)).await, strange.address, "mended");
}

#[tokio::test]
async fn an_operator_sees_which_agents_can_be_used_why_others_cannot_and_whose_certificates_they_are() {
    let world = World::new();
    let (one, two, strange) = (
        world.agent("n1").await,
        world.agent("n2").await,
        world.agent("n1").await,
    );
    strange.change(|manner| manner.cluster = "another");
    two.change(|manner| manner.health = Health::Failing);
    let addresses = [&one, &two, &strange].map(|agent| agent.address.clone()).to_vec();
    let leaders = Leaders::from([("prod".to_owned(), addresses)]);
    let book = LeaderBook::new(world.client(), Leaders::new(), leaders);
    let before = book.statuses();
    assert_eq!(
        (&before[0].alias, &before[0].cluster),
        (&"prod".to_owned(), &None)
    );
    assert!(before[0].agents.iter().all(|agent| agent.reachable.is_none()));

    book.link("prod").unwrap().look().await;
    let after = book.statuses().remove(0);
    assert_eq!(after.cluster.unwrap().uuid, "c");
    let reachable: Vec<Option<bool>> = after.agents.iter().map(|agent| agent.reachable).collect();
    assert_eq!(reachable, [Some(true), Some(false), Some(false)]);
    assert!(after.agents[0].error.is_none() && after.agents[0].reads_translog);
    let reasons: Vec<&str> = after.agents[1..]
        .iter()
        .filter_map(|agent| agent.error.as_deref())
        .collect();
    assert!(reasons[0].contains("the node is down"), "{reasons:?}");
    assert!(
        reasons[1].contains("is of another cluster (another)"),
        "{reasons:?}"
    );
    let certificate = after.agents[0].certificate.as_ref().unwrap();
    assert_eq!(certificate.names, ["127.0.0.1"]);
    assert!(certificate.expires_at_millis > slipstream_model::moment::now_millis());

    two.change(|manner| manner.health = Health::Good);
    let hellos = one.hellos();
    book.link("prod").unwrap().look().await;
    assert_eq!(
        one.hellos(),
        hellos,
        "however many look, agents are asked now and then"
    );
}

#[tokio::test]
async fn agents_of_an_old_release_share_the_shards_and_are_not_asked_what_they_do_not_know() {
    let world = World::new();
    let (one, two) = (world.agent("").await, world.agent("").await);
    let link = link(&world, &[&one, &two]);
    let mut used = BTreeSet::new();
    for number in 0..20 {
        used.insert(agent_for(&link, &shard(number)).await);
    }
    assert_eq!(used.len(), 2);
    assert_eq!(link.better_agent(&shard(0), &one.address).await, None);
    assert_eq!((one.located(), two.located()), (0, 0));
}

#[tokio::test]
async fn where_the_shards_are_another_agent_tells_if_one_does_not_and_without_any_they_spread() {
    let world = World::new();
    let (one, two) = (world.agent("n1").await, world.agent("n2").await);
    let link = link(&world, &[&two, &one]);
    two.change(|manner| manner.copies = None);
    for number in 0..20 {
        assert_eq!(agent_for(&link, &shard(number)).await, one.address);
    }
    one.change(|manner| manner.copies = None);
    let mut used = BTreeSet::new();
    for number in 0..20 {
        used.insert(agent_for(&link, &shard(number)).await);
    }
    assert_eq!(used.len(), 2, "the first of them noticed");
    assert_eq!(link.better_agent(&shard(0), "gone:1").await, None);
}
