//! `[gateway]` and `[[allow]]` of a follower agent: where it is controlled, by whom, and whether it passes other requests on.
//!
//! Without `auth` and `client_ca_file` the gateway asks nobody who he is, and with the proxy on writes to the target with the rights
//! that the caller sends along. So an address that other hosts can reach needs callers that prove who they are, over TLS, or a word of the
//! operator.

use std::net::IpAddr;
use std::path::PathBuf;

use slipstream_gateway::{AccessRules, AllowRule, Role, Users, Whom};
use slipstream_model::Pattern;
use slipstream_wire::identity::Identity;
use slipstream_wire::tls::{HttpsFiles, HttpsIdentity};

use super::document::ConfigError;
use super::section::{Given, Section};

/// The REST surface.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it listens.
    pub(crate) address: String,
    /// Whether requests that are not its own go to the target.
    pub(crate) proxy: bool,
    /// Whether whoever reaches the address may control the replication, although other hosts can.
    pub(crate) trust_network: bool,
    /// Its certificate, if it speaks TLS.
    pub(crate) tls: Option<Https>,
    /// Who says who a caller is.
    pub(crate) auth: Auth,
    /// What follows from that.
    pub(crate) rules: AccessRules,
    /// Where changes are recorded.
    pub(crate) audit_file: Option<PathBuf>,
}

/// Certificate files of an HTTPS server that have been read and fit together.
pub(crate) struct Https(pub(crate) HttpsIdentity);

impl std::fmt::Debug for Https {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Https")
            .field("expires_at", &self.0.expires_at())
            .finish_non_exhaustive()
    }
}

/// Who says who a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Nobody.
    None,
    /// Certificates only.
    Certificates,
    /// A file of users.
    Users,
    /// The target's security.
    Target,
}

pub(super) fn read(mut section: Section, allow: Vec<Section>) -> Result<Gateway, ConfigError> {
    let address = section.required("address")?;
    let place = address.place.clone();
    let address = address.address()?;
    let proxy = section.flag("proxy")?;
    let trust_network = section.flag("trust_network")?;
    let (tls, certificates) = https(&mut section)?;
    let auth = section.text("auth")?;
    let users = section.file("users_file")?;
    let audit_file = section.path("audit_file")?.map(|given| given.value);
    section.finish()?;

    let auth = match (auth.as_ref().map(|given| given.value.as_str()), &auth) {
        (None, _) if certificates => Auth::Certificates,
        (None, _) => Auth::None,
        (Some("target"), _) => Auth::Target,
        (Some("users"), _) if users.is_some() => Auth::Users,
        (Some("users"), Some(given)) => {
            return Err(given
                .wrong("there is no `users_file`")
                .advise("name a file with a line for each user, as `slipstream password` prints it"));
        }
        (_, Some(given)) => return Err(given.wrong("expected \"target\" or \"users\"")),
        (Some(_), None) => Auth::None,
    };
    let users = match users {
        Some(given) if auth != Auth::Users => {
            return Err(given
                .wrong("nobody reads this file")
                .advise("set auth = \"users\""));
        }
        Some(given) => read_users(&given)?,
        None => Users::default(),
    };
    let allow = allow
        .into_iter()
        .map(|section| rule(section, auth, certificates, &users))
        .collect::<Result<_, _>>()?;
    let gateway = Gateway {
        address,
        proxy,
        trust_network,
        tls,
        auth,
        rules: AccessRules { allow, users },
        audit_file,
    };
    may_listen(&gateway, &place)?;
    Ok(gateway)
}

fn may_listen(gateway: &Gateway, place: &str) -> Result<(), ConfigError> {
    if gateway.trust_network || is_loopback(&gateway.address) {
        return Ok(());
    }
    let problem = match (gateway.auth, &gateway.tls) {
        (Auth::None, _) => "the gateway asks nobody who he is: whoever reaches it controls the replication",
        (_, None) => "passwords would travel in the clear",
        (_, Some(_)) => return Ok(()),
    };
    let problem = format!("other hosts can reach {}, and {problem}", gateway.address);
    Err(ConfigError::new(place, problem).advise(
        "write 127.0.0.1 for the host; or set cert_file and key_file, and auth or client_ca_file; or trust_network = true if only \
         operators, or what authenticates them, reach it",
    ))
}

/// The gateway's TLS, and whether callers' certificates are looked at.
fn https(section: &mut Section) -> Result<(Option<Https>, bool), ConfigError> {
    let client_ca = section.path("client_ca_file")?;
    let ca = client_ca.as_ref().map(|given| given.value.clone());
    match (server_tls(section, ca)?, client_ca) {
        (None, Some(given)) => {
            Err(given.wrong("certificates of callers need TLS: add `cert_file` and `key_file`"))
        }
        (https, client_ca) => Ok((https, client_ca.is_some())),
    }
}

/// The certificate that a server shows, if it speaks TLS; callers' are checked against `client_ca`.
pub(super) fn server_tls(
    section: &mut Section,
    client_ca: Option<PathBuf>,
) -> Result<Option<Https>, ConfigError> {
    let (cert, key) = match (section.path("cert_file")?, section.path("key_file")?) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return Ok(None),
        (Some(given), None) | (None, Some(given)) => {
            return Err(given.wrong("TLS needs both `cert_file` and `key_file`"));
        }
    };
    let files = HttpsFiles {
        cert: cert.value,
        key: key.value,
        client_ca,
    };
    let identity = HttpsIdentity::load(&files).map_err(|error| ConfigError::of(cert.place, &error))?;
    Ok(Some(Https(identity)))
}

fn read_users(given: &Given<Vec<u8>>) -> Result<Users, ConfigError> {
    let text = std::str::from_utf8(&given.value).map_err(|_| given.wrong("this file is not text"))?;
    Users::parse(text).map_err(|error| ConfigError::of(given.place.clone(), &error))
}

/// One `[[allow]]`.
fn rule(
    mut section: Section,
    auth: Auth,
    certificates: bool,
    users: &Users,
) -> Result<AllowRule, ConfigError> {
    let identity = section.text("identity")?;
    let target_role = section.text("target_role")?;
    let user = section.text("user")?;
    let role = section.required("role")?;
    let indices = section.optional_list("indices")?;
    let place = section.place();
    section.finish()?;
    let whom = match (identity, target_role, user) {
        (Some(given), None, None) if certificates => Whom::Identity(Identity::new(&given.value)),
        (Some(given), None, None) => {
            return Err(given.wrong("certificates are not looked at: set `client_ca_file` in [gateway]"));
        }
        (None, Some(given), None) if auth == Auth::Target => Whom::TargetRole(given.value),
        (None, Some(given), None) => {
            return Err(given.wrong("the target is not asked: set auth = \"target\" in [gateway]"));
        }
        (None, None, Some(given)) if auth != Auth::Users => {
            return Err(given.wrong("there are no users: set auth = \"users\" in [gateway]"));
        }
        (None, None, Some(given)) if !users.has(&given.value) => {
            return Err(given.wrong(format!("`{}` is not in `users_file`", given.value)));
        }
        (None, None, Some(given)) => Whom::User(given.value),
        _ => {
            return Err(ConfigError::new(place, "it is not said who, or said twice")
                .advise("give one of `identity`, `target_role` and `user`"));
        }
    };
    let Some(allowed) = Role::parse(&role.value) else {
        return Err(role.wrong("expected \"view\", \"operate\" or \"administer\""));
    };
    if let Some(given) = indices.as_ref().filter(|_| allowed != Role::Operate) {
        return Err(given.wrong(format!(
            "the role \"{allowed}\" is about all indices: only \"operate\" takes `indices`"
        )));
    }
    Ok(AllowRule {
        whom,
        role: allowed,
        indices: indices.map(|given| given.value.into_iter().map(Pattern::new).collect()),
    })
}

/// Whether only this host can reach an address.
pub(crate) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_addresses_of_this_host_are_its_own() {
        for (address, own) in [
            ("127.0.0.1:9710", true),
            ("localhost:9710", true),
            ("[::1]:9710", true),
            ("0.0.0.0:9710", false),
            ("[::]:9710", false),
            ("gateway.example:9710", false),
        ] {
            assert_eq!(is_loopback(address), own, "{address}");
        }
    }
}
