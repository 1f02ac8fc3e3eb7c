//! What is running right now, as `_tasks` shows it: a client whose request timed out finds here whether it still runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Flavor};
use crate::error::{ApiError, ApiResult};
use crate::resolve::glob;
use crate::time::unix_millis;

/// The running requests by number.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    running: BTreeMap<u64, Task>,
}

#[derive(Debug)]
struct Task {
    action: &'static str,
    opaque_id: Option<String>,
    started: Instant,
    started_millis: i64,
}

/// Takes its task off the list when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: Arc<Mutex<Inner>>,
    number: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .running
            .remove(&self.number);
    }
}

impl Tasks {
    /// Puts a request on the list for as long as the guard lives.
    pub(crate) fn register(&self, action: &'static str, opaque_id: Option<String>) -> Running {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last += 1;
        let number = inner.last;
        let task = Task {
            action,
            opaque_id,
            started: Instant::now(),
            started_millis: unix_millis(),
        };
        inner.running.insert(number, task);
        Running {
            tasks: Arc::clone(&self.inner),
            number,
        }
    }
}

/// The engines' name of what a request does, for those that may take a while.
pub(crate) fn action_of(segments: &[String]) -> Option<&'static str> {
    let last = segments.iter().rev().find(|s| s.starts_with('_'))?;
    match last.as_str() {
        "_bulk" => Some("indices:data/write/bulk"),
        "_search" => Some("indices:data/read/search"),
        "_refresh" => Some("indices:admin/refresh"),
        "_tasks" => Some("cluster:monitor/tasks/lists"),
        _ => None,
    }
}

fn task_json(cluster: &Cluster, number: u64, task: &Task) -> Value {
    let mut headers = Map::new();
    if let Some(id) = &task.opaque_id {
        headers.insert("X-Opaque-Id".into(), json!(id));
    }
    let mut shown = json!({
        "node": cluster.node, "id": number, "type": "transport", "action": task.action, "description": "",
        "start_time_in_millis": task.started_millis,
        "running_time_in_nanos": task.started.elapsed().as_nanos() as u64,
        "cancellable": false, "headers": headers,
    });
    if cluster.flavor == Flavor::OpenSearch {
        shown["cancelled"] = json!(false);
    }
    shown
}

/// `GET _tasks`.
pub(crate) fn list(cluster: &Cluster, call: &Call) -> Reply {
    let wanted: Vec<&str> = call
        .params
        .get("actions")
        .map(|a| a.split(',').collect())
        .unwrap_or_default();
    let taken = |action: &str| wanted.is_empty() || wanted.iter().any(|w| glob(w, action));
    let inner = cluster.tasks.inner.lock().unwrap_or_else(PoisonError::into_inner);
    let tasks: Map<String, Value> = inner
        .running
        .iter()
        .filter(|(_, task)| taken(task.action))
        .map(|(number, task)| {
            (
                format!("{}:{number}", cluster.node),
                task_json(cluster, *number, task),
            )
        })
        .collect();
    drop(inner);
    if tasks.is_empty() {
        return Reply::json(&json!({"nodes": {}}));
    }
    let mut node = crate::nodes::summary(cluster);
    node["tasks"] = Value::Object(tasks);
    Reply::json(&json!({"nodes": {&cluster.node: node}}))
}

/// `GET _tasks/ID`.
pub(crate) fn get(cluster: &Cluster, id: &str) -> ApiResult<Reply> {
    let number = id
        .strip_prefix(cluster.node.as_str())
        .and_then(|r| r.strip_prefix(':'))
        .and_then(|n| n.parse().ok());
    let inner = cluster.tasks.inner.lock().unwrap_or_else(PoisonError::into_inner);
    let found = number.and_then(|n: u64| inner.running.get(&n).map(|task| task_json(cluster, n, task)));
    let reason = format!("task [{id}] isn't running and hasn't stored its results");
    found
        .map(|task| Reply::json(&json!({"completed": false, "task": task})))
        .ok_or_else(|| ApiError::new(404, "resource_not_found_exception", reason))
}
