//! `[cluster]`: the cluster next to the agent, and who we are to it.

use std::path::PathBuf;

use slipstream_cluster::{Auth, ClientCert, ClusterConfig, Secret};

use super::document::ConfigError;
use super::section::Section;

/// Whether a leader agent reads translog files, as the operator set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translog {
    /// Not at all, if false.
    pub(crate) enabled: bool,
    /// Refuse to start where none can be read.
    pub(crate) required: bool,
    /// The node's data folder as this agent sees it.
    pub(crate) data_path: Option<PathBuf>,
}

/// The cluster beside a follower agent, and its folder for snapshots.
pub(super) fn read(mut section: Section) -> Result<(ClusterConfig, Option<PathBuf>), ConfigError> {
    let config = address(&mut section)?;
    let snapshots = snapshot_path(&mut section)?;
    section.finish()?;
    Ok((config, snapshots))
}

/// A folder that the cluster's nodes have in their `path.repo`, so its name is the same for them and for the agent.
fn snapshot_path(section: &mut Section) -> Result<Option<PathBuf>, ConfigError> {
    let Some(given) = section.text("snapshot_path")? else {
        return Ok(None);
    };
    let path = PathBuf::from(&given.value);
    if path.is_absolute() {
        return Ok(Some(path));
    }
    let wrong = given.wrong("the nodes of the cluster must find the folder by this name");
    Err(wrong.advise("write the whole path, as it stands under `path.repo`"))
}

/// The cluster beside a leader agent, and its files.
pub(super) fn read_leader(
    mut section: Section,
) -> Result<(ClusterConfig, Translog, Option<PathBuf>), ConfigError> {
    let config = address(&mut section)?;
    let (enabled, required) = match section.text("translog")? {
        None => (true, false),
        Some(mode) => match mode.value.as_str() {
            "auto" => (true, false),
            "on" => (true, true),
            "off" => (false, false),
            _ => return Err(mode.wrong("expected \"auto\", \"on\" or \"off\"")),
        },
    };
    let data_path = section.path("data_path")?.map(|given| given.value);
    let snapshots = snapshot_path(&mut section)?;
    section.finish()?;
    let translog = Translog {
        enabled,
        required,
        data_path,
    };
    Ok((config, translog, snapshots))
}

fn address(section: &mut Section) -> Result<ClusterConfig, ConfigError> {
    let url = section.required("url")?;
    url.behind_scheme(
        "a cluster",
        "give them by `username` and `password_file`, or by `api_key_file`",
    )?;
    let mut config = ClusterConfig::new(url.value);
    config.auth = auth(section)?;
    config.ca_pem = section.file("ca_file")?.map(|given| given.value);
    config.client_cert = client_cert(section)?;
    Ok(config)
}

fn auth(section: &mut Section) -> Result<Auth, ConfigError> {
    let username = section.text("username")?;
    let password = section.secret("password")?;
    let api_key = section.secret("api_key")?;
    match (username, password, api_key) {
        (None, None, None) => Ok(Auth::None),
        (None, None, Some(key)) => Ok(Auth::ApiKey(key.value)),
        (Some(username), Some(password), None) => Ok(Auth::Basic {
            username: username.value,
            password: password.value,
        }),
        (Some(username), None, None) => Err(username
            .wrong("there is no password for this user")
            .advise("name a file with the password by `password_file`, or set SLIPSTREAM_CLUSTER__PASSWORD")),
        (None, Some(password), _) => Err(password.wrong("there is no `username` for this password")),
        (Some(username), _, Some(_)) => Err(username
            .wrong("both a user and an API key are given")
            .advise("remove one of them")),
    }
}

fn client_cert(section: &mut Section) -> Result<Option<ClientCert>, ConfigError> {
    match (
        section.file("client_cert_file")?,
        section.file("client_key_file")?,
    ) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let text = String::from_utf8(key.value)
                .map_err(|_| ConfigError::new(key.place, "this file is not a PEM file"))?;
            Ok(Some(ClientCert {
                cert_pem: cert.value,
                key_pem: Secret::new(text),
            }))
        }
        (Some(given), None) | (None, Some(given)) => {
            Err(given.wrong("a client certificate needs both `client_cert_file` and `client_key_file`"))
        }
    }
}
