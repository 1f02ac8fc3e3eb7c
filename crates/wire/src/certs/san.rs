//! The names in a certificate, as an operator writes them.

use std::net::IpAddr;

use rcgen::SanType;

use super::CertsError;
use crate::identity::is_uri;

/// A subject alternative name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum San {
    /// A host name, also an identity.
    Dns(String),
    /// An address, for connecting only.
    Ip(IpAddr),
    /// A URI, an identity.
    Uri(String),
}

impl San {
    /// Reads what an operator writes: an IP address, a URI where there is a scheme, else a DNS name.
    ///
    /// # Errors
    /// [`CertsError::San`] where it is none of them.
    pub fn parse(text: &str) -> Result<San, CertsError> {
        if let Ok(address) = text.parse() {
            return Ok(San::Ip(address));
        }
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if printable && is_uri(text) {
            return Ok(San::Uri(text.to_owned()));
        }
        let host = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.len() <= 253 && host.split('.').all(label) {
            return Ok(San::Dns(text.to_owned()));
        }
        Err(CertsError::San(text.to_owned()))
    }

    pub(super) fn to_rcgen(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            San::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            San::Ip(address) => SanType::IpAddress(*address),
            San::Uri(uri) => SanType::URI(uri.as_str().try_into()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_name_is_detected() {
        let parse = |text| San::parse(text).unwrap();
        assert_eq!(parse("127.0.0.1"), San::Ip("127.0.0.1".parse().unwrap()));
        assert_eq!(parse("::1"), San::Ip("::1".parse().unwrap()));
        assert_eq!(parse("spiffe://example/f"), San::Uri("spiffe://example/f".into()));
        assert_eq!(parse("urn:uuid:1"), San::Uri("urn:uuid:1".into()));
        assert_eq!(parse("*.dr.example"), San::Dns("*.dr.example".into()));
        assert_eq!(parse("localhost"), San::Dns("localhost".into()));
        for bad in ["", "a b", "a..b", "-a", "a:9700", "ä.example", "spiffe://a b"] {
            assert!(San::parse(bad).is_err(), "{bad:?}");
        }
    }
}
