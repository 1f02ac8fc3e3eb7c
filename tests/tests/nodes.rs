//! A leader cluster of several nodes with an agent beside each: every shard is read where a copy of it is, wherever that
//! goes, and whoever dies.
//!
//! A cluster is started once and goes through all phases; what failed names its phase by the index that it is about.

#[path = "nodes/addresses.rs"]
mod addresses;
#[path = "nodes/ghosts.rs"]
mod ghosts;
#[path = "nodes/losses.rs"]
mod losses;
#[path = "nodes/moves.rs"]
mod moves;
#[path = "nodes/places.rs"]
mod places;
#[path = "nodes/world.rs"]
mod world;

use slipstream_testkit::servers::Release;

use self::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_of_opensearch_2_19() {
    let Some(mut world) = World::start(Release::OpenSearch2_19_1, 3).await else {
        return;
    };
    let workload = moves::spread_over_all_agents(&world, 101).await;
    moves::in_the_middle_of_catching_up(&world).await;
    moves::in_the_middle_of_writes(&world, &workload).await;
    losses::an_agent_in_the_middle_of_writes(&mut world, &workload).await;
    ghosts::of_a_killed_node(&mut world, &workload).await;
    addresses::that_are_wrong(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_elasticsearch_7_10() {
    let Some(mut world) = World::start(Release::Elasticsearch7_10_2, 2).await else {
        return;
    };
    let workload = moves::spread_over_all_agents(&world, 201).await;
    losses::a_node_that_is_cut_off(&world, &workload).await;
    ghosts::of_a_killed_node(&mut world, &workload).await;
}
