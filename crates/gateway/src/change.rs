//! What a `PUT /_cluster/settings` asks for, sorted into leaders, the incumbent's settings and everything else.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::switches::Switch;
use crate::{settings, switches};

/// The two objects that settings come in.
pub(crate) const SCOPES: [&str; 2] = ["persistent", "transient"];

/// What a settings body asks for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Alias → addresses; none removes it.
    pub(crate) leaders: Vec<(String, Vec<String>)>,
    /// The incumbent's own settings.
    pub(crate) switches: Vec<Switch>,
    /// Everything that is not ours, in the two objects it came in.
    pub(crate) others: [Vec<(String, Value)>; 2],
}

/// Reads a body; nothing has been done yet.
pub(crate) fn read_change(object: &Map<String, Value>) -> Result<Change, ApiError> {
    let mut change = Change::default();
    for (scope, value) in object {
        let Some(at) = SCOPES.iter().position(|known| known == scope) else {
            return Err(ApiError::illegal(format!(
                "unknown field [{scope}]: expected [persistent] or [transient]"
            )));
        };
        let inner = match value {
            Value::Object(inner) => inner,
            Value::Null => continue,
            _ => return Err(ApiError::illegal(format!("[{scope}] is not an object"))),
        };
        for (name, value) in settings::flatten(inner)? {
            if name.starts_with(switches::PREFIX) {
                let switch = switches::judge(&name, &value)?;
                if change.switches.iter().any(|known| known.name == name) {
                    return Err(ApiError::illegal(format!("setting [{name}] is given twice")));
                }
                change.switches.push(switch);
                continue;
            }
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
    if alias.is_empty()
        || !alias
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    {
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
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(|t| t.trim().to_owned()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    if agents.iter().all(|agent| is_address(agent)) {
        Ok((alias.to_owned(), agents))
    } else {
        Err(wrong())
    }
}

/// Whether the text is `HOST:PORT`.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty()
        && (bracketed || !host.contains(':'))
        && !host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(value: Value) -> Result<Change, ApiError> {
        let Value::Object(body) = value else {
            panic!("{value}")
        };
        read_change(&body)
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
    fn the_incumbents_settings_are_ours_and_judged_before_anything_is_done() {
        let body = json!({"persistent": {"plugins": {"replication": {"follower": {"block": {"start": true}}}}, "a.b": 1}});
        let read = change(body).unwrap();
        assert_eq!(read.switches[0].name, "plugins.replication.follower.block.start");
        assert_eq!(read.others[0], [("a.b".to_owned(), json!(1))]);
        assert!(change(json!({"transient": {"plugins.replication.bogus": 1}})).is_err());
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
            (
                json!({"persistent": {"cluster.remote.x.skip_unavailable": true}}),
                "has no effect here",
            ),
            (
                json!({"persistent": {"cluster.remote.x.seeds": ["nohost"]}}),
                "HOST:PORT",
            ),
            (json!({"persistent": {"cluster.remote.x.seeds": 5}}), "HOST:PORT"),
            (
                json!({"persistent": {"cluster.remote.x y.seeds": "h:1"}}),
                "cannot name a leader",
            ),
            (json!({"persistant": {}}), "unknown field [persistant]"),
            (json!({"persistent": {}}), "no settings to update"),
            (
                json!({"persistent": {"cluster.remote.x.seeds": "h:1"}, "transient": {"cluster.remote.x.seeds": "h:2"}}),
                "given twice",
            ),
        ] {
            let error = change(body).unwrap_err();
            assert!(error.reason().contains(text), "{}", error.reason());
            assert_eq!(error.status(), 400);
        }
    }
}
