//! How names, aliases, lists and patterns in a path are resolved to indices.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::{ApiError, ApiResult};
use crate::index::{Index, SharedIndex};

/// Which indices a request means, and through which alias.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) index: SharedIndex,
    /// The alias's definition where the index was reached through one only.
    pub(crate) alias: Option<Value>,
}

/// How strictly names are resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolve {
    pub(crate) ignore_unavailable: bool,
    /// Whether patterns match closed indices.
    pub(crate) closed: bool,
    /// Whether patterns match hidden indices.
    pub(crate) hidden: bool,
}

impl Cluster {
    /// The indices that a comma-separated list of names, aliases and patterns means.
    pub(crate) fn resolve(&self, expression: &str, how: Resolve) -> ApiResult<Vec<Target>> {
        let all = self.indices();
        let mut found: BTreeMap<String, Target> = BTreeMap::new();
        let expression = if expression.is_empty() || expression == "_all" {
            "*"
        } else {
            expression
        };
        for part in expression.split(',') {
            let excluded = part.strip_prefix('-').filter(|_| !found.is_empty());
            if let Some(pattern) = excluded {
                found.retain(|name, _| !glob(pattern, name));
            } else if part.contains('*') {
                all.iter()
                    .filter(|i| pattern_takes(part, i, how))
                    .for_each(|i| add_plain(&mut found, i));
                for index in &all {
                    let state = index.lock();
                    let alias = state
                        .aliases
                        .iter()
                        .find(|(name, _)| part != "*" && glob(part, name));
                    if let Some((_, alias)) = alias.filter(|_| state.open || how.closed) {
                        add_alias(&mut found, index, alias);
                    }
                }
            } else if let Some(index) = all.iter().find(|i| i.name == part) {
                if how.ignore_unavailable && !how.closed && !index.lock().open {
                    continue;
                }
                add_plain(&mut found, index);
            } else {
                let before = found.len();
                let mut any = false;
                for index in &all {
                    if let Some(alias) = index.lock().alias(part) {
                        add_alias(&mut found, index, alias);
                        any = true;
                    }
                }
                if before == found.len() && !any && !how.ignore_unavailable {
                    return Err(ApiError::no_index(part));
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The one index that a document operation means, and the alias that it was reached through.
    pub(crate) fn resolve_one(&self, name: &str) -> ApiResult<Option<Target>> {
        if let Some(index) = self.index(name) {
            return Ok(Some(Target { index, alias: None }));
        }
        let mut through: Vec<Target> = Vec::new();
        for index in self.indices() {
            let alias = index.lock().alias(name).cloned();
            if alias.is_some() {
                through.push(Target { index, alias });
            }
        }
        if through.len() > 1 {
            let writes = |t: &Target| t.alias.as_ref().is_some_and(|a| a["is_write_index"] == true);
            if let Some(at) = through.iter().position(writes) {
                return Ok(Some(through.swap_remove(at)));
            }
            let reason = format!(
                "no write index is defined for alias [{name}]. The write index may be explicitly disabled using \
                 is_write_index=false or the alias points to multiple indices without one being designated as a write \
                 index"
            );
            return Err(ApiError::illegal(reason));
        }
        Ok(through.pop())
    }
}

fn pattern_takes(pattern: &str, index: &Index, how: Resolve) -> bool {
    let state = index.lock();
    let hidden =
        state.knobs.hidden && !how.hidden && !(pattern.starts_with('.') && index.name.starts_with('.'));
    glob(pattern, &index.name) && !hidden && (state.open || how.closed)
}

fn add_plain(found: &mut BTreeMap<String, Target>, index: &SharedIndex) {
    found.insert(
        index.name.clone(),
        Target {
            index: Arc::clone(index),
            alias: None,
        },
    );
}

fn add_alias(found: &mut BTreeMap<String, Target>, index: &SharedIndex, alias: &Value) {
    let target = Target {
        index: Arc::clone(index),
        alias: Some(alias.clone()),
    };
    found.entry(index.name.clone()).or_insert(target);
}

/// Whether a pattern with `*` matches a name.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else {
        return name.is_empty();
    };
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some(at) = rest.find(previous) else {
                return false;
            };
            rest = &rest[at + previous.len()..];
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_globs() {
        assert!(glob("*", "anything"));
        assert!(glob("logs-*", "logs-1"));
        assert!(glob("*-a*c", "x-abc"));
        assert!(!glob("logs-*", "log"));
        assert!(glob("a", "a") && !glob("a", "ab"));
        assert!(glob("a*b*", "axxbyy") && !glob("a*b", "axxbyy"));
    }
}
