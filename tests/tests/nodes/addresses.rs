//! Addresses that should not be in the list: where nobody listens, where nobody answers, and another cluster's.

use serde_json::json;
use slipstream_testkit::proxy::Proxy;
use slipstream_tests::agents::{SOON, free_port};

use crate::world::{World, bulk};

pub(crate) async fn that_are_wrong(world: &mut World) {
    let nowhere = format!("127.0.0.1:{}", free_port());
    let silent = Proxy::start(([127, 0, 0, 1], free_port()).into())
        .await
        .expect("a proxy");
    silent.stall();
    let mut foreign = world.agents.one_more_leader("foreign", &world.target.url()).await;
    foreign.process.start();
    let mut addresses = vec![
        nowhere.clone(),
        silent.address().to_string(),
        foreign.link.address().to_string(),
    ];
    addresses.extend(world.addresses());
    world.agents.register_agents(&addresses).await;

    let settings = json!({ "number_of_shards": 3, "number_of_replicas": 0 });
    world.create("listed", settings).await;
    bulk(&world.source(), "listed", 0..100, 10).await;
    world.follow("listed").await;
    world.tailed_beside_primaries("listed", SOON).await;
    bulk(&world.source(), "listed", 50..150, 20).await;
    world.equal("listed").await;

    let (unusable, stands_in) = ("a leader agent cannot be used", "others_stand_in=true");
    for address in [&nowhere, &silent.address().to_string()] {
        let words = ["WARN", address, unusable, stands_in];
        world.agents.follower.logged(&words).await;
    }
    let foreign = foreign.link.address().to_string();
    world
        .agents
        .follower
        .logged(&["ERROR", &foreign, "are of different clusters"])
        .await;
}
