//! Servers with their security switched on: an administrator, and on OpenSearch TLS on both ports, which its plugin insists on.
//!
//! Elasticsearch comes with its security; OpenSearch gets the plugin, in a copy of the release of its own.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use super::error::SkipOrError;
use super::release::{Engine, Release};

/// The administrator's name, the same everywhere.
pub const ADMIN: &str = "admin";
/// And password.
pub const ADMIN_PASSWORD: &str = "slipstream-admin";
/// Its bcrypt hash, as both engines take it.
const ADMIN_HASH: &str = "$2y$12$mSFzzBv.24wGnnczmumG1.jI9F3ApBoGvDhVtaKDFJ9ogNzeAMXoK";

/// The token of a service account of Elasticsearch's that every secured one of ours knows, `elastic/fleet-server/slipstream`, as it is
/// shown after `Bearer`. Its secret is the administrator's password, and it may `monitor` the cluster.
pub const SERVICE_TOKEN: &str = "AAEAAWVsYXN0aWMvZmxlZXQtc2VydmVyL3NsaXBzdHJlYW06c2xpcHN0cmVhbS1hZG1pbg==";

/// Lines of the configuration file for a server with security, whose own files [`write`] makes.
pub(crate) fn settings(release: Release) -> Vec<(String, String)> {
    let lines: &[(&str, &str)] = match release.engine() {
        Engine::Elasticsearch => &[
            ("xpack.security.enabled", "true"),
            ("xpack.security.autoconfiguration.enabled", "false"),
            ("xpack.ml.enabled", "false"),
        ],
        Engine::OpenSearch => &[
            ("plugins.security.ssl.transport.pemcert_filepath", "node.pem"),
            ("plugins.security.ssl.transport.pemkey_filepath", "node.key"),
            ("plugins.security.ssl.transport.pemtrustedcas_filepath", "ca.pem"),
            ("plugins.security.ssl.http.enabled", "true"),
            ("plugins.security.ssl.http.pemcert_filepath", "node.pem"),
            ("plugins.security.ssl.http.pemkey_filepath", "node.key"),
            ("plugins.security.ssl.http.pemtrustedcas_filepath", "ca.pem"),
            ("plugins.security.allow_default_init_securityindex", "true"),
            ("plugins.security.nodes_dn", "[\"CN=node\"]"),
            ("plugins.security.restapi.roles_enabled", "[\"all_access\"]"),
        ],
    };
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    lines.iter().map(owned).collect()
}

/// Writes what the security of a server needs into its configuration folder; the CA that signed its certificate, if it has one.
/// `users` is a name and a role's definition each, for Elasticsearch.
pub(crate) fn write(
    release: Release,
    home: &Path,
    config: &Path,
    users: &[(String, Value)],
) -> Result<Option<Vec<u8>>, SkipOrError> {
    let put = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|source| SkipOrError::file("write", path, source))
    };
    if release.engine() == Engine::Elasticsearch {
        let (mut names, mut assigned, mut roles) = (
            format!("{ADMIN}:{ADMIN_HASH}\n"),
            format!("superuser:{ADMIN}\n"),
            String::new(),
        );
        for (name, role) in users {
            names.extend([name, ":", ADMIN_HASH, "\n"]);
            assigned.extend([name, ":", name, "\n"]);
            // JSON is YAML. The engine wants what belongs to a role indented below it.
            roles.extend([name, ":\n  ", &role.to_string(), "\n"]);
        }
        put(&config.join("users"), &names)?;
        put(&config.join("users_roles"), &assigned)?;
        put(&config.join("roles.yml"), &roles)?;
        let token = format!("elastic/fleet-server/slipstream:{ADMIN_HASH}\n");
        put(&config.join("service_tokens"), &token)?;
        return Ok(None);
    }
    let plugin = config.join("opensearch-security");
    super::folder::copy(&home.join("plugins/opensearch-security/config"), &plugin)?;
    put(
        &plugin.join("internal_users.yml"),
        &format!(
            "_meta:\n  type: internalusers\n  config_version: 2\n{ADMIN}:\n  hash: \"{ADMIN_HASH}\"\n  backend_roles: [admin]\n"
        ),
    )?;
    let Pems { ca, cert, key } = pems().map_err(|error| SkipOrError::Provision {
        program: "rcgen",
        purpose: "make certificates".to_owned(),
        output: error.to_string(),
    })?;
    put(&config.join("ca.pem"), &ca)?;
    put(&config.join("node.pem"), &cert)?;
    put(&config.join("node.key"), &key)?;
    Ok(Some(ca.into_bytes()))
}

struct Pems {
    ca: String,
    cert: String,
    key: String,
}

/// A CA, and a node's certificate for this host.
fn pems() -> Result<Pems, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "servers of the tests");
    let ca = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut node = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    node.distinguished_name = rcgen::DistinguishedName::new();
    node.distinguished_name.push(DnType::CommonName, "node");
    let key = KeyPair::generate()?;
    Ok(Pems {
        ca: ca.pem(),
        cert: node.signed_by(&key, &ca)?.pem(),
        key: key.serialize_pem(),
    })
}
