//! Where copies are, as servers of one node and of several tell it.

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use slipstream_cluster::{Cluster, ClusterConfig, ErrorKind, LocalNode, ShardCopy};
use slipstream_model::{Checkpoint, GlobalCheckpoint, IndexName, ShardId};
use slipstream_sandbox::{Flavor, Sandbox, SandboxConfig};
use tokio::net::TcpListener;

/// A client of a server that gives the answer whose path is asked for, and `{}` to everything else.
async fn cluster(path: &'static str, answer: &'static str) -> Cluster {
    let app = Router::new().fallback(move |request: Request| async move {
        let body = if request.uri().path() == path {
            answer
        } else {
            "{}"
        };
        ([("content-type", "application/json")], body).into_response()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Cluster::new(&ClusterConfig::new(url)).expect("a client")
}

/// Shard 0 moves from n1 to n3 and has a replica on n2; shard 1 has a replica that is still being built; the copies of
/// shard 2 recover.
const STATS: &str = r#"{"indices":{"logs":{"uuid":"u","shards":{
    "0":[
        {"routing":{"state":"RELOCATING","primary":true,"node":"n1"},
         "commit":{"user_data":{"history_uuid":"h0","translog_uuid":"t1"}},
         "seq_no":{"max_seq_no":12,"local_checkpoint":11,"global_checkpoint":10},
         "shard_path":{"data_path":"/data/nodes/0"}},
        {"routing":{"state":"INITIALIZING","primary":true,"node":"n3"},
         "commit":{"user_data":{"history_uuid":"h0","translog_uuid":"t3"}},
         "seq_no":{"max_seq_no":12,"local_checkpoint":11,"global_checkpoint":9},
         "shard_path":{"data_path":"/data"}},
        {"routing":{"state":"STARTED","primary":false,"node":"n2"},
         "commit":{"user_data":{"history_uuid":"h0","translog_uuid":"t2"}},
         "seq_no":{"max_seq_no":12,"local_checkpoint":12,"global_checkpoint":-1}}],
    "1":[
        {"routing":{"state":"STARTED","primary":true,"node":"n2"},
         "commit":{"user_data":{"history_uuid":"h1"}},
         "seq_no":{"max_seq_no":-1,"local_checkpoint":-1,"global_checkpoint":-1},
         "shard_path":{"data_path":""}},
        {"routing":{"state":"INITIALIZING","primary":false,"node":"n1"}}],
    "2":[{"routing":{"state":"INITIALIZING","primary":true,"node":"n1"}}]}},
    "another":{"uuid":"v","shards":{}}}}"#;

#[tokio::test]
async fn started_copies_are_found_with_their_nodes_and_folders() {
    let cluster = cluster("/logs/_stats/refresh", STATS).await;
    let found = cluster.shard_copies(&"logs".into()).await.expect("copies");
    let found = found.expect("the index");
    assert_eq!(found.uuid.as_str(), "u");
    let copy = |node: &str, primary, data_path: &str, translog: &str, history: &str, global, max| ShardCopy {
        node: node.into(),
        primary,
        data_path: data_path.into(),
        translog_uuid: translog.into(),
        history_uuid: history.into(),
        global_checkpoint: GlobalCheckpoint(Checkpoint::new(global)),
        max_seq_no: Checkpoint::new(max),
    };
    assert_eq!(
        found.shards[&ShardId(0)],
        [
            copy("n1", true, "/data/nodes/0", "t1", "h0", 10, 12),
            copy("n2", false, "", "t2", "h0", -1, 12),
        ],
        "who gives the shard away has it until the other one has it whole"
    );
    assert_eq!(
        found.shards[&ShardId(1)],
        [copy("n2", true, "", "", "h1", -1, -1)]
    );
    assert!(found.shards.get(&ShardId(2)).is_none_or(Vec::is_empty));
}

#[tokio::test]
async fn a_sandbox_holds_its_copies_itself_and_has_no_folders() {
    let config = SandboxConfig {
        engine: Flavor::OpenSearch,
        cluster_name: "sandbox".into(),
        data: None,
        listen: ([127, 0, 0, 1], 0).into(),
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let cluster = Cluster::new(&ClusterConfig::new(sandbox.url())).expect("a client");
    let index = IndexName::from("logs");
    let settings = [("index.number_of_shards".to_owned(), "2".into())].into();
    let mapping = serde_json::value::RawValue::from_string("{}".to_owned()).expect("JSON");
    cluster
        .create_index(&index, &settings, &mapping, &serde_json::Map::new())
        .await
        .expect("an index");
    let node = cluster.local_node().await.expect("a node");
    let copies = cluster.shard_copies(&index).await.expect("copies").expect("open");
    assert_eq!(copies.shards.len(), 2);
    for copies in copies.shards.values() {
        assert_eq!(copies.len(), 1);
        assert!(copies[0].primary && copies[0].data_path.is_empty());
        assert_eq!(copies[0].node, node.id);
    }
    assert!(!node.name.is_empty() && node.data_paths.is_empty());
    sandbox.stop().await;
}

#[tokio::test]
async fn an_index_that_is_missing_or_only_an_alias_has_no_copies() {
    let cluster = cluster("/alias/_stats/refresh", STATS).await;
    for index in ["missing", "alias"] {
        let found = cluster.shard_copies(&IndexName::from(index)).await;
        assert_eq!(found.expect("an answer"), None, "{index}");
    }
}

#[tokio::test]
async fn the_local_node_tells_its_name_and_its_folders_however_it_prints_them() {
    for (settings, data_paths) in [
        (r#"{"path":{"data":["/a","/b"]}}"#, vec!["/a", "/b"]),
        (r#"{"path":{"data":"/a, /b"}}"#, vec!["/a", "/b"]),
        (r#"{"path":{"data":"/a"}}"#, vec!["/a"]),
        (r#"{"path":{"home":"/usr/share/engine","data":"/a"}}"#, vec!["/a"]),
        (
            r#"{"path":{"home":"/usr/share/engine"}}"#,
            vec!["/usr/share/engine/data"],
        ),
        (r"{}", vec![]),
    ] {
        let answer = format!(r#"{{"nodes":{{"x-y_z":{{"name":"node-1","settings":{settings}}}}}}}"#);
        let cluster = cluster("/_nodes/_local/settings", answer.leak()).await;
        let expected = LocalNode {
            id: "x-y_z".into(),
            name: "node-1".into(),
            data_paths: data_paths.into_iter().map(str::to_owned).collect(),
        };
        assert_eq!(cluster.local_node().await.expect("a node"), expected);
    }
    let nameless = cluster("/_nodes/_local/settings", r#"{"nodes":{}}"#).await;
    let error = nameless.local_node().await.expect_err("no node");
    assert_eq!(error.kind, ErrorKind::Protocol);
}
