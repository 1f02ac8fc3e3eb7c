//! Who somebody is to a secured cluster, and what he may do there.
//!
//! The credentials are given with each call, in the form of an `Authorization` header. Use a client for it that shows nothing of its
//! own: engines may take a client certificate for the caller, whatever the header says.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::{Call, Cluster};
use crate::config::Secret;
use crate::error::{ClusterError, ErrorKind, Result};
use crate::identity::Engine;

/// A user, as the cluster's security knows him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub name: String,
    /// The user in the words of the engine's own refusals.
    pub shown: String,
    /// The roles that he has there.
    pub roles: Vec<String>,
}

/// Privileges to ask for, in Elasticsearch's words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Privileges<'a> {
    /// On the cluster.
    pub cluster: &'a [&'a str],
    /// Indices, or a pattern of them.
    pub index: &'a str,
    /// On these.
    pub on_index: &'a [&'a str],
}

#[derive(Deserialize)]
struct AuthInfo {
    user: String,
    user_name: String,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Deserialize)]
struct Authenticated {
    username: String,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    cluster: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    index: serde_json::Map<String, serde_json::Value>,
}

impl Cluster {
    /// Who it is that shows these credentials; our own where none are given.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] if the cluster does not accept them, [`ErrorKind::Unsupported`] if it has no security.
    pub async fn authenticate(&self, engine: Engine, shown: Option<&Secret>) -> Result<Caller> {
        let path = match engine {
            Engine::OpenSearch => "/_plugins/_security/authinfo",
            Engine::Elasticsearch => "/_security/_authenticate",
        };
        let call = Call::get(path, "").shows(shown);
        let answer = self
            .ok(&call)
            .await
            .map_err(|error| self.without_security(error))?;
        Ok(match engine {
            Engine::OpenSearch => {
                let info: AuthInfo = self.parse(&call, &answer.body)?;
                Caller {
                    name: info.user_name,
                    shown: info.user,
                    roles: info.roles,
                }
            }
            Engine::Elasticsearch => {
                let info: Authenticated = self.parse(&call, &answer.body)?;
                Caller {
                    shown: format!(
                        "User [name={}, backend_roles=[{}], requestedTenant=null]",
                        info.username,
                        info.roles.join(", ")
                    ),
                    name: info.username,
                    roles: info.roles,
                }
            }
        })
    }

    /// Which of the privileges whoever shows these credentials lacks, each by its name. Elasticsearch only: OpenSearch's security has
    /// no such question.
    ///
    /// # Errors
    /// As [`Cluster::authenticate`].
    pub async fn lacks(&self, shown: Option<&Secret>, asked: Privileges<'_>) -> Result<Vec<String>> {
        let mut body = json!({ "cluster": asked.cluster });
        if !asked.on_index.is_empty() {
            body["index"] = json!([{ "names": [asked.index], "privileges": asked.on_index }]);
        }
        let call = Call::new(Method::POST, "/_security/user/_has_privileges", "")
            .shows(shown)
            .body(self.to_json(&body)?, "application/json");
        let answer = self
            .ok(&call)
            .await
            .map_err(|error| self.without_security(error))?;
        let granted: Granted = self.parse(&call, &answer.body)?;
        let on_index = granted.index.values().filter_map(|all| all.as_object());
        let all = granted.cluster.iter().chain(on_index.flatten());
        Ok(all
            .filter(|(_, has)| **has != serde_json::Value::Bool(true))
            .map(|(name, _)| name.clone())
            .collect())
    }

    /// An engine that does not know the question has no security to ask.
    fn without_security(&self, error: ClusterError) -> ClusterError {
        let unknown = matches!(
            error.kind,
            ErrorKind::NotFound | ErrorKind::BadRequest | ErrorKind::Server | ErrorKind::Unsupported
        );
        // Elasticsearch with its security switched off answers 500 and this name; a failure of another kind stays what it is.
        let switched_off = error.status() == Some(500) && error.engine_type() != Some("exception");
        if !unknown || (error.kind == ErrorKind::Server && !switched_off) {
            return error;
        }
        let reason = "the cluster has no security that could check a caller";
        ClusterError::new(ErrorKind::Unsupported, self.url(), reason).with_source(error)
    }
}
