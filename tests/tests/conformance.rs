//! The same cases against the sandbox and against real servers: what the agents rely on, as a client sees it.
//!
//! Where the sandbox answers otherwise than the engine whose name it bears, the sandbox is wrong. Where engines differ
//! among themselves, a case says so and asks the engine at hand. One test per engine; a case that fails does not hide
//! those after it. `CONFORMANCE_URL` (and `CONFORMANCE_CASE`, a part of a name) points the suite at a server that is
//! already there.

#[path = "conformance/bulks.rs"]
mod bulks;
#[path = "conformance/context.rs"]
mod context;
#[path = "conformance/documents.rs"]
mod documents;
#[path = "conformance/identity.rs"]
mod identity;
#[path = "conformance/mappings.rs"]
mod mappings;
#[path = "conformance/metadata.rs"]
mod metadata;
#[path = "conformance/searches.rs"]
mod searches;
#[path = "conformance/sources.rs"]
mod sources;
#[path = "conformance/versions.rs"]
mod versions;

use context::{conform, conform_to_release};
use slipstream_sandbox::{Flavor, Sandbox, SandboxConfig};
use slipstream_testkit::servers::Release;

async fn sandbox(engine: Flavor, data: Option<std::path::PathBuf>) {
    let config = SandboxConfig {
        engine,
        cluster_name: "conformance".to_owned(),
        data,
        listen: ([127, 0, 0, 1], 0).into(),
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    conform(&format!("sandbox as {engine}"), &sandbox.url()).await;
    sandbox.stop().await;
}

#[tokio::test]
async fn sandbox_as_opensearch_conforms() {
    sandbox(Flavor::OpenSearch, None).await;
}

#[tokio::test]
async fn sandbox_as_elasticsearch_conforms() {
    sandbox(Flavor::Elasticsearch, None).await;
}

#[tokio::test]
async fn sandbox_on_disk_conforms() {
    let data = tempfile::tempdir().expect("a folder");
    sandbox(Flavor::OpenSearch, Some(data.path().to_owned())).await;
}

#[tokio::test]
async fn server_at_hand_conforms() {
    if let Ok(url) = std::env::var("CONFORMANCE_URL") {
        conform(&url, &url).await;
    }
}

#[tokio::test]
async fn elasticsearch_7_10_2_conforms() {
    conform_to_release(Release::Elasticsearch7_10_2).await;
}

#[tokio::test]
async fn elasticsearch_7_17_29_conforms() {
    conform_to_release(Release::Elasticsearch7_17_29).await;
}

#[tokio::test]
async fn elasticsearch_8_19_21_conforms() {
    conform_to_release(Release::Elasticsearch8_19_21).await;
}

#[tokio::test]
async fn opensearch_2_19_1_conforms() {
    conform_to_release(Release::OpenSearch2_19_1).await;
}

#[tokio::test]
async fn opensearch_3_6_0_conforms() {
    conform_to_release(Release::OpenSearch3_6_0).await;
}
