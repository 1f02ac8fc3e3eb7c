//! Leaders as the engines' remote clusters: `cluster.remote.ALIAS.seeds` in `/_cluster/settings`, and `/_remote/info`.
//!
//! The incumbent's own settings (`switches`) stand there too. The addresses are those of leader agents. Nothing is acknowledged without effect: any other setting is refused, or,
//! with the proxy on, left to the target. What is registered is kept for good, so it shows as persistent whichever
//! way it was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use serde_json::{Map, Value, json};
use slipstream_follower::Leaders;
use tokio::net::TcpStream;

use crate::calls::to_the_end;
use crate::change::{SCOPES, read_change};
use crate::error::ApiError;
use crate::params::Params;
use crate::proxy::Passed;
use crate::{Gateway, body, settings};

/// How long an agent may take to accept a connection before `_remote/info` calls it not connected.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// `PUT /_cluster/settings`.
pub(crate) async fn put(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let flat = params(&gateway, &uri)?.flag("flat_settings")?;
    let bytes = body::control(&headers, body).await?;
    if bytes.is_empty() {
        return Err(ApiError::parse("request body or source parameter is required"));
    }
    body::require_json(&headers)?;
    let object: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::parse(error.to_string()))?;
    let change = read_change(&object)?;
    let mut answer = match (&gateway.proxy, change.others.iter().flatten().next()) {
        (_, None) => Map::from_iter(SCOPES.map(|scope| (scope.to_owned(), json!({})))),
        (None, Some((name, _))) => {
            return Err(ApiError::illegal(format!(
                "setting [{name}] is not one of this gateway's: send it to the target cluster"
            )));
        }
        (Some(proxy), Some(_)) => {
            let rest = SCOPES
                .iter()
                .zip(&change.others)
                .map(|(scope, rest)| ((*scope).to_owned(), Value::Object(rest.iter().cloned().collect())));
            // The target's refusal is the answer, and then nothing of the request has been done.
            match proxy
                .send_json(Method::PUT, &uri, &headers, &Value::Object(rest.collect()))
                .await?
            {
                Passed::Json(answer) => answer,
                Passed::Refused(response) => return Ok(response),
            }
        }
    };
    let (control, leaders) = (Arc::clone(&gateway.control), change.leaders.clone());
    let switches: Vec<_> = change
        .switches
        .iter()
        .map(|switch| (switch.name.clone(), switch.value.clone()))
        .collect();
    to_the_end(async move {
        control.set_switches(switches).await?;
        for (alias, agents) in leaders {
            if !agents.is_empty() {
                control.register_leader(&alias, agents).await?;
            } else if control.leaders().contains_key(&alias) {
                control.remove_leader(&alias).await?;
            }
        }
        Ok(())
    })
    .await?;
    let done = change
        .leaders
        .into_iter()
        .filter(|(_, agents)| !agents.is_empty())
        .collect();
    let set = change.switches.iter();
    let set = set.filter_map(|switch| Some((switch.name.clone(), switch.value.clone()?)));
    merge(&mut answer, &done, &set.collect(), flat);
    answer.insert("acknowledged".to_owned(), Value::Bool(true));
    let mut response = Json(answer).into_response();
    for switch in &change.switches {
        if let Some(why) = switch.idle {
            let text = format!(
                "299 slipstream \"setting [{}] is kept and without effect here: {why}\"",
                switch.name
            );
            if let Ok(text) = HeaderValue::from_str(&text) {
                response.headers_mut().append(header::WARNING, text);
            }
        }
    }
    Ok(response)
}

/// `GET /_cluster/settings`.
pub(crate) async fn get(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let flat = params(&gateway, &uri)?.flag("flat_settings")?;
    let mut answer = match &gateway.proxy {
        None => Map::from_iter(SCOPES.map(|scope| (scope.to_owned(), json!({})))),
        Some(proxy) => match proxy.get_json(&uri, &headers).await? {
            Passed::Json(answer) => answer,
            Passed::Refused(response) => return Ok(response),
        },
    };
    let (leaders, switches) = (gateway.control.leaders(), gateway.control.switches());
    merge(&mut answer, &leaders, &switches, flat);
    Ok(Json(answer).into_response())
}

/// `GET /_remote/info`.
pub(crate) async fn info(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params(&gateway, &uri)?;
    let mut answer = match &gateway.proxy {
        None => Map::new(),
        Some(proxy) => match proxy.get_json(&uri, &headers).await? {
            Passed::Json(answer) => answer,
            Passed::Refused(response) => return Ok(response),
        },
    };
    let leaders = gateway.control.leaders();
    let connected = join_all(leaders.values().map(|agents| reachable(agents))).await;
    for ((alias, agents), connected) in leaders.into_iter().zip(connected) {
        let entry = json!({
            "connected": connected > 0,
            "mode": "sniff",
            "seeds": agents,
            "num_nodes_connected": connected,
            "max_connections_per_cluster": agents.len(),
            "initial_connect_timeout": format!("{}s", CONNECT_WAIT.as_secs()),
            "skip_unavailable": true
        });
        answer.insert(alias, entry);
    }
    Ok(Json(answer).into_response())
}

/// How many of the agents accept a connection. Whether they accept *us* shows when an index is started.
async fn reachable(agents: &[String]) -> usize {
    let attempts = agents
        .iter()
        .map(|agent| tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(agent)));
    join_all(attempts)
        .await
        .iter()
        .filter(|attempt| matches!(attempt, Ok(Ok(_))))
        .count()
}

/// With the proxy on, parameters are the target's to judge.
fn params(gateway: &Gateway, uri: &Uri) -> Result<Params, ApiError> {
    match gateway.proxy {
        None => Params::of(uri, &["flat_settings"]),
        Some(_) => Params::unchecked(uri),
    }
}

/// Puts what is kept here into a settings answer, under `persistent`.
fn merge(
    answer: &mut Map<String, Value>,
    leaders: &Leaders,
    switches: &BTreeMap<String, String>,
    flat: bool,
) {
    let leaders = leaders
        .iter()
        .map(|(alias, agents)| (format!("cluster.remote.{alias}.seeds"), json!(agents)));
    let switches = switches.iter().map(|(name, value)| (name.clone(), json!(value)));
    let ours = leaders.chain(switches);
    let persistent = answer.entry("persistent").or_insert_with(|| json!({}));
    let Value::Object(persistent) = persistent else {
        return;
    };
    let mut all: Vec<(String, Value)> = if flat {
        persistent.clone().into_iter().collect()
    } else {
        let mut theirs = Vec::new();
        // An answer of the engines has no name twice.
        if let Ok(flattened) = settings::flatten(persistent) {
            theirs = flattened;
        }
        theirs
    };
    for (name, value) in ours {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    *persistent = if flat {
        all.into_iter().collect()
    } else {
        settings::nest(&all)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_leaders_join_the_targets_settings() {
        let mut answer = json!({"persistent": {"a": {"b": "1"}}, "transient": {}})
            .as_object()
            .unwrap()
            .clone();
        let leaders = Leaders::from([("x".to_owned(), vec!["h:1".to_owned()])]);
        let none = BTreeMap::new();
        merge(&mut answer, &leaders, &none, false);
        assert_eq!(
            Value::Object(answer.clone()),
            json!({"persistent": {"a": {"b": "1"}, "cluster": {"remote": {"x": {"seeds": ["h:1"]}}}}, "transient": {}})
        );
        let mut flat = json!({"persistent": {"a.b": "1"}}).as_object().unwrap().clone();
        merge(&mut flat, &leaders, &none, true);
        assert_eq!(
            flat["persistent"],
            json!({"a.b": "1", "cluster.remote.x.seeds": ["h:1"]})
        );
    }
}
