//! Somebody: where he comes from, how he proved who he is, and why he may be nobody.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use slipstream_cluster::Secret;
use slipstream_wire::identity::Identity;

use super::role::Rights;

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The names in the caller's certificate, if he showed one.
    pub(crate) identities: Arc<[Identity]>,
}

/// How somebody proved who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    None,
    Certificate,
    Password,
    Target,
}

impl Proof {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Proof::None => "none",
            Proof::Certificate => "certificate",
            Proof::Password => "password",
            Proof::Target => "target",
        }
    }
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) name: String,
    /// As the engines' refusals show users.
    pub(crate) shown: String,
    pub(crate) proof: Proof,
    pub(super) rights: Rights,
    /// Whether the target is to be asked about each index that he operates.
    pub(super) by_index: bool,
}

/// Why nobody is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// No credentials were shown.
    Nothing,
    /// They are wrong; with the user's name, if it can be read.
    Wrong(Option<String>),
    /// Who could tell does not answer, in words.
    Unanswered(String),
}

impl Principal {
    pub(super) fn new(name: &str, proof: Proof, rights: Rights) -> Principal {
        Principal {
            name: name.to_owned(),
            shown: format!("User [name={name}, backend_roles=[], requestedTenant=null]"),
            proof,
            rights,
            by_index: false,
        }
    }
}

/// User and password of basic authentication.
pub(super) fn basic(shown: &Secret) -> Option<(String, Secret)> {
    let (scheme, encoded) = shown.expose().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read() {
        let read = |text: &str| {
            basic(&Secret::new(text)).map(|(name, password)| (name, password.expose().to_owned()))
        };
        assert_eq!(read("Basic YTpiOmM="), Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(read("basic YTo="), Some(("a".to_owned(), String::new())));
        for other in ["", "Basic", "Basic ???", "ApiKey YTpi", "Basic YQ=="] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
