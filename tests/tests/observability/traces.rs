//! Traces: one that begins at a caller of the gateway goes on through both agents, and a collector that is away harms
//! nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;
use serde_json::json;
use slipstream_testkit::client::eventually;
use slipstream_tests::agents::{ALIAS, Options, SOON, free_port};
use slipstream_tests::world::World;

/// A span as the collector got it.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
}

/// What speaks OTLP over HTTP and keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn listen(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    fn of_trace(&self, trace: &[u8]) -> Vec<Span> {
        let spans = self.0.lock().expect("no panic");
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) -> Bytes {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let mut spans = collector.0.lock().expect("no panic");
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes);
        let service = attributes
            .into_iter()
            .flatten()
            .filter(|attribute| attribute.key == "service.name")
            .find_map(|attribute| match attribute.value?.value? {
                Any::StringValue(service) => Some(service),
                _ => None,
            })
            .unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
            });
        }
    }
    Bytes::new()
}

fn options(port: u16) -> Options {
    let observe = format!("[observe]\notlp_endpoint = \"http://127.0.0.1:{port}\"\notlp_one_in = 1\n");
    Options {
        leader_extra: observe.clone(),
        follower_extra: observe,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_runs_through_both_agents() {
    let collector = Collector::default();
    let mut world = World::prepare(options(collector.listen().await)).await;
    world.start_agents().await;
    world.create("lead", json!({}), json!({})).await;
    world.leader.write("lead", 0..10).await;

    let (trace, caller) = ([0xab; 16], [0xcd; 8]);
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
        .put(format!(
            "http://127.0.0.1:{}/_plugins/_replication/f/_start",
            world.agents.gateway_port()
        ))
        .header(
            "traceparent",
            format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8)),
        )
        .header("content-type", "application/json")
        .body(json!({ "leader_alias": ALIAS, "leader_index": "lead" }).to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    world.agents.wait_for_status("f", "SYNCING", SOON).await;

    let wanted = [
        ("slipstream-follower", "PUT _start"),
        ("slipstream-follower", "start"),
        ("slipstream-follower", "bootstrap"),
        ("slipstream-follower", "open stream"),
        ("slipstream-leader", "/slipstream.v1.Changes/Stream"),
    ];
    let spans = eventually("the trace has come", SOON, async || {
        let spans = collector.of_trace(&trace);
        let there = |(service, name): &(&str, &str)| {
            spans
                .iter()
                .any(|span| span.service == *service && span.name == *name)
        };
        if wanted.iter().all(there) {
            Ok(spans)
        } else {
            Err(format!("{spans:#?}"))
        }
    })
    .await;

    // From the leader agent's span upwards, parent by parent, to the caller's.
    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (span.id.as_slice(), span)).collect();
    let mut way = Vec::new();
    let mut span = spans
        .iter()
        .find(|span| span.name.ends_with("Changes/Stream"))
        .expect("it was there");
    loop {
        way.push(span.name.as_str());
        match by_id.get(span.parent.as_slice()) {
            Some(parent) => span = parent,
            None => break,
        }
    }
    assert_eq!(span.parent, caller, "{spans:#?}");
    way.reverse();
    assert_eq!(way, wanted.map(|(_, name)| name), "{spans:#?}");

    // What the data path does is traced too, each on its own.
    eventually("a batch was traced", SOON, async || {
        let spans = collector.0.lock().expect("no panic");
        let found = ["take batch", "bulk"].iter().all(|name| {
            spans
                .iter()
                .any(|span| span.name == *name && span.parent.is_empty())
        });
        if found { Ok(()) } else { Err(format!("{spans:#?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_once_and_harms_nobody() {
    let mut world = World::prepare(options(free_port())).await;
    world.agents.follower.logs_json();
    world.start_agents().await;
    world.following().await;
    world.agents.follower.event("trace_export_failing", &[]).await;
    for _ in 0..3 {
        world.agents.command("f", "_pause").await;
        world.agents.command("f", "_resume").await;
    }
    world.goes_on("lead", "f").await;
    assert_eq!(world.agents.follower.terminate().await, Some(0));
    assert_eq!(world.agents.follower.events("trace_export_failing").len(), 1);
}
