//! The translog reader on real servers: when it serves and why not, that nothing is lost whatever the leader's files go
//! through, and that the window reader takes over and gives back.
//!
//! Each test starts its servers once and puts them through several of the modules below: every pair that is promised through
//! the first, the others on engines of different generations.

#[path = "tail/changes.rs"]
mod changes;
#[path = "tail/crash.rs"]
mod crash;
#[path = "tail/disk.rs"]
mod disk;
#[path = "tail/flushes.rs"]
mod flushes;
#[path = "tail/lives.rs"]
mod lives;
#[path = "tail/places.rs"]
mod places;
#[path = "tail/world.rs"]
mod world;

use slipstream_testkit::servers::Release;

use crate::world::World;

// Each number is a seed that repeats what is written.

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_to_opensearch_2_19() {
    let Some(mut world) = World::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    changes::every_kind(&world, 21).await;
    changes::fields_that_are_mapped_late(&world).await;
    changes::large_and_foreign_documents(&world).await;
    flushes::a_storm_of_them_and_a_slow_link(&world, 22).await;
    flushes::while_the_follower_is_away(&mut world, 23).await;
    flushes::bursts_under_async_durability(&world).await;
    lives::merged_closed_reopened_and_deleted(&world, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_to_elasticsearch_7_10() {
    let Some(mut world) = World::start(Release::Elasticsearch7_10_2, Release::Elasticsearch7_10_2).await
    else {
        return;
    };
    changes::every_kind(&world, 31).await;
    flushes::a_storm_of_them_and_a_slow_link(&world, 32).await;
    crash::in_the_middle_of_bulks(&mut world, 33).await;
    lives::merged_closed_reopened_and_deleted(&world, 34).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_to_opensearch_2_19() {
    let Some(world) = World::start(Release::Elasticsearch7_10_2, Release::OpenSearch2_19_1).await else {
        return;
    };
    changes::every_kind(&world, 41).await;
    changes::large_and_foreign_documents(&world).await;
    lives::split_from_another(&world, 42).await;
    flushes::bursts_under_async_durability(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2_19_to_opensearch_3_6() {
    let Some(world) = World::start(Release::OpenSearch2_19_1, Release::OpenSearch3_6_0).await else {
        return;
    };
    changes::every_kind(&world, 51).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_17_to_elasticsearch_8_19() {
    let Some(world) = World::start(Release::Elasticsearch7_17_29, Release::Elasticsearch8_19_21).await else {
        return;
    };
    changes::every_kind(&world, 61).await;
    changes::fields_that_are_mapped_late(&world).await;
    changes::after_a_long_quiet(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_8_19_by_itself() {
    let Some(world) = World::alone(Release::Elasticsearch8_19_21).await else {
        return;
    };
    changes::every_kind(&world, 71).await;
    flushes::a_storm_of_them_and_a_slow_link(&world, 72).await;
}

/// Leader and target are one server, so its death is the death of both.
#[tokio::test(flavor = "multi_thread")]
async fn opensearch_3_6_by_itself() {
    let Some(mut world) = World::alone(Release::OpenSearch3_6_0).await else {
        return;
    };
    changes::every_kind(&world, 81).await;
    crash::in_the_middle_of_bulks(&mut world, 82).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_elsewhere_away_not_wanted_or_demanded() {
    places::every_one(Release::OpenSearch2_19_1, 91).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_have_not_recovered_their_state() {
    let Some(mut world) = World::alone_and_slow_to_recover(Release::OpenSearch2_19_1).await else {
        return;
    };
    crash::before_the_state_is_recovered(&mut world, 101).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full() {
    disk::full_and_emptied(Release::OpenSearch2_19_1).await;
}
