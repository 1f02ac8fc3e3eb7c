//! I1, I3: a leader with replicas loses the node of its primary in the middle of writes. What was acknowledged arrives;
//! what was not, and was rolled back, never shows on the follower. The agent is beside a replica, whose translog it tails
//! for as long as there is one.

use std::time::Duration;

use serde_json::json;
use slipstream_testkit::servers::{Cluster, Release, Server, ServerConfig, or_skip};
use slipstream_testkit::workload::{StormIndex, Workload};
use slipstream_tests::agents::{Agents, LONG, Options};
use slipstream_tests::real::wait_until_equal;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_the_primarys_node_of_two_is_killed_opensearch_2_19() {
    fail_over(Release::OpenSearch2_19_1, 2, 11).await;
}

/// Of three copies one may have what the other has not, when the primary dies.
#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_the_primarys_node_of_three_is_killed_elasticsearch_7_10() {
    fail_over(Release::Elasticsearch7_10_2, 3, 12).await;
}

/// Repeats by the seed that each test names.
async fn fail_over(release: Release, nodes: usize, seed: u64) {
    let (leader, target) = tokio::join!(
        Cluster::start(release, nodes, ServerConfig::named("leader")),
        Server::ready(release, ServerConfig::named("target")),
    );
    let (Some(mut leader), Some(target)) = (or_skip(leader), or_skip(target)) else {
        return;
    };
    let agents = Agents::start(&leader.nodes[0].url(), &target.url(), Options::default()).await;

    let index = StormIndex {
        name: "replicated".to_owned(),
        shards: 2,
        versions_restart: false,
    };
    let workload = Workload::new(seed).with_indices(vec![index]);
    workload.create_indices(&leader.client()).await;
    // Copies go where the test puts them.
    let stay = json!({ "persistent": { "cluster.routing.rebalance.enable": "none" } });
    assert_eq!(leader.client().put("/_cluster/settings", &stay).await.0, 200);
    set_replicas(&leader, nodes - 1).await;
    agents.follow("copy", "replicated").await;

    let writers = workload.start(leader.client().url());
    for shard in 0..2 {
        leader.move_primary("replicated", shard, 1).await;
    }
    agents
        .wait_for_reader("copy", "translog", "replica on node [node-0]", LONG)
        .await;
    sleep(Duration::from_secs(2)).await;
    leader.nodes[1].kill().await;
    sleep(Duration::from_secs(4)).await;
    leader.nodes[1]
        .restart()
        .await
        .expect("the killed node comes back");
    leader.wait_for_nodes(nodes).await;
    leader.wait_for_green("replicated").await;

    // The copy beside the agent goes away in the middle of writes, and another one comes.
    for shard in 0..2 {
        leader.move_primary("replicated", shard, 1).await;
    }
    set_replicas(&leader, 0).await;
    agents
        .wait_for_reader("copy", "window", "holds no started copy of the shard", LONG)
        .await;
    set_replicas(&leader, nodes - 1).await;
    agents
        .wait_for_reader("copy", "translog", "replica on node [node-0]", LONG)
        .await;

    let summary = writers.stop().await;
    assert!(summary.done > 0, "{summary:?}");
    wait_until_equal(&leader.client(), "replicated", &target.client(), "copy", LONG).await;
    agents.wait_for_status("copy", "SYNCING", LONG).await;
}

async fn set_replicas(leader: &Cluster, replicas: usize) {
    let settings = json!({ "index": { "number_of_replicas": replicas } });
    let (status, answer) = leader.client().put("/replicated/_settings", &settings).await;
    assert_eq!(status, 200, "{answer}");
    leader.wait_for_green("replicated").await;
}
