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
    let begun = std::time::Instant::now();
    let Some(mut world) = World::start(Release::OpenSearch2_19_1, 3).await else {
        return;
    };
    println!("started {:?}", begun.elapsed());
    let workload = moves::spread_over_all_agents(&world, 101).await;
    println!("spread {:?}", begun.elapsed());
    moves::in_the_middle_of_catching_up(&world).await;
    println!("catchup {:?}", begun.elapsed());
    moves::in_the_middle_of_writes(&world, &workload).await;
    println!("writes {:?}", begun.elapsed());
    losses::an_agent_in_the_middle_of_writes(&mut world, &workload).await;
    println!("agent {:?}", begun.elapsed());
    ghosts::of_a_killed_node(&mut world, &workload).await;
    println!("node {:?}", begun.elapsed());
    addresses::that_are_wrong(&mut world).await;
    println!("addresses {:?}", begun.elapsed());
    save(&world);
}

fn save(world: &World) {
    let _ = std::fs::remove_dir_all("/tmp/n/logs");
    let _ = std::fs::create_dir_all("/tmp/n/logs");
    for e in std::fs::read_dir(world.agents.folder.path()).unwrap().flatten() {
        if e.file_name().to_string_lossy().ends_with("log") {
            let _ = std::fs::copy(e.path(), std::path::Path::new("/tmp/n/logs").join(e.file_name()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_elasticsearch_7_10() {
    let begun = std::time::Instant::now();
    let Some(mut world) = World::start(Release::Elasticsearch7_10_2, 2).await else {
        return;
    };
    println!("started {:?}", begun.elapsed());
    let workload = moves::spread_over_all_agents(&world, 201).await;
    println!("spread {:?}", begun.elapsed());
    moves::in_the_middle_of_catching_up(&world).await;
    println!("catchup {:?}", begun.elapsed());
    ghosts::of_a_killed_node(&mut world, &workload).await;
    println!("node {:?}", begun.elapsed());
    save(&world);
}
