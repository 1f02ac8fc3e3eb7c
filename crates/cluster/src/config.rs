//! How a cluster is reached and what is shown to it: address, credentials, certificates, deadlines.
//!
//! Secrets live in [`Secret`], which has no way into a log line: its `Debug` is redacted and it has no `Display`.

use std::fmt;
use std::time::Duration;

/// Everything needed to talk to one cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// `http://` or `https://` address of a node, with an optional path prefix and without credentials.
    pub url: String,
    /// What is sent to prove who we are.
    pub auth: Auth,
    /// The only certificate authorities to trust, as PEM; without them those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// A certificate to show to the cluster.
    pub client_cert: Option<ClientCert>,
    /// Deadlines.
    pub timeouts: Timeouts,
}

impl ClusterConfig {
    /// A cluster without authentication, with default deadlines.
    pub fn new(url: impl Into<String>) -> Self {
        ClusterConfig {
            url: url.into(),
            auth: Auth::None,
            ca_pem: None,
            client_cert: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// How requests are authenticated.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Not at all, or by client certificate only.
    #[default]
    None,
    /// HTTP basic authentication.
    Basic {
        /// The user.
        username: String,
        /// The user's password.
        password: Secret,
    },
    /// An API key in its encoded form, as the engine returns it in `encoded`.
    ApiKey(Secret),
}

/// A certificate of ours and its private key.
#[derive(Debug, Clone)]
pub struct ClientCert {
    /// The certificate and its intermediates, leaf first, as PEM.
    pub cert_pem: Vec<u8>,
    /// The private key as PEM.
    pub key_pem: Secret,
}

/// A text that must not show in logs, status or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Deadlines of requests. Each covers a whole request with its answer, except `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection and its TLS handshake.
    pub connect: Duration,
    /// For cheap calls: state, statistics, existence.
    pub read: Duration,
    /// For calls that move or change much: bulks, pages, refreshes, index creation.
    pub bulk: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            bulk: Duration::from_mins(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let mut config = ClusterConfig::new("http://127.0.0.1:9200");
        config.auth = Auth::Basic {
            username: "u".into(),
            password: "hunter2".into(),
        };
        config.client_cert = Some(ClientCert {
            cert_pem: Vec::new(),
            key_pem: "hunter2".into(),
        });
        assert!(!format!("{config:?}").contains("hunter2"));
        config.auth = Auth::ApiKey("hunter2".into());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
