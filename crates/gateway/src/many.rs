//! `_bulk_start`, `_bulk_stop`, `_bulk_pause`, `_bulk_resume` and `_bulk_status`, which mean many indices by one pattern, and
//! the tasks behind them.
//!
//! A task is named `AGENT:NUMBER`, as the engines name theirs. Unlike the incumbent's, a task that has ended can be looked at
//! until the agent ends or fifteen others have followed, so that nobody has to be quick to learn what failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use slipstream_follower::{ControlError, ManyOperation, ManyRequest};
use slipstream_model::Pattern;
use slipstream_model::moment::now_millis;

use crate::body::{Object, require_none};
use crate::calls::{acknowledged, check_roles};
use crate::error::ApiError;
use crate::params::Params;
use crate::status::{Answer, answer};
use crate::{Gateway, autofollow};

/// Who reads the bodies, in the engines' error texts.
const PARSER: &str = "BulkReplicationRequestParser";

/// `POST _bulk_start`.
pub(crate) async fn start(
    state: State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut body = read(&uri, &headers, body).await?;
    let mut faults = Vec::new();
    let leader_alias = autofollow::alias(&mut body, &mut faults)?;
    if leader_alias.is_none() {
        faults.push("Mandatory params [leader_alias] are missing for the request".to_owned());
    }
    check_roles(&mut body, &mut faults)?;
    let operation = ManyOperation::Start {
        leader_alias: leader_alias.unwrap_or_default(),
    };
    begin(state, body, operation, faults).await
}

/// `POST _bulk_stop`, `_bulk_pause` and `_bulk_resume`.
pub(crate) async fn each(
    operation: ManyOperation,
    state: State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read(&uri, &headers, body).await?;
    begin(state, body, operation, Vec::new()).await
}

async fn read(uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Object, ApiError> {
    Params::of(uri, &[])?;
    Object::read(headers, body, PARSER).await
}

/// Takes what is left in the body, and begins.
async fn begin(
    State(gateway): State<Arc<Gateway>>,
    body: Object,
    operation: ManyOperation,
    faults: Vec<String>,
) -> Result<Response, ApiError> {
    let request = request(body, operation, faults)?;
    let control = Arc::clone(&gateway.control);
    // Carried through even if the caller hangs up in its middle: a task that has begun must be known.
    let begun = tokio::spawn(async move { control.many(request).await }).await;
    match begun {
        Ok(Ok(number)) => {
            let answer = json!({"acknowledged": true, "task_id": task_id(&gateway, number)});
            Ok(Json(answer).into_response())
        }
        Ok(Err(ControlError::TaskRunning(number))) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "illegal_state_exception",
            format!(
                "bulk task [{}] is still running: wait until _task_status says that it has ended, or cancel it with _task_cancel",
                task_id(&gateway, number)
            ),
        )),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ApiError::unavailable("the agent is ending")),
    }
}

fn request(
    mut body: Object,
    operation: ManyOperation,
    mut faults: Vec<String>,
) -> Result<ManyRequest, ApiError> {
    let pattern = body.text("pattern")?.filter(|pattern| !pattern.is_empty());
    match &pattern {
        None => faults.push("Mandatory params [pattern] are missing for the request".to_owned()),
        Some(pattern) => faults.extend(autofollow::pattern_faults(pattern)),
    }
    let mut exclude = Vec::new();
    if let Some(mut filters) = body.object("filters")? {
        exclude = match filters.remove("exclude_index") {
            None | Some(Value::Null) => Vec::new(),
            Some(given) => texts(&given)
                .ok_or_else(|| ApiError::content("[FiltersParser] failed to parse field [exclude_index]"))?,
        };
        if let Some(unknown) = filters.keys().next() {
            return Err(ApiError::content(format!(
                "[FiltersParser] unknown field [{unknown}]"
            )));
        }
    }
    faults.extend(
        exclude
            .iter()
            .flat_map(|pattern| autofollow::pattern_faults(pattern)),
    );
    body.finish()?;
    match pattern {
        Some(pattern) if faults.is_empty() => Ok(ManyRequest {
            operation,
            pattern: Pattern::new(pattern),
            exclude: exclude.into_iter().map(Pattern::new).collect(),
        }),
        _ => Err(ApiError::validation(&faults)),
    }
}

fn texts(given: &Value) -> Option<Vec<String>> {
    let given = given.as_array()?.iter();
    given.map(|text| text.as_str().map(str::to_owned)).collect()
}

/// `GET _bulk_status`: `_status` of all following indices that a pattern means.
pub(crate) async fn bulk_status(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &["pattern"])?;
    let pattern = params.get("pattern").filter(|pattern| !pattern.is_empty());
    let pattern = pattern.ok_or_else(|| ApiError::illegal("pattern parameter is required"))?;
    let pattern = Pattern::new(pattern);
    let now = now_millis();
    let indices: BTreeMap<String, Answer> = gateway
        .control
        .list()
        .iter()
        .filter(|status| pattern.matches(status.follower_index.as_str()))
        .map(|status| (status.follower_index.to_string(), answer(status, false, now)))
        .collect();
    Ok(Json(json!({ "indices": indices })).into_response())
}

/// `GET _task_status/{task}`.
pub(crate) async fn task_status(
    State(gateway): State<Arc<Gateway>>,
    Path(task): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let status = number(&gateway, &task).and_then(|number| gateway.control.many_status(number));
    let status = status.ok_or_else(|| no_such_task(&task))?;
    let failed: Vec<Value> = status
        .failed_indices
        .iter()
        .map(|failed| json!({"index": failed.index, "failure_reason": failed.reason}))
        .collect();
    Ok(Json(json!({
        "operation_type": status.operation,
        "pattern": status.pattern,
        "start_time": status.started_at_millis,
        "num_success": status.succeeded,
        "num_failed": failed.len(),
        "num_pending": status.pending,
        "num_cancelled": status.cancelled,
        "failed_indices": failed,
        "completed": status.ended,
    }))
    .into_response())
}

/// `POST _task_cancel/{task}`.
pub(crate) async fn task_cancel(
    State(gateway): State<Arc<Gateway>>,
    Path(task): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    require_none(&headers, body, "TaskCancelRequestParser").await?;
    let number = number(&gateway, &task).ok_or_else(|| no_such_task(&task))?;
    match gateway.control.cancel_many(number) {
        Ok(()) => Ok(acknowledged()),
        Err(ControlError::NoSuchTask(_)) => Err(no_such_task(&task)),
        Err(error) => Err(error.into()),
    }
}

fn task_id(gateway: &Gateway, number: u64) -> String {
    format!("{}:{number}", gateway.control.id())
}

fn number(gateway: &Gateway, task: &str) -> Option<u64> {
    let (agent, number) = task.rsplit_once(':')?;
    number.parse().ok().filter(|_| agent == gateway.control.id())
}

fn no_such_task(task: &str) -> ApiError {
    ApiError::not_found(format!("Task {task} not found or already completed"))
}
