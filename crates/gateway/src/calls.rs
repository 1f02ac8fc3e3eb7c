//! The calls that change what follows what: `_start`, `_stop`, `_pause`, `_resume`, in both generations' words.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipstream_follower::{ControlError, StartRequest};
use slipstream_model::settings::Settings;
use slipstream_model::{Bootstrap, IndexName, Phase};
use tokio::time::Instant;
use tracing::Instrument;

use crate::error::ApiError;
use crate::params::Params;
use crate::{Gateway, body::Object, names, settings};

/// How long `wait_for_restore` waits, as the incumbent does.
const RESTORE_WAIT: Duration = Duration::from_secs(30);
/// How often it looks.
const RESTORE_LOOK: Duration = Duration::from_millis(100);

/// The words for the leader in one generation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Words {
    alias: &'static str,
    index: &'static str,
}

/// `/_plugins`.
const LEADER: Words = Words {
    alias: "leader_alias",
    index: "leader_index",
};
/// `/_opendistro`.
const REMOTE: Words = Words {
    alias: "remote_cluster",
    index: "remote_index",
};

/// Who reads the body of `_start`, in the engines' error texts.
const FOLLOW: &str = "FollowIndexRequestParser";

/// `PUT {index}/_start`.
pub(crate) async fn start(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wait = Params::of(&uri, &["wait_for_restore"])?.flag("wait_for_restore")?;
    let words = if uri.path().starts_with("/_opendistro/") {
        REMOTE
    } else {
        LEADER
    };
    let request = start_request(index, Object::read(&headers, body, FOLLOW).await?, words)?;
    let index = request.follower_index.clone();
    let control = Arc::clone(&gateway.control);
    to_the_end(async move { control.start(request).await }).await?;
    if wait {
        restored(&gateway, &index).await?;
    }
    Ok(acknowledged())
}

/// `POST {index}/_stop`.
pub(crate) async fn stop(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    nothing(&uri, &headers, body, "StopReplicationRequestParser").await?;
    to_the_end(async move { gateway.control.stop(&IndexName::new(index)).await }).await?;
    Ok(acknowledged())
}

/// `POST {index}/_pause`.
pub(crate) async fn pause(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let mut body = Object::read_optional(&headers, body, "PauseReplicationRequestParser").await?;
    let reason = body.text("reason")?;
    body.finish()?;
    to_the_end(async move { gateway.control.pause(&IndexName::new(index), reason).await }).await?;
    Ok(acknowledged())
}

/// `POST {index}/_resume`.
pub(crate) async fn resume(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let mut body = Object::read(&headers, body, "ResumeReplicationRequestParser").await?;
    // The incumbent's way to go on after its lease has expired: it copies everything anew. No lease expires here, and what a
    // resumption has to read again it does without being told.
    body.flag("force_resume")?;
    body.finish()?;
    to_the_end(async move { gateway.control.resume(&IndexName::new(index)).await }).await?;
    Ok(acknowledged())
}

/// `PUT {index}/_update`: other overrides in place of those there are.
pub(crate) async fn update(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let overrides = update_request(Object::read(&headers, body, "UpdateSettingsRequest").await?)?;
    to_the_end(async move { gateway.control.update(&IndexName::new(index), overrides).await }).await?;
    Ok(acknowledged())
}

/// The settings themselves, or in an object `settings`.
fn update_request(mut body: Object) -> Result<Settings, ApiError> {
    let inner = body.object("settings")?;
    let rest = body.rest();
    match inner {
        Some(_) if !rest.is_empty() => Err(ApiError::illegal(
            "settings are given both in [settings] and beside it: give them in one place",
        )),
        inner => settings::overrides(&inner.unwrap_or(rest)),
    }
}

/// Reads a call that takes no parameters and an empty object.
pub(crate) async fn nothing(
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    parser: &'static str,
) -> Result<(), ApiError> {
    Params::of(uri, &[])?;
    Object::read(headers, body, parser).await?.finish()
}

pub(crate) fn acknowledged() -> Response {
    Json(json!({"acknowledged": true})).into_response()
}

/// Carries a change through even if the caller hangs up in its middle.
pub(crate) async fn to_the_end(
    change: impl Future<Output = Result<(), ControlError>> + Send + 'static,
) -> Result<(), ApiError> {
    match tokio::spawn(change.in_current_span()).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(ApiError::unavailable("the agent is ending")),
    }
}

/// Reads and validates all of a `_start`; nothing has been asked of anybody yet.
fn start_request(follower: String, mut body: Object, words: Words) -> Result<StartRequest, ApiError> {
    let mut faults = Vec::new();
    let (leader_alias, leader_index) = leader(&mut body, words, &mut faults)?;
    check_roles(&mut body, &mut faults)?;
    let overrides = body.object("settings")?;
    let bootstrap = bootstrap(&mut body, &mut faults)?;
    body.finish()?;
    for name in [Some(follower.as_str()), leader_index.as_deref()]
        .into_iter()
        .flatten()
    {
        faults.extend(names::faults(name));
    }
    let (true, Some(leader_alias), Some(leader_index)) = (faults.is_empty(), leader_alias, leader_index)
    else {
        return Err(ApiError::validation(&faults));
    };
    Ok(StartRequest {
        follower_index: IndexName::new(follower),
        leader_alias,
        leader_index: IndexName::new(leader_index),
        overrides: overrides
            .as_ref()
            .map_or(Ok(Settings::new()), settings::overrides)?,
        bootstrap,
    })
}

/// Takes `bootstrap`, a field of our own: what the index begins with, where the agent is not to choose.
fn bootstrap(body: &mut Object, faults: &mut Vec<String>) -> Result<Option<Bootstrap>, ApiError> {
    let Some(word) = body.text("bootstrap")? else {
        return Ok(None);
    };
    let known = Bootstrap::parse(&word);
    if known.is_none() {
        faults.push(format!("Unknown bootstrap [{word}]: give [files] or [documents]"));
    }
    Ok(known)
}

/// Takes `use_roles`, which has no part in what agents may do: their certificates have. Both roles or none, as there.
pub(crate) fn check_roles(body: &mut Object, faults: &mut Vec<String>) -> Result<(), ApiError> {
    let Some(mut roles) = body.object("use_roles")? else {
        return Ok(());
    };
    let both = ["leader_cluster_role", "follower_cluster_role"].map(|role| roles.remove(role));
    if let Some(unknown) = roles.keys().next() {
        return Err(ApiError::content(format!(
            "[UseRolesParser] unknown field [{unknown}]"
        )));
    }
    let given = |role: &Option<serde_json::Value>| {
        let role = role.as_ref().and_then(|role| role.as_str());
        role.is_some_and(|role| !role.is_empty())
    };
    if !both.iter().all(given) {
        faults.push("Need roles for leader_cluster_role and follower_cluster_role".to_owned());
    }
    Ok(())
}

/// Takes alias and index of the leader in either generation's words, but only in one.
fn leader(
    body: &mut Object,
    words: Words,
    faults: &mut Vec<String>,
) -> Result<(Option<String>, Option<String>), ApiError> {
    let pairs = [LEADER, REMOTE].map(|words| (words, body.text(words.alias), body.text(words.index)));
    let mut given = Vec::new();
    for (words, alias, index) in pairs {
        let (alias, index) = (alias?, index?);
        if alias.is_some() || index.is_some() {
            given.push((words, alias, index));
        }
    }
    if given.len() > 1 {
        faults.push(format!(
            "Params [{}, {}] and [{}, {}] mean the same: give only one pair",
            LEADER.alias, LEADER.index, REMOTE.alias, REMOTE.index
        ));
        return Ok((None, None));
    }
    let (words, alias, index) = given.pop().unwrap_or((words, None, None));
    let missing: Vec<&str> = [(words.alias, &alias), (words.index, &index)]
        .into_iter()
        .filter(|(_, value)| value.as_ref().is_none_or(String::is_empty))
        .map(|(name, _)| name)
        .collect();
    if !missing.is_empty() {
        faults.push(format!(
            "Mandatory params [{}] are missing for the request",
            missing.join(", ")
        ));
        return Ok((None, None));
    }
    Ok((alias, index))
}

/// Waits until the leader's contents at the start have been copied.
async fn restored(gateway: &Gateway, index: &IndexName) -> Result<(), ApiError> {
    let deadline = Instant::now() + RESTORE_WAIT;
    loop {
        let status = gateway.control.status(index);
        match status.as_ref().map(|status| status.phase) {
            Some(Phase::Syncing) => return Ok(()),
            Some(Phase::Init | Phase::Bootstrapping) => {}
            Some(_) => {
                let reason = status.map_or_else(String::new, |status| status.reason.to_string());
                return Err(ApiError::unavailable(format!(
                    "[{index}] did not come to follow: {reason}"
                )));
            }
            None => return Err(ControlError::NotReplicating(index.clone()).into()),
        }
        if Instant::now() >= deadline {
            let reason =
                "Timed out when waiting for persistent task after 30s: the copy goes on, see _status";
            return Err(ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "illegal_state_exception",
                reason,
            ));
        }
        tokio::time::sleep(RESTORE_LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(follower: &str, body: &str, words: Words) -> Result<StartRequest, ApiError> {
        start_request(
            follower.to_owned(),
            Object::parse(body.as_bytes(), FOLLOW)?,
            words,
        )
    }

    #[test]
    fn both_generations_words_are_taken_under_both_prefixes() {
        for words in [LEADER, REMOTE] {
            for body in [
                r#"{"leader_alias":"l","leader_index":"i"}"#,
                r#"{"remote_cluster":"l","remote_index":"i","use_roles":{"leader_cluster_role":"a","follower_cluster_role":"b"}}"#,
            ] {
                let request = start("f", body, words).unwrap();
                assert_eq!(
                    (request.leader_alias.as_str(), request.leader_index.as_str()),
                    ("l", "i")
                );
            }
        }
    }

    #[test]
    fn what_an_index_begins_with_can_be_asked_for() {
        for (word, wanted) in [
            ("", None),
            (r#","bootstrap":null"#, None),
            (r#","bootstrap":"files""#, Some(Bootstrap::Files)),
            (r#","bootstrap":"documents""#, Some(Bootstrap::Documents)),
        ] {
            let body = format!(r#"{{"leader_alias":"l","leader_index":"i"{word}}}"#);
            assert_eq!(start("f", &body, LEADER).unwrap().bootstrap, wanted, "{body}");
        }
    }

    #[test]
    fn an_update_takes_settings_in_either_place() {
        let read = |body: &str| update_request(Object::parse(body.as_bytes(), "P")?);
        for body in [
            r#"{"settings":{"index.number_of_replicas":1}}"#,
            r#"{"index":{"number_of_replicas":1}}"#,
            r#"{"number_of_replicas":"1"}"#,
        ] {
            assert_eq!(read(body).unwrap()["index.number_of_replicas"], "1");
        }
        assert!(read("{}").unwrap().is_empty(), "which gives the leader's back");
        assert!(read(r#"{"settings":{},"number_of_replicas":1}"#).is_err());
        assert!(read(r#"{"index.number_of_shards":2}"#).is_err());
    }

    #[test]
    fn mistakes_have_the_incumbents_texts() {
        for (follower, body, words, text) in [
            (
                "f",
                r#"{"leader_alias":"l"}"#,
                LEADER,
                "Validation Failed: 1: Mandatory params [leader_index] are missing for the request;",
            ),
            (
                "f",
                "{}",
                REMOTE,
                "Validation Failed: 1: Mandatory params [remote_cluster, remote_index] are missing for the request;",
            ),
            (
                "F1",
                r#"{"leader_alias":"l","leader_index":"i"}"#,
                LEADER,
                "Validation Failed: 1: Value F1 must be lowercase;",
            ),
            (
                "f",
                r#"{"leader_alias":"l","leader_index":"l*"}"#,
                LEADER,
                "Validation Failed: 1: Value l* must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?];",
            ),
            (
                "f",
                r#"{"leader_alias":"l","leader_index":"i","use_roles":{"leader_cluster_role":"a"}}"#,
                LEADER,
                "Validation Failed: 1: Need roles for leader_cluster_role and follower_cluster_role;",
            ),
            (
                "f",
                r#"{"leader_alias":"l","leader_index":"i","bootstrap":"file"}"#,
                LEADER,
                "Validation Failed: 1: Unknown bootstrap [file]: give [files] or [documents];",
            ),
            (
                "f",
                r#"{"leader_alias":"l","leader_index":"i","bogus":1}"#,
                LEADER,
                "[1:40] [FollowIndexRequestParser] unknown field [bogus]",
            ),
            (
                "f",
                r#"{"leader_alias":"l","leader_index":"i","remote_index":"i"}"#,
                LEADER,
                "Validation Failed: 1: Params [leader_alias, leader_index] and [remote_cluster, remote_index] mean the same: give only one pair;",
            ),
            (
                "f",
                r#"{"leader_alias":"l","leader_index":"i","settings":{"index.number_of_shards":2}}"#,
                LEADER,
                "setting [index.number_of_shards] cannot be overridden: the follower's shards must be the leader's, one to one",
            ),
        ] {
            let error = start(follower, body, words).unwrap_err();
            assert_eq!((error.reason(), error.status()), (text, StatusCode::BAD_REQUEST));
        }
    }
}
