//! What an operator has to know of a certificate: whom it names, and until when it counts.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

/// A certificate that one side shows to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it names: its subject alternative names, as people write them. Not all of them are identities: addresses say where a
    /// machine is, not who it is.
    pub names: Vec<String>,
    /// Its last moment.
    pub expires_at: SystemTime,
}

impl Certificate {
    /// Reads a certificate that the TLS layer has accepted; `None` where it cannot be read all the same.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
        let names = cert.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(name));
        Some(Certificate {
            names: names.into_iter().flatten().collect(),
            expires_at: system_time(cert.validity().not_after),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Times before 1970 become 1970.
fn system_time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}
