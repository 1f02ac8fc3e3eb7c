//! Who a peer is: the names in its certificate, which decide what it may read.
//!
//! A name counts only after the TLS layer has checked that our CA signed it. DNS and URI names are identities; IP
//! addresses are not, for an address says where a machine is, not who it is.

use std::fmt;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tonic::{Request, Status};
use x509_parser::extensions::GeneralName;

/// What tonic attaches to each request about the connections of [`crate::accept::incoming`].
type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

/// A name that a certificate carries: `follower.dr.example` or `spiffe://example/follower`.
///
/// DNS names compare without regard to case. A wildcard in a certificate is a name like any other: it stands for
/// itself and grants nothing more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// An identity as an operator writes it: a URI where it has a scheme, else a DNS name.
    pub fn new(text: &str) -> Self {
        if is_uri(text) {
            Identity(text.to_owned())
        } else {
            Identity(text.to_ascii_lowercase())
        }
    }

    /// The name as it is compared and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A certificate whose names cannot be read.
#[derive(Debug, Clone, Error)]
#[error("the certificate cannot be read: it must be replaced by a correct X.509 version 3 certificate")]
pub struct IdentityError(#[source] x509_parser::error::X509Error);

impl IdentityError {
    pub(crate) fn into_inner(self) -> x509_parser::error::X509Error {
        self.0
    }
}

/// The identities in a certificate, in its order: its DNS and URI subject alternative names. The common name is not
/// one. Empty where the certificate has none.
///
/// # Errors
/// Where the bytes are not a DER certificate.
pub fn identities(cert_der: &[u8]) -> Result<Vec<Identity>, IdentityError> {
    let (_, cert) = x509_parser::parse_x509_certificate(cert_der).map_err(|e| IdentityError(flatten(e)))?;
    let Some(names) = cert.subject_alternative_name().map_err(IdentityError)? else {
        return Ok(Vec::new());
    };
    Ok(names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Identity(name.to_ascii_lowercase())),
            GeneralName::URI(name) => Some(Identity((*name).to_owned())),
            _ => None,
        })
        .collect())
}

/// The identities in the certificate that came with a connection; empty where none came, or it names nobody.
pub fn of_connection(connection: &TlsStream<TcpStream>) -> Vec<Identity> {
    let (_, session) = connection.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    leaf.and_then(|leaf| identities(leaf).ok()).unwrap_or_default()
}

/// The identities of the caller, never none.
///
/// # Errors
/// `UNAUTHENTICATED` where the connection has no certificate, `PERMISSION_DENIED` where the certificate names nobody;
/// both in words that the follower's operator reads.
pub fn from_request<T>(request: &Request<T>) -> Result<Vec<Identity>, Status> {
    let connection = request.extensions().get::<ConnectInfo>();
    let certs = connection.and_then(ConnectInfo::peer_certs);
    let leaf = certs
        .as_ref()
        .and_then(|certs| certs.first())
        .ok_or_else(|| Status::unauthenticated("no client certificate came with this connection"))?;
    let identities = identities(leaf).map_err(|error| Status::unauthenticated(error.to_string()))?;
    if identities.is_empty() {
        return Err(Status::permission_denied(
            "the client certificate names no identity: it needs a subject alternative name of type \
             DNS or URI",
        ));
    }
    Ok(identities)
}

/// Whether `text` has a URI's scheme rather than being a DNS name.
pub(crate) fn is_uri(text: &str) -> bool {
    text.contains("://") || text.starts_with("urn:")
}

/// The error inside of the parser's wrapper.
pub(crate) fn flatten(
    error: x509_parser::nom::Err<x509_parser::error::X509Error>,
) -> x509_parser::error::X509Error {
    match error {
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
        x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::Generic,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::certs::{San, init_ca, issue};

    #[test]
    fn dns_and_uri_names_are_identities_and_addresses_are_not() {
        let dir = tempfile::tempdir().unwrap();
        init_ca(dir.path()).unwrap();
        let sans = ["Follower.DR.example", "spiffe://Example/F", "10.0.0.7", "::1"]
            .map(|text| San::parse(text).unwrap());
        let files = issue(dir.path(), "follower", &sans, Duration::from_mins(1)).unwrap();
        let leaf = CertificateDer::from_pem_file(&files.cert).unwrap();
        let found = identities(&leaf).unwrap();
        assert_eq!(
            found,
            [
                Identity::new("follower.dr.EXAMPLE"),
                Identity::new("spiffe://Example/F")
            ]
        );
        assert_ne!(
            found[1],
            Identity::new("spiffe://example/f"),
            "URIs compare byte for byte"
        );
    }

    #[test]
    fn garbage_is_not_a_certificate() {
        assert!(identities(b"not a certificate").is_err());
    }

    #[test]
    fn a_request_without_tls_has_no_identity() {
        let status = from_request(&Request::new(())).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
    }
}
