//! `_autofollow`: rules that follow a leader's indices by their names, in both generations' words, and our own list of
//! them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use slipstream_follower::RuleRequest;
use slipstream_model::Pattern;
use slipstream_model::settings::Settings;

use crate::calls::{acknowledged, check_roles, to_the_end};
use crate::error::ApiError;
use crate::params::Params;
use crate::{Gateway, body::Object, settings};

/// Who reads the body, in the engines' error texts.
const PARSER: &str = "AutoFollowRequestParser";

/// `POST _autofollow`.
pub(crate) async fn add(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let request = rule(Object::read(&headers, body, PARSER).await?)?;
    to_the_end(async move { gateway.control.add_rule(request).await }).await?;
    Ok(acknowledged())
}

/// `DELETE _autofollow`.
pub(crate) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let (alias, name) = rule_to_remove(Object::read(&headers, body, PARSER).await?)?;
    to_the_end(async move { gateway.control.remove_rule(&alias, &name).await }).await?;
    Ok(acknowledged())
}

/// `GET /_slipstream/v1/autofollow`.
pub(crate) async fn list(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    Ok(Json(json!({ "rules": gateway.control.rules() })).into_response())
}

/// Reads and validates all of a rule; nothing has been asked of anybody yet.
fn rule(mut body: Object) -> Result<RuleRequest, ApiError> {
    let mut faults = Vec::new();
    let (alias, name) = identity(&mut body, &mut faults)?;
    let pattern = body.text("pattern")?.filter(|pattern| !pattern.is_empty());
    match &pattern {
        None => faults.push("Missing pattern".to_owned()),
        Some(pattern) => faults.extend(pattern_faults(pattern)),
    }
    let exclude = body.texts("exclude")?.unwrap_or_default();
    faults.extend(exclude.iter().flat_map(|pattern| pattern_faults(pattern)));
    check_roles(&mut body, &mut faults)?;
    let overrides = body.object("settings")?;
    let follower_index_pattern = body.text("follower_index_pattern")?;
    body.finish()?;
    let (true, Some(leader_alias), Some(name), Some(pattern)) = (faults.is_empty(), alias, name, pattern)
    else {
        return Err(ApiError::validation(&faults));
    };
    Ok(RuleRequest {
        leader_alias,
        name,
        pattern: Pattern::new(pattern),
        exclude: exclude.into_iter().map(Pattern::new).collect(),
        follower_index_pattern,
        overrides: overrides
            .as_ref()
            .map_or(Ok(Settings::new()), settings::overrides)?,
    })
}

fn rule_to_remove(mut body: Object) -> Result<(String, String), ApiError> {
    let mut faults = Vec::new();
    let (alias, name) = identity(&mut body, &mut faults)?;
    if body.text("pattern")?.is_some() {
        faults.push("Unexpected pattern".to_owned());
    }
    body.finish()?;
    match (faults.is_empty(), alias, name) {
        (true, Some(alias), Some(name)) => Ok((alias, name)),
        _ => Err(ApiError::validation(&faults)),
    }
}

/// The leader's alias in either generation's word.
pub(crate) fn alias(body: &mut Object, faults: &mut Vec<String>) -> Result<Option<String>, ApiError> {
    let given = [body.text("leader_alias")?, body.text("remote_cluster")?];
    if given.iter().all(Option::is_some) {
        faults.push("Params [leader_alias] and [remote_cluster] mean the same: give only one".to_owned());
    }
    let given = given.into_iter().flatten().next();
    Ok(given.filter(|alias| !alias.is_empty()))
}

/// Alias and name, the alias in either generation's word.
fn identity(
    body: &mut Object,
    faults: &mut Vec<String>,
) -> Result<(Option<String>, Option<String>), ApiError> {
    let alias = alias(body, faults)?;
    let name = body.text("name")?.filter(|name| !name.is_empty());
    let missing: Vec<&str> = [("leader_alias", &alias), ("name", &name)]
        .into_iter()
        .filter(|(_, value)| value.is_none())
        .map(|(what, _)| what)
        .collect();
    if !missing.is_empty() {
        faults.push(format!(
            "Mandatory params [{}] are missing for the request",
            missing.join(", ")
        ));
    }
    if name.as_ref().is_some_and(|name| name.contains(char::is_control)) {
        faults.push("Value name must not contain control characters".to_owned());
    }
    Ok((alias, name))
}

pub(crate) fn pattern_faults(pattern: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if pattern.contains(|c: char| " \"\\<|,>/?#:".contains(c) || c.is_control()) {
        faults.push(format!(
            "Autofollow pattern: {pattern} must not contain the following characters [ , \", \\, <, |, ,, >, /, ?, #, :]"
        ));
    }
    if pattern.starts_with(['_', '-']) {
        faults.push(format!(
            "Autofollow pattern: {pattern} must not start with '_' or '-'"
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<RuleRequest, ApiError> {
        rule(Object::parse(body.as_bytes(), PARSER)?)
    }

    #[test]
    fn both_generations_words_and_our_own_are_taken() {
        let plain = read(r#"{"leader_alias":"l","name":"r","pattern":"logs-*"}"#).unwrap();
        assert_eq!((plain.leader_alias.as_str(), plain.name.as_str()), ("l", "r"));
        assert!(plain.exclude.is_empty() && plain.follower_index_pattern.is_none());
        let full = read(
            r#"{"remote_cluster":"l","name":"r","pattern":"logs-*","exclude":["logs-a*"],
                "follower_index_pattern":"x-{{leader_index}}","settings":{"number_of_replicas":0},
                "use_roles":{"leader_cluster_role":"a","follower_cluster_role":"b"}}"#,
        )
        .unwrap();
        assert_eq!(full.exclude, [Pattern::new("logs-a*")]);
        assert_eq!(full.follower_index_pattern.as_deref(), Some("x-{{leader_index}}"));
        assert_eq!(full.overrides["index.number_of_replicas"], "0");
    }

    #[test]
    fn mistakes_are_named() {
        for (body, text) in [
            (
                r#"{"leader_alias":"l","name":"r"}"#,
                "Validation Failed: 1: Missing pattern;",
            ),
            (
                r#"{"pattern":"a"}"#,
                "Validation Failed: 1: Mandatory params [leader_alias, name] are missing for the request;",
            ),
            (
                r#"{"leader_alias":"l","name":"r","pattern":"_a"}"#,
                "Validation Failed: 1: Autofollow pattern: _a must not start with '_' or '-';",
            ),
            (
                r#"{"leader_alias":"l","name":"r","pattern":"a","bogus":1}"#,
                "[1:46] [AutoFollowRequestParser] unknown field [bogus]",
            ),
            (
                r#"{"leader_alias":"l","name":"r","pattern":"a","exclude":"b"}"#,
                "[1:46] [AutoFollowRequestParser] failed to parse field [exclude]",
            ),
        ] {
            assert_eq!(read(body).unwrap_err().reason(), text);
        }
        let removal = Object::parse(br#"{"leader_alias":"l","name":"r","pattern":"a"}"#, PARSER).unwrap();
        let refused = rule_to_remove(removal).unwrap_err();
        assert_eq!(refused.reason(), "Validation Failed: 1: Unexpected pattern;");
    }
}
