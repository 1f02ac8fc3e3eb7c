//! What a case gets to work with, and the run of all cases against one engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_testkit::client::Es;
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};

/// The engine at hand and the index that belongs to one case.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) es: Es,
    /// The case's own index; it does not exist when the case begins.
    pub(crate) index: String,
    /// Whether it is OpenSearch, or says so.
    pub(crate) opensearch: bool,
    /// Major and minor version.
    pub(crate) version: (u64, u64),
}

type Outcome = Pin<Box<dyn Future<Output = ()>>>;

/// A case and its name.
pub(crate) type Case = (&'static str, fn(Arc<Context>) -> Outcome);

/// Makes the list of a module's cases out of their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(crate) const CASES: &[crate::context::Case] =
            &[$((concat!(module_path!(), "::", stringify!($case)), |c| Box::pin($case(c)))),*];
    };
}
pub(crate) use cases;

impl Context {
    /// `/INDEX` and more.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("/{}{rest}", self.index)
    }

    /// Makes the case's index without replicas, with these settings and mappings besides.
    pub(crate) async fn create(&self, settings: Value, mappings: Value) {
        let mut settings = settings;
        settings["number_of_replicas"] = json!(0);
        let body = json!({"settings": settings, "mappings": mappings});
        let (status, answer) = self.es.put(&self.at(""), &body).await;
        assert_eq!(status, 200, "create {}: {answer}", self.index);
    }

    /// [`Context::create`] with one shard and nothing else.
    pub(crate) async fn create_plain(&self) {
        self.create(json!({"number_of_shards": 1}), json!({})).await;
    }

    pub(crate) async fn get(&self, rest: &str) -> (u16, Value) {
        self.es.get(&self.at(rest)).await
    }

    pub(crate) async fn put(&self, rest: &str, body: Value) -> (u16, Value) {
        self.es.put(&self.at(rest), &body).await
    }

    pub(crate) async fn post(&self, rest: &str, body: Value) -> (u16, Value) {
        self.es.post(&self.at(rest), &body).await
    }

    /// A `POST` without a body, where some releases refuse one.
    pub(crate) async fn post_empty(&self, rest: &str) -> (u16, Value) {
        let (status, bytes) = self
            .es
            .try_send("POST", &self.at(rest), None)
            .await
            .expect("an answer");
        (status, serde_json::from_slice(&bytes).expect("json"))
    }

    pub(crate) async fn delete(&self, rest: &str) -> (u16, Value) {
        self.es.delete(&self.at(rest)).await
    }

    /// A request that has to be answered with 200 or 201.
    pub(crate) async fn put_ok(&self, rest: &str, body: Value) -> Value {
        let (status, answer) = self.put(rest, body).await;
        assert!(matches!(status, 200 | 201), "PUT {rest}: {status} {answer}");
        answer
    }

    pub(crate) async fn refresh(&self) {
        self.es.refresh(&self.index).await;
    }

    /// A search that has to be answered with 200.
    pub(crate) async fn search(&self, params: &str, body: Value) -> Value {
        let (status, answer) = self.post(&format!("/_search{params}"), body).await;
        assert_eq!(status, 200, "search: {answer}");
        answer
    }

    /// How the index shows in the cluster state.
    pub(crate) async fn state(&self) -> Value {
        let (status, state) = self
            .es
            .get(&format!("/_cluster/state/metadata/{}", self.index))
            .await;
        assert_eq!(status, 200, "{state}");
        state["metadata"]["indices"][&self.index].clone()
    }

    /// The primary copies' statistics by shard number.
    pub(crate) async fn shard_stats(&self, shard: u32) -> Value {
        let (status, stats) = self.get("/_stats?level=shards").await;
        assert_eq!(status, 200, "{stats}");
        let copies = &stats["indices"][&self.index]["shards"][shard.to_string()];
        let primary = copies
            .as_array()
            .and_then(|c| c.iter().find(|c| c["routing"]["primary"] == true));
        primary
            .unwrap_or_else(|| panic!("no primary of shard {shard}: {stats}"))
            .clone()
    }
}

/// The `type` of an error, wherever the answer has it.
pub(crate) fn error_type(answer: &Value) -> &str {
    answer["error"]["type"].as_str().unwrap_or("no error")
}

/// The `_id`s of the hits in their order.
pub(crate) fn ids(answer: &Value) -> Vec<String> {
    let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
    hits.iter()
        .map(|h| h["_id"].as_str().unwrap_or("").to_owned())
        .collect()
}

/// Runs every case against a server of this release.
pub(crate) async fn conform_to_release(release: Release) {
    let Some(server) = or_skip(Server::start(release, ServerConfig::default()).await) else {
        return;
    };
    conform(release.name(), &server.url()).await;
    server.stop().await;
}

/// Whether it is OpenSearch, and its major and minor version.
async fn about(es: &Es) -> (bool, (u64, u64)) {
    let (status, root) = es.get("/").await;
    // The plain zips of Elasticsearch 8 lack the module that answers at the root.
    let nodes = if status == 200 {
        Value::Null
    } else {
        es.get("/_nodes/_local").await.1
    };
    let node = nodes["nodes"]
        .as_object()
        .and_then(|n| n.values().next())
        .cloned()
        .unwrap_or_default();
    let number = root["version"]["number"]
        .as_str()
        .or(node["version"].as_str())
        .expect("a version");
    let mut parts = number.split('.').map(|p| p.parse().expect("a number"));
    let version = (
        parts.next().expect("a major version"),
        parts.next().expect("a minor version"),
    );
    (root["version"]["distribution"] == "opensearch", version)
}

#[expect(
    clippy::print_stdout,
    reason = "the line that tells which case of which engine the panic above it was"
)]
fn tell(engine: &str, case: &str) {
    println!("FAILED on {engine}: {case}");
}

/// Runs every case against the engine at `url`; panics at the end with all that failed.
pub(crate) async fn conform(engine: &str, url: &str) {
    let es = Es::new(url);
    let (opensearch, version) = about(&es).await;
    let wanted = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let all = [
        crate::documents::CASES,
        crate::versions::CASES,
        crate::bulks::CASES,
        crate::sources::CASES,
        crate::searches::CASES,
        crate::mappings::CASES,
        crate::metadata::CASES,
        crate::identity::CASES,
    ];
    let mut failed = Vec::new();
    for (name, run) in all
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.contains(&wanted))
    {
        let name = name.trim_start_matches("conformance::");
        let index = format!("c-{}", name.replace("::", "-"));
        es.delete(&format!("/{index}*")).await;
        let context = Context {
            es: es.clone(),
            index: index.clone(),
            opensearch,
            version,
        };
        // On a task of its own, so that a panic ends the case and not the run.
        let local = tokio::task::LocalSet::new();
        let outcome = local
            .run_until(async { tokio::task::spawn_local(run(Arc::new(context))).await })
            .await;
        if outcome.is_err() {
            tell(engine, name);
            failed.push(name);
        }
        es.delete(&format!("/{index}*")).await;
    }
    assert!(failed.is_empty(), "{engine} does not conform: {failed:?}");
}
