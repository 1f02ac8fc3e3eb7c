//! What a follower may learn about indices.

use serde_json::{Value, json};
use slipstream_wire::v1;
use slipstream_wire::v1::catalog_client::CatalogClient;
use tonic::Code;

use crate::stub::{INDEX, INDEX_UUID};
use crate::{FOLLOWER, Fixture, rule};

fn ask(index: &str) -> v1::DescribeRequest {
    v1::DescribeRequest {
        index: index.to_owned(),
    }
}

#[tokio::test]
async fn an_index_is_described_with_all_that_a_follower_index_is_made_from() {
    let fixture = Fixture::start().await;
    let mut client = CatalogClient::new(fixture.channel.clone());
    let found = client.describe(ask(INDEX)).await.unwrap().into_inner();
    assert_eq!(found.index_uuid, INDEX_UUID);
    assert_eq!(
        (found.shards, found.routing_shards, found.state.as_str()),
        (1, 1024, "open")
    );
    assert_eq!(
        found.versions,
        Some(v1::MetadataVersions {
            mapping: 3,
            settings: 2,
            aliases: 1
        })
    );
    assert_eq!(found.unsupported, "");
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(
        json(&found.mapping_json),
        json!({"properties": {"v": {"type": "long"}}})
    );
    assert_eq!(json(&found.settings_json), json!({"index.number_of_shards": "1"}));
    assert_eq!(json(&found.aliases_json), json!({"all-logs": {}}));

    fixture.stub.set("index.derived_source.enabled", "true");
    let found = client.describe(ask(INDEX)).await.unwrap().into_inner();
    assert!(
        found.unsupported.contains("_source is derived"),
        "{}",
        found.unsupported
    );
}

#[tokio::test]
async fn a_missing_index_is_not_found() {
    let fixture = Fixture::start().await;
    let status = CatalogClient::new(fixture.channel.clone())
        .describe(ask("logs-2"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("[logs-2]"), "{status}");
}

#[tokio::test]
async fn what_no_rule_allows_is_denied_and_logged_once_with_identity_and_index() {
    let fixture = Fixture::start().await;
    let mut client = CatalogClient::new(fixture.channel.clone());
    let status = client.describe(ask("payroll")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status.message().contains(FOLLOWER) && status.message().contains("[payroll]"),
        "{status}"
    );
    assert_eq!(fixture.logs.lines(&["WARN", FOLLOWER, "payroll"]), 1);

    fixture.leader.reload_rules(vec![rule(&["payroll"])]);
    assert_eq!(
        client.describe(ask("payroll")).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        client.describe(ask(INDEX)).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_list_shows_only_what_may_be_read() {
    let fixture = Fixture::start().await;
    let mut client = CatalogClient::new(fixture.channel.clone());
    let every = |known_version| v1::ListRequest {
        pattern: "*".to_owned(),
        known_version,
    };
    let first = client.list(every(0)).await.unwrap().into_inner();
    let (found, version) = (first.indices, first.version);
    let entry = v1::list_reply::Entry {
        index: INDEX.into(),
        index_uuid: INDEX_UUID.into(),
        state: "open".into(),
    };
    assert_eq!(found, [entry]);
    let again = client.list(every(version)).await.unwrap().into_inner();
    assert!(again.unchanged && again.indices.is_empty() && again.version == version);

    fixture.leader.reload_rules(Vec::new());
    let refused = client.list(every(version)).await.unwrap().into_inner();
    assert!(!refused.unchanged && refused.indices.is_empty());
}

#[tokio::test]
async fn an_index_is_located_by_node() {
    let fixture = Fixture::start().await;
    let request = v1::LocateRequest { index: INDEX.into() };
    let found = CatalogClient::new(fixture.channel.clone())
        .locate(request)
        .await
        .unwrap()
        .into_inner();
    let copy = v1::placement::Copy {
        node_id: "n1".into(),
        primary: true,
    };
    let shard = v1::placement::Shard {
        shard: 0,
        copies: vec![copy],
    };
    let placement = v1::Placement {
        index_uuid: INDEX_UUID.into(),
        shards: vec![shard],
    };
    assert_eq!(found, placement);
}

#[tokio::test]
async fn only_what_is_there_and_may_be_read_is_located() {
    let fixture = Fixture::start().await;
    let mut client = CatalogClient::new(fixture.channel.clone());
    for (index, code) in [("logs-2", Code::NotFound), ("payroll", Code::PermissionDenied)] {
        let request = v1::LocateRequest { index: index.into() };
        let status = client.locate(request).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains(&format!("[{index}]")), "{status}");
    }
    fixture.stub.drop_index();
    let request = v1::LocateRequest { index: INDEX.into() };
    assert_eq!(client.locate(request).await.unwrap_err().code(), Code::NotFound);
}
