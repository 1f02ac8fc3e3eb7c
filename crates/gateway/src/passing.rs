//! Everything that is not a call of the gateway's own: writes to following indices are refused, and the rest goes to
//! the target where the operator allowed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde_json::{Map, Value};

use crate::error::{ApiError, plain};
use crate::guard::{Intent, first_match, intent, names_in};
use crate::opened::{self, Opened};
use crate::params::Params;
use crate::proxy::{Passed, Proxy};
use crate::{Gateway, bulk};

/// Bytes of names that one question to the target carries.
const QUESTION: usize = 2_000;

/// Whatever no other handler took.
pub(crate) async fn any(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, ApiError> {
    let uri = request.uri().clone();
    let (method, path) = (request.method().clone(), uri.path().to_owned());
    if [
        "/_plugins/_replication",
        "/_opendistro/_replication",
        "/_slipstream",
    ]
    .iter()
    .any(|own| path.starts_with(own))
    {
        let query = uri.path_and_query().map_or(path.as_str(), |all| all.as_str());
        let text = format!("no handler found for uri [{query}] and method [{method}]");
        return Ok(plain(StatusCode::BAD_REQUEST, &text));
    }
    let params = Params::unchecked(&uri)?;
    let index_param = params.get("index");
    let following: Vec<String> = gateway
        .control
        .list()
        .iter()
        .map(|status| status.follower_index.to_string())
        .collect();
    let Some(proxy) = &gateway.proxy else {
        if let Intent::Write(expression) | Intent::Bulk(Some(expression)) =
            intent(&method, &path, index_param)
            && let Some(index) = first_match(&expression, &following)
        {
            return Err(ApiError::blocked(index));
        }
        return Err(ApiError::not_found(format!(
            "this is slipstream's gateway, which serves replication: send [{method} {path}] to the target cluster, or \
             let the gateway pass it on with `proxy = true` in [gateway]"
        )));
    };
    let address = proxy.address(&uri)?;
    let (mut parts, body) = request.into_parts();
    let intent = if following.is_empty() {
        Intent::Read
    } else {
        intent(&method, &address.path, index_param)
    };
    match intent {
        Intent::Read => proxy.pass(method, address.url, &parts.headers, body).await,
        Intent::Write(expression) => {
            let held = Held::new(proxy, &following, &parts.headers);
            if let Some(refusal) = held.refusal(&expression).await? {
                return Ok(refusal);
            }
            proxy.pass(method, address.url, &parts.headers, body).await
        }
        Intent::Named(by) => {
            let Opened { bytes, _room } = opened::open(proxy, &mut parts.headers, body).await?;
            let held = Held::new(proxy, &following, &parts.headers);
            let object: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
            let named = serde_json::from_slice(object)
                .ok()
                .and_then(|body| names_in(&body, by));
            let Some(names) = named else {
                return Err(ApiError::parse(format!(
                    "the body of [{method} {path}] does not name its indices as expected"
                )));
            };
            for name in names {
                if let Some(refusal) = held.refusal(&name).await? {
                    return Ok(refusal);
                }
            }
            proxy.pass_held(method, address.url, &parts.headers, bytes).await
        }
        Intent::Bulk(default_index) => {
            let Opened { bytes, _room } = opened::open(proxy, &mut parts.headers, body).await?;
            let held = Held::new(proxy, &following, &parts.headers);
            held.bulk(method, address.url, default_index.as_deref(), bytes)
                .await
        }
    }
}

/// One request that may touch following indices.
struct Held<'a> {
    proxy: &'a Proxy,
    following: &'a [String],
    headers: &'a HeaderMap,
}

/// What the target says about names: concrete index → its aliases.
type Resolved = BTreeMap<String, Vec<String>>;

impl<'a> Held<'a> {
    fn new(proxy: &'a Proxy, following: &'a [String], headers: &'a HeaderMap) -> Self {
        Held {
            proxy,
            following,
            headers,
        }
    }

    /// The answer to a write to this expression, if it takes in a following index.
    async fn refusal(&self, expression: &str) -> Result<Option<Response>, ApiError> {
        if let Some(index) = first_match(expression, self.following) {
            return Ok(Some(ApiError::blocked(index).into_response()));
        }
        let resolved = match self.resolve(expression).await? {
            Ok(resolved) => resolved,
            Err(response) => return Ok(Some(response)),
        };
        let index = resolved.keys().find(|index| self.following.contains(index));
        Ok(index.map(|index| ApiError::blocked(index).into_response()))
    }

    /// Asks the target, as the caller, what an expression means: it may be an alias or a date expression. The inner error
    /// is the target's refusal: who may not ask may not write past the guard either.
    async fn resolve(&self, expression: &str) -> Result<Result<Resolved, Response>, ApiError> {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let uri =
            format!("/{encoded}/_alias?ignore_unavailable=true&allow_no_indices=true&expand_wildcards=all");
        let uri = uri
            .parse()
            .map_err(|_| ApiError::illegal(format!("[{expression}] is no index expression")))?;
        let mut headers = HeaderMap::new();
        for name in [header::AUTHORIZATION, header::COOKIE] {
            for value in self.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        match self.proxy.get_json(&uri, &headers).await? {
            Passed::Json(indices) => Ok(Ok(indices.into_iter().map(aliases).collect())),
            Passed::Refused(response) if response.status() == StatusCode::NOT_FOUND => {
                Ok(Ok(Resolved::new()))
            }
            Passed::Refused(response) => Ok(Err(response)),
        }
    }

    /// Passes on what of a bulk may pass, and answers the rest.
    async fn bulk(
        &self,
        method: Method,
        mut url: Url,
        default_index: Option<&str>,
        body: Bytes,
    ) -> Result<Response, ApiError> {
        let items = bulk::split(&body, default_index)?;
        let mut blocked: BTreeMap<&str, String> = BTreeMap::new();
        let mut unknown: Vec<&str> = Vec::new();
        for name in items.iter().filter_map(|item| item.index.as_deref()) {
            if self.following.iter().any(|index| index == name) {
                blocked.insert(name, name.to_owned());
            } else if !unknown.contains(&name) {
                unknown.push(name);
            }
        }
        for question in questions(&unknown) {
            let resolved = match self.resolve(&question.join(",")).await? {
                Ok(resolved) => resolved,
                Err(response) => return Ok(response),
            };
            for (index, aliases) in resolved
                .into_iter()
                .filter(|(index, _)| self.following.contains(index))
            {
                // A question about one name is about nothing else, whatever that name is an expression for.
                let meant = question
                    .iter()
                    .filter(|name| question.len() == 1 || aliases.iter().any(|a| a == *name));
                blocked.extend(meant.map(|name| (*name, index.clone())));
            }
        }
        let parted = bulk::part(&body, &items, |name| blocked.get(name).cloned());
        if parted.is_untouched() {
            return self.proxy.pass_held(method, url, self.headers, body).await;
        }
        let answer = if parted.rest.is_empty() {
            None
        } else {
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| name != "filter_path")
                .map(|(n, v)| (n.into(), v.into()))
                .collect();
            url.set_query(None);
            if !kept.is_empty() {
                url.query_pairs_mut().extend_pairs(kept);
            }
            match self
                .proxy
                .exchange(method, url, self.headers, parted.rest.clone())
                .await?
            {
                Passed::Json(answer) => Some(Value::Object(answer)),
                Passed::Refused(response) => return Ok(response),
            }
        };
        match parted.join(answer) {
            Some(answer) => Ok(Json(answer).into_response()),
            None => Err(ApiError::unavailable(
                "the target's answer to the bulk has no items",
            )),
        }
    }
}

/// Names in groups that fit an address; date expressions alone, because their answer does not show which was meant.
fn questions<'a>(names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    let mut open: Option<(Vec<&str>, usize)> = None;
    for name in names {
        if name.contains(['<', '*', ',']) {
            groups.push(vec![name]);
            continue;
        }
        let (mut group, length) = open.take().unwrap_or_default();
        if length + name.len() > QUESTION && !group.is_empty() {
            groups.push(std::mem::take(&mut group));
            open = Some((vec![name], name.len()));
        } else {
            group.push(name);
            open = Some((group, length + name.len()));
        }
    }
    groups.extend(open.map(|(group, _)| group));
    groups
}

fn aliases((index, about): (String, Value)) -> (String, Vec<String>) {
    let none = Map::new();
    let aliases = about.get("aliases").and_then(Value::as_object).unwrap_or(&none);
    (index, aliases.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_fit_and_leave_no_name_out() {
        let long: Vec<String> = (0..30).map(|n| format!("{n:0200}")).collect();
        let mut names: Vec<&str> = long.iter().map(String::as_str).collect();
        names.insert(3, "<logs-{now/d}>");
        let groups = questions(&names);
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), names.len());
        assert!(
            groups
                .iter()
                .all(|group| group.iter().map(|n| n.len()).sum::<usize>() <= QUESTION)
        );
        assert!(groups.contains(&vec!["<logs-{now/d}>"]));
    }
}
