//! Leaders as the engines' remote clusters: `cluster.remote.ALIAS.seeds` in `/_cluster/settings`, and `/_remote/info`.
//!
//! The addresses are those of leader agents. Nothing is acknowledged without effect: any other setting is refused, or,
//! with the proxy on, left to the target. What is registered is kept for good, so it shows as persistent whichever
//! way it was sent.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use serde_json::{Map, Value, json};
use slipstream_follower::Leaders;
use tokio::net::TcpStream;

use crate::calls::to_the_end;
use crate::error::ApiError;
use crate::params::Params;
use crate::proxy::Passed;
use crate::{Gateway, body, settings};

/// How long an agent may take to accept a connection before `_remote/info` calls it not connected.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Bytes that a settings body may have.
const LIMIT: usize = 1 << 20;

/// What a settings body asks for.
#[derive(Debug, Default, PartialEq)]
struct Change {
    /// Alias → addresses; none removes it.
    leaders: Vec<(String, Vec<String>)>,
    /// Everything that is not ours, in the two objects it came in.
    others: [Vec<(String, Value)>; 2],
}

const SCOPES: [&str; 2] = ["persistent", "transient"];

/// `PUT /_cluster/settings`.
pub(crate) async fn put(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let flat = params(&gateway, &uri)?.flag("flat_settings")?;
    let bytes = body::bytes(body, LIMIT).await?;
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
            let rest = SCOPES.iter().zip(&change.others).map(|(scope, rest)| {
                ((*scope).to_owned(), Value::Object(rest.iter().cloned().collect()))
            });
            // The target's refusal is the answer, and then nothing of the request has been done.
            match proxy.send_json(Method::PUT, &uri, &headers, &Value::Object(rest.collect())).await? {
                Passed::Json(answer) => answer,
                Passed::Refused(response) => return Ok(response),
            }
        }
    };
    let (control, leaders) = (Arc::clone(&gateway.control), change.leaders.clone());
    to_the_end(async move {
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
    let done = change.leaders.into_iter().filter(|(_, agents)| !agents.is_empty()).collect();
    merge(&mut answer, &done, flat);
    answer.insert("acknowledged".to_owned(), Value::Bool(true));
    Ok(Json(answer).into_response())
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
    merge(&mut answer, &gateway.control.leaders(), flat);
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
    let attempts = agents.iter().map(|agent| tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(agent)));
    join_all(attempts).await.iter().filter(|attempt| matches!(attempt, Ok(Ok(_)))).count()
}

/// With the proxy on, parameters are the target's to judge.
fn params(gateway: &Gateway, uri: &Uri) -> Result<Params, ApiError> {
    match gateway.proxy {
        None => Params::of(uri, &["flat_settings"]),
        Some(_) => Params::unchecked(uri),
    }
}

fn read_change(object: &Map<String, Value>) -> Result<Change, ApiError> {
    let mut change = Change::default();
    for (scope, value) in object {
        let Some(at) = SCOPES.iter().position(|known| known == scope) else {
            return Err(ApiError::illegal(format!("unknown field [{scope}]: expected [persistent] or [transient]")));
        };
        let inner = match value {
            Value::Object(inner) => inner,
            Value::Null => continue,
            _ => return Err(ApiError::illegal(format!("[{scope}] is not an object"))),
        };
        for (name, value) in settings::flatten(inner)? {
            let Some(rest) = name.strip_prefix("cluster.remote.") else {
                change.others[at].push((name, value));
                continue;
            };
            let (alias, agents) = leader(&name, rest, &value)?;
            if change.leaders.iter().any(|(known, _)| *known == alias) {
                return Err(ApiError::illegal(format!("leader [{alias}] is given twice")));
            }
            change.leaders.push((alias, agents));
        }
    }
    if change == Change::default() {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "action_request_validation_exception",
            "Validation Failed: 1: no settings to update;",
        ));
    }
    Ok(change)
}

/// One setting under `cluster.remote.`.
fn leader(name: &str, rest: &str, value: &Value) -> Result<(String, Vec<String>), ApiError> {
    let (alias, key) = rest.split_once('.').unwrap_or((rest, ""));
    match key {
        "seeds" => {}
        // The engines' ways to say "forget all of it".
        "" | "*" if value.is_null() => {}
        _ => {
            return Err(ApiError::illegal(format!(
                "setting [{name}] has no effect here: a leader is given by [cluster.remote.{alias}.seeds] alone"
            )));
        }
    }
    if alias.is_empty() || !alias.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(ApiError::illegal(format!(
            "[{alias}] cannot name a leader: use letters, digits, '-' and '_'"
        )));
    }
    let wrong = || {
        ApiError::illegal(format!(
            "setting [{name}] must be addresses of leader agents, [\"HOST:PORT\"], and is [{value}]"
        ))
    };
    let agents: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(|t| t.trim().to_owned())).collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    if agents.iter().all(|agent| is_address(agent)) { Ok((alias.to_owned(), agents)) } else { Err(wrong()) }
}

/// Whether the text is `HOST:PORT`.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty()
        && (bracketed || !host.contains(':'))
        && !host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Puts leaders into a settings answer, under `persistent`.
fn merge(answer: &mut Map<String, Value>, leaders: &Leaders, flat: bool) {
    let ours = leaders.iter().map(|(alias, agents)| (format!("cluster.remote.{alias}.seeds"), json!(agents)));
    let persistent = answer.entry("persistent").or_insert_with(|| json!({}));
    let Value::Object(persistent) = persistent else { return };
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
    *persistent = if flat { all.into_iter().collect() } else { settings::nest(&all) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(value: Value) -> Result<Change, ApiError> {
        read_change(value.as_object().unwrap())
    }

    #[test]
    fn a_leader_may_be_spelt_in_every_way_the_engines_take() {
        let expected = vec![("x".to_owned(), vec!["h:9700".to_owned()])];
        for body in [
            json!({"persistent": {"cluster": {"remote": {"x": {"seeds": ["h:9700"]}}}}}),
            json!({"persistent": {"cluster.remote.x.seeds": "h:9700"}}),
            json!({"transient": {"cluster.remote": {"x": {"seeds": ["h:9700"]}}}, "persistent": {}}),
        ] {
            assert_eq!(change(body).unwrap().leaders, expected);
        }
        let two = change(json!({"persistent": {"cluster.remote.x.seeds": "a:1, [::1]:2"}})).unwrap();
        assert_eq!(two.leaders[0].1, ["a:1", "[::1]:2"]);
    }

    #[test]
    fn null_and_nothing_remove() {
        for body in [
            json!({"persistent": {"cluster.remote.x.seeds": null}}),
            json!({"persistent": {"cluster.remote.x.seeds": []}}),
            json!({"persistent": {"cluster.remote.x.*": null}}),
            json!({"persistent": {"cluster": {"remote": {"x": null}}}}),
        ] {
            assert_eq!(change(body).unwrap().leaders, [("x".to_owned(), Vec::new())]);
        }
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        for (body, text) in [
            (json!({"persistent": {"cluster.remote.x.skip_unavailable": true}}), "has no effect here"),
            (json!({"persistent": {"cluster.remote.x.seeds": ["nohost"]}}), "HOST:PORT"),
            (json!({"persistent": {"cluster.remote.x.seeds": 5}}), "HOST:PORT"),
            (json!({"persistent": {"cluster.remote.x y.seeds": "h:1"}}), "cannot name a leader"),
            (json!({"persistant": {}}), "unknown field [persistant]"),
            (json!({"persistent": {}}), "no settings to update"),
            (json!({"persistent": {"cluster.remote.x.seeds": "h:1"}, "transient": {"cluster.remote.x.seeds": "h:2"}}), "given twice"),
        ] {
            let error = change(body).unwrap_err();
            assert!(error.reason().contains(text), "{}", error.reason());
            assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn our_leaders_join_the_targets_settings() {
        let mut answer = json!({"persistent": {"a": {"b": "1"}}, "transient": {}}).as_object().unwrap().clone();
        let leaders = Leaders::from([("x".to_owned(), vec!["h:1".to_owned()])]);
        merge(&mut answer, &leaders, false);
        assert_eq!(
            Value::Object(answer.clone()),
            json!({"persistent": {"a": {"b": "1"}, "cluster": {"remote": {"x": {"seeds": ["h:1"]}}}}, "transient": {}})
        );
        let mut flat = json!({"persistent": {"a.b": "1"}}).as_object().unwrap().clone();
        merge(&mut flat, &leaders, true);
        assert_eq!(flat["persistent"], json!({"a.b": "1", "cluster.remote.x.seeds": ["h:1"]}));
    }
}
