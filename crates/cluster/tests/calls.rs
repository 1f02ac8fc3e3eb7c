//! What a caller sees of servers that answer late, wrongly, too much, or not at all.

#[path = "calls/answers.rs"]
mod answers;
#[path = "calls/documents.rs"]
mod documents;
#[path = "calls/identity.rs"]
mod identity;
#[path = "calls/indices.rs"]
mod indices;
#[path = "calls/pages.rs"]
mod pages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use slipstream_cluster::{
    Auth, BulkItem, ClientCert, Cluster, ClusterConfig, Engine, ErrorKind, ItemOutcome, PageQuery, PitId,
    RetryReason, Searcher,
};
use slipstream_model::{
    Change, Checkpoint, DocRef, IndexName, Op, PrimaryTerm, SeqNo, SeqRange, ShardId, Version,
};
use tokio::net::TcpListener;

const GREETING: &str = r#"{"name":"n","cluster_name":"c","cluster_uuid":"u","version":{"number":"2.19.1","distribution":"opensearch"}}"#;

const OLD_GREETING: &str =
    r#"{"name":"n","cluster_name":"c","cluster_uuid":"u","version":{"number":"7.10.2"}}"#;

/// What a test server was asked.
struct Asked {
    method: String,
    /// Path and parameters, as they came over the wire.
    uri: String,
    headers: axum::http::HeaderMap,
    body: Bytes,
}

impl Asked {
    fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.uri.split('?').next() == Some(path)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server that answers as told; `None` never answers.
async fn server(answer: impl Fn(Asked) -> Option<Response> + Send + Sync + 'static) -> ClusterConfig {
    let answer = Arc::new(answer);
    let app = Router::new().fallback(move |request: Request| {
        let answer = Arc::clone(&answer);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            let asked = Asked {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                headers: parts.headers,
                body,
            };
            match answer(asked) {
                Some(response) => response,
                None => std::future::pending().await,
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    ClusterConfig::new(format!("http://{address}"))
}

/// A server that says what it is, and answers everything else with this.
async fn engine_that_answers(body: String) -> ClusterConfig {
    server(move |asked| {
        let greets = asked.is("GET", "/");
        json(200, if greets { GREETING } else { body.as_str() })
    })
    .await
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the servers' closures return it as it is"
)]
fn json(status: u16, body: impl Into<String>) -> Option<Response> {
    let status = axum::http::StatusCode::from_u16(status).expect("a status");
    Some((status, [("content-type", "application/json")], body.into()).into_response())
}

fn client(config: &ClusterConfig) -> Cluster {
    Cluster::new(config).expect("a client")
}

fn index() -> IndexName {
    IndexName::from("i")
}

fn doc(id: &str, source: &'static [u8]) -> Op {
    Op {
        seq_no: SeqNo::ZERO,
        term: PrimaryTerm(1),
        version: Version(7),
        doc: DocRef {
            id: id.into(),
            routing: None,
        },
        change: Change::Index {
            source: Bytes::from_static(source),
        },
    }
}

fn target(pit: Option<&str>) -> Searcher {
    Searcher {
        pit: pit.map(|id| PitId(id.to_owned())),
        ..Searcher::new(index(), ShardId(2), "node")
    }
}

fn query(target: &Searcher) -> PageQuery<'_> {
    PageQuery {
        target,
        range: SeqRange::new(Checkpoint::new(4), Checkpoint::new(9)),
        unbounded: false,
        size: 2,
        max_bytes: 1 << 20,
        count_live: false,
    }
}

fn hit(seq: u64, source: &str, more: &str) -> String {
    format!(
        r#"{{"_index":"i","_id":"d{seq}","_version":1,"_seq_no":{seq},"_primary_term":1,"_source":{source},"sort":[{seq}]{more}}}"#
    )
}

fn page(shards: &str, hits: &[String]) -> String {
    format!(
        r#"{{"timed_out":false,"_shards":{shards},"hits":{{"hits":[{}]}}}}"#,
        hits.join(",")
    )
}

const WHOLE: &str = r#"{"total":1,"successful":1,"skipped":0,"failed":0}"#;
