//! The first call.

use slipstream_leader::LeaderConfig;
use slipstream_source::TailConfig;
use slipstream_wire::v1::handshake_client::HandshakeClient;
use slipstream_wire::{hello, v1};
use tonic::Code;

use crate::stub::CLUSTER_UUID;
use crate::{FOLLOWER, Fixture};

#[tokio::test]
async fn hello_tells_protocol_cluster_and_identity() {
    let fixture = Fixture::start().await;
    let reply = hello(fixture.channel.clone(), &fixture.address, "9.9.9", &["unknown"])
        .await
        .unwrap();
    assert_eq!(reply.protocol, 1);
    assert_eq!(reply.cluster_uuid, CLUSTER_UUID);
    assert_eq!(
        (reply.engine.as_str(), reply.engine_version.as_str()),
        ("opensearch", "1.3.0")
    );
    assert_eq!(reply.identity, FOLLOWER);
    assert!(reply.capabilities.is_empty());
    assert_eq!(fixture.logs.lines(&["INFO", "said hello", FOLLOWER, "9.9.9"]), 1);
}

#[tokio::test]
async fn hello_tells_the_node_beside_the_agent_and_whether_its_files_are_read() {
    for enabled in [true, false] {
        let translog = TailConfig {
            enabled,
            ..TailConfig::default()
        };
        let config = LeaderConfig {
            translog,
            ..LeaderConfig::default()
        };
        let fixture = Fixture::start_with(config).await;
        let reply = hello(fixture.channel.clone(), &fixture.address, "1", &[])
            .await
            .unwrap();
        assert_eq!(
            (reply.node_id.as_str(), reply.node_name.as_str()),
            ("n1", "node-1")
        );
        assert_eq!(reply.tails, enabled);
    }
}

#[tokio::test]
async fn hello_goes_without_a_node_where_the_cluster_does_not_tell() {
    let fixture = Fixture::start().await;
    fixture.stub.hide_nodes();
    let reply = hello(fixture.channel.clone(), &fixture.address, "1", &[])
        .await
        .unwrap();
    assert_eq!((reply.node_id.as_str(), reply.tails), ("", false));
    assert_eq!(reply.cluster_uuid, CLUSTER_UUID);
}

#[tokio::test]
async fn another_protocol_is_refused_with_both_ranges() {
    let fixture = Fixture::start().await;
    let mut client = HandshakeClient::new(fixture.channel.clone());
    let request = v1::HelloRequest {
        protocol_min: 7,
        protocol_max: 9,
        ..v1::HelloRequest::default()
    };
    let status = client.hello(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status
            .message()
            .contains("the follower agent speaks 7 to 9, the leader agent 1 to 1"),
        "{status}"
    );
}

#[tokio::test]
async fn hello_fails_while_the_cluster_does_even_if_it_is_known() {
    let fixture = Fixture::start().await;
    hello(fixture.channel.clone(), &fixture.address, "1", &[])
        .await
        .unwrap();
    fixture.stub.go_down();
    let mut client = HandshakeClient::new(fixture.channel.clone());
    let request = v1::HelloRequest {
        protocol_min: 1,
        protocol_max: 1,
        ..v1::HelloRequest::default()
    };
    let status = client.hello(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains(&fixture.stub.url), "{status}");
}
