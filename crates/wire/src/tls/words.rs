//! What went wrong in a handshake, in words: the same fault reads the same on both sides.

use std::io;

use rustls::{AlertDescription, CertificateError};

/// The TLS error inside of an IO error.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Why a leader agent did not take a connection, as its log says.
pub(crate) fn refusal(error: &io::Error) -> String {
    let Some(tls) = tls_error(error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => HUNG_UP.to_owned(),
            _ => format!("the connection broke during the handshake: {error}"),
        };
    };
    match tls {
        rustls::Error::NoCertificatesPresented => {
            "the client showed no certificate: a follower agent needs one that our CA signed".to_owned()
        }
        rustls::Error::InvalidCertificate(fault) => format!("the client's {}", certificate(fault)),
        rustls::Error::InvalidMessage(_) => {
            "what the client sent is not TLS: something else than a follower agent connects to this port"
                .to_owned()
        }
        rustls::Error::PeerIncompatible(_) => {
            "the client does not offer TLS 1.3, the only version spoken here: it is not a follower agent"
                .to_owned()
        }
        rustls::Error::NoApplicationProtocol => {
            "the client does not offer HTTP/2: it is not a follower agent".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the client did not accept our certificate: {}", refused(*alert))
        }
        other => format!("the handshake failed: {other}"),
    }
}

/// Why an HTTPS server did not take a connection, as its log says.
pub(crate) fn https_refusal(error: &io::Error) -> String {
    let Some(tls) = tls_error(error) else {
        return refusal(error);
    };
    match tls {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the caller's certificate was signed by a CA that `client_ca_file` does not hold".to_owned()
        }
        rustls::Error::InvalidCertificate(fault) => format!("the caller's {}", certificate(fault)),
        rustls::Error::InvalidMessage(_) => {
            "what the caller sent is not TLS: this address is https://, not http://".to_owned()
        }
        rustls::Error::AlertReceived(_) => {
            "the caller did not accept our certificate: give it the CA that signed it, and an address that the certificate \
             names"
                .to_owned()
        }
        other => format!("the handshake failed: {other}"),
    }
}

/// A peer that leaves without a word is a port scan or a load balancer's probe.
pub(crate) const HUNG_UP: &str = "the client hung up before the handshake was done";

/// What is wrong with the other side's certificate; begins with "certificate".
pub(crate) fn certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired: have a new one issued; if it has not, check both hosts' clocks".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet: check both hosts' clocks".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate was signed by an unknown CA: both agents' `tls.ca_file` must hold the CA that signed the \
             other's certificate"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "none".to_owned() } else { presented.join(", ") };
            format!(
                "certificate is for other names than `{}` (it has: {presented}): use one of them in the address, or \
                 have a certificate issued that includes it",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => "certificate is for another name".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is not meant for this side of a connection: its extended key usage must include server \
             authentication for a leader agent, client authentication for a follower agent"
                .to_owned()
        }
        other => format!("certificate is not acceptable: {other}"),
    }
}

/// Why the other side did not accept our certificate, as far as its alert tells.
pub(crate) fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateExpired => {
            "it has expired or is not valid yet: have a new one issued; if it is in date, check both \
             hosts' clocks"
                .to_owned()
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "an unknown CA signed it: both agents' `tls.ca_file` must hold the CA that signed the \
             other's certificate"
                .to_owned()
        }
        AlertDescription::BadCertificate => {
            "it does not fit: wrong name in it, or not a correct certificate".to_owned()
        }
        AlertDescription::UnsupportedCertificate => {
            "it is not meant for this side of a connection: its extended key usage must include server \
             authentication for a leader agent, client authentication for a follower agent"
                .to_owned()
        }
        AlertDescription::CertificateRequired => "none was shown: a certificate is required".to_owned(),
        AlertDescription::CertificateRevoked => "it was revoked: have a new one issued".to_owned(),
        other => format!("TLS alert {other:?}; the other agent's log has the reason"),
    }
}
