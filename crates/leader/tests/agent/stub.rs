//! A cluster of one node with one index of one shard, as small as the leader agent can be pointed at.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const CLUSTER_UUID: &str = "stub-cluster";
pub(crate) const INDEX: &str = "logs-1";
pub(crate) const INDEX_UUID: &str = "logs-uuid";
pub(crate) const HISTORY: &str = "stub-history";

/// The stub; clones share its contents.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) url: String,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    /// By sequence number; `None` where the document is gone.
    docs: Vec<Option<String>>,
    settings: Value,
    gone: bool,
    down: bool,
    nodes_hidden: bool,
    version: u64,
    refreshes: u64,
    searches: u64,
}

impl Stub {
    /// Starts on a free port and lives as long as the test's runtime.
    pub(crate) async fn start() -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contents = Contents {
            settings: json!({"index.number_of_shards": "1"}),
            version: 1,
            ..Contents::default()
        };
        let stub = Stub {
            url,
            contents: Arc::new(Mutex::new(contents)),
        };
        let router = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stub
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        let mut contents = self.contents.lock().unwrap();
        contents.version += 1;
        change(&mut contents);
    }

    pub(crate) fn index(&self, source: impl Into<String>) {
        self.change(|c| c.docs.push(Some(source.into())));
    }

    /// Deletes the document of `seq_no`, which takes a sequence number of its own.
    pub(crate) fn delete(&self, seq_no: usize) {
        self.change(|c| {
            c.docs[seq_no] = None;
            c.docs.push(None);
        });
    }

    pub(crate) fn set(&self, setting: &str, value: &str) {
        self.change(|c| c.settings[setting] = value.into());
    }

    pub(crate) fn drop_index(&self) {
        self.change(|c| c.gone = true);
    }

    pub(crate) fn go_down(&self) {
        self.change(|c| c.down = true);
    }

    /// As where the agent's user lacks the privilege.
    pub(crate) fn hide_nodes(&self) {
        self.change(|c| c.nodes_hidden = true);
    }

    pub(crate) fn refreshes(&self) -> u64 {
        self.contents.lock().unwrap().refreshes
    }

    pub(crate) fn searches(&self) -> u64 {
        self.contents.lock().unwrap().searches
    }
}

async fn answer(State(stub): State<Stub>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut contents = stub.contents.lock().unwrap();
    if contents.down {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut parts = path.trim_start_matches('/').split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if first == "_cluster" {
        return Json(contents.state()).into_response();
    }
    if first == "_nodes" {
        if contents.nodes_hidden {
            return StatusCode::FORBIDDEN.into_response();
        }
        // A folder that is there.
        let data = std::env::temp_dir();
        let node = json!({"name": "node-1", "settings": {"path": {"data": [data]}}});
        return Json(json!({"nodes": {"n1": node}})).into_response();
    }
    if first.is_empty() {
        let version = json!({"number": "1.3.0", "distribution": "opensearch"});
        return Json(json!({"cluster_name": "stub", "cluster_uuid": CLUSTER_UUID, "version": version}))
            .into_response();
    }
    if second == "_stats" {
        return Json(contents.stats()).into_response();
    }
    if first != INDEX || contents.gone {
        let error =
            json!({"type": "index_not_found_exception", "reason": format!("no such index [{first}]")});
        return (
            StatusCode::NOT_FOUND,
            Json(json!({"error": error, "status": 404})),
        )
            .into_response();
    }
    let of_index = |name: &str, value: Value| Json(json!({INDEX: {name: value}})).into_response();
    match second {
        "_mapping" => of_index("mappings", json!({"properties": {"v": {"type": "long"}}})),
        "_settings" => of_index("settings", contents.settings.clone()),
        "_alias" => of_index("aliases", json!({"all-logs": {}})),
        "_refresh" => {
            contents.refreshes += 1;
            Json(json!({"_shards": {"total": 1, "successful": 1, "failed": 0}})).into_response()
        }
        "_search" => {
            contents.searches += 1;
            contents
                .search(&serde_json::from_slice(&body).unwrap())
                .into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

impl Contents {
    fn state(&self) -> Value {
        let index = json!({
            "state": "open", "mapping_version": 3, "settings_version": 2, "aliases_version": 1,
            "routing_num_shards": 1024, "primary_terms": {"0": 1},
            "settings": {"index": {"uuid": INDEX_UUID, "number_of_shards": "1"}},
        });
        let indices = if self.gone {
            json!({})
        } else {
            json!({INDEX: index})
        };
        json!({"version": self.version, "metadata": {"indices": indices}})
    }

    fn stats(&self) -> Value {
        if self.gone {
            return json!({});
        }
        let last = self.docs.len() as i64 - 1;
        let shard = json!([{
            "routing": {"state": "STARTED", "primary": true, "node": "n1"},
            "seq_no": {"max_seq_no": last, "local_checkpoint": last, "global_checkpoint": last},
            "commit": {"user_data": {"history_uuid": HISTORY}},
            "refresh": {"total": 1, "external_total": 1},
        }]);
        json!({"indices": {INDEX: {"uuid": INDEX_UUID, "shards": {"0": shard}}}})
    }

    /// Printed by hand: sources pass as they are.
    fn search(&self, query: &Value) -> String {
        let range = &query["query"]["range"]["_seq_no"];
        let after = range["gt"].as_i64().unwrap_or(-1);
        let through = range["lte"].as_i64().unwrap_or(i64::MAX);
        let hits: Vec<String> = self
            .docs
            .iter()
            .enumerate()
            .filter_map(|(seq, source)| Some((seq as i64, source.as_ref()?)))
            .filter(|(seq, _)| (after + 1..=through).contains(seq))
            .take(query["size"].as_u64().unwrap() as usize)
            .map(|(seq, source)| {
                format!(
                    r#"{{"_index":"{INDEX}","_id":"id-{seq}","_version":1,"_seq_no":{seq},"_primary_term":1,"_source":{source},"sort":[{seq}]}}"#
                )
            })
            .collect();
        let live = self.docs.iter().flatten().count();
        format!(
            r#"{{"took":1,"timed_out":false,"_shards":{{"total":1,"successful":1,"skipped":0,"failed":0}},"hits":{{"max_score":null,"hits":[{}]}},"aggregations":{{"live":{{"doc_count":{live}}}}}}}"#,
            hits.join(",")
        )
    }
}
