//! A private CA and agent certificates, for trying things out and for sites that have no CA of their own.
//!
//! Private keys are created readable by their owner only, so there is no moment at which another user could open
//! them, and no existing file is ever overwritten: a lost CA key cannot be brought back.

mod error;
mod san;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::tls::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};

pub use error::CertsError;
pub use san::San;

/// How long a new CA is valid.
pub const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * DAY);

/// How long a certificate is valid unless the operator says otherwise.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(365 * DAY);

/// Certificates count from this long before they were made, because the clocks of two hosts are never the same.
const BACKDATE: Duration = Duration::from_hours(1);

const DAY: u64 = 24 * 3600;

const KEY_MODE: u32 = 0o600;
const CERT_MODE: u32 = 0o644;

/// From when until when a certificate counts. A [`Duration`] becomes one that starts a little in the past, so that a
/// host whose clock is behind accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment at which it counts.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl From<Duration> for Validity {
    fn from(length: Duration) -> Self {
        let now = SystemTime::now();
        Validity {
            not_before: now - BACKDATE,
            not_after: now + length,
        }
    }
}

/// Makes a CA: `ca.pem` and `ca.key` in `dir`, which is created where it is missing. Returns the path of `ca.pem`.
///
/// # Errors
/// [`CertsError::Exists`] where there is one already; what was there stays as it was.
pub fn init_ca(dir: &Path) -> Result<PathBuf, CertsError> {
    let make = |source| CertsError::Make {
        name: "ca".to_owned(),
        source,
    };
    let key = KeyPair::generate().map_err(make)?;
    let mut params = params(CA_VALIDITY.into());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Two CAs of the same name would make "unknown CA" look like a broken signature.
    let id = params
        .key_identifier(&key)
        .iter()
        .take(4)
        .fold(0, |id, byte| id << 8 | u32::from(*byte));
    params
        .distinguished_name
        .push(DnType::CommonName, format!("slipstream private CA {id:08x}"));
    let cert = params.self_signed(&key).map_err(make)?;

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| CertsError::Io {
            action: "create",
            path: dir.to_owned(),
            source,
        })?;
    let path = dir.join("ca.pem");
    write_pair((&dir.join("ca.key"), &key.serialize_pem()), (&path, &cert.pem()))?;
    Ok(path)
}

/// Makes an agent's certificate, signed by the CA in `dir`: `NAME.pem` and `NAME.key` beside it. It serves both sides
/// of a connection. `validity` is a [`Duration`] from now, or a [`Validity`].
///
/// # Errors
/// Where there is no CA, the name is taken or unfit for a file, or no name is to be certified.
pub fn issue(
    dir: &Path,
    name: &str,
    sans: &[San],
    validity: impl Into<Validity>,
) -> Result<TlsFiles, CertsError> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !plain || name.is_empty() || name.starts_with('.') || name == "ca" {
        return Err(CertsError::Name(name.to_owned()));
    }
    if sans.is_empty() {
        return Err(CertsError::NoSan(name.to_owned()));
    }
    let ca = dir.join("ca.pem");
    let issuer = load_ca(dir, &ca)?;

    let make = |source| CertsError::Make {
        name: name.to_owned(),
        source,
    };
    let key = KeyPair::generate().map_err(make)?;
    let mut params = params(validity.into());
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = sans
        .iter()
        .map(San::to_rcgen)
        .collect::<Result<_, _>>()
        .map_err(make)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, &issuer).map_err(make)?;

    let files = TlsFiles {
        cert: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
        ca,
    };
    write_pair((&files.key, &key.serialize_pem()), (&files.cert, &cert.pem()))?;
    Ok(files)
}

fn params(validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params
}

fn load_ca(dir: &Path, cert: &Path) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let key_path = dir.join("ca.key");
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |source| CertsError::BadCa { path, source }
    };
    let key = KeyPair::from_pem(&read(&key_path)?).map_err(bad(&key_path))?;
    let cert_pem = read(cert)?;
    let issuer = Issuer::from_ca_cert_pem(&cert_pem, key).map_err(bad(cert))?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes())
        .map_err(|_| rcgen::Error::CouldNotParseCertificate)
        .map_err(bad(cert))?;
    let parsed = pem
        .parse_x509()
        .map_err(|_| rcgen::Error::CouldNotParseCertificate)
        .map_err(bad(cert))?;
    if parsed.public_key().raw != issuer.key().subject_public_key_info() {
        return Err(CertsError::CaMismatch(dir.to_owned()));
    }
    Ok(issuer)
}

fn read(path: &Path) -> Result<String, CertsError> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CertsError::NoCa(path.to_owned()),
        _ => CertsError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        },
    })
}

/// Writes a key and its certificate, both or neither.
fn write_pair(key: (&Path, &str), cert: (&Path, &str)) -> Result<(), CertsError> {
    write_new(key.0, key.1, KEY_MODE)?;
    write_new(cert.0, cert.1, CERT_MODE).inspect_err(|_| {
        // A key without its certificate would block the name for good. That it cannot be removed is the lesser news.
        let _ = std::fs::remove_file(key.0);
    })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => CertsError::Exists(path.to_owned()),
            _ => CertsError::Io {
                action: "write",
                path: path.to_owned(),
                source,
            },
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tls::TlsIdentity;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn certificates_come_out_usable_and_keys_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("new/folder");
        let ca = init_ca(&dir).unwrap();
        let files = issue(
            &dir,
            "leader",
            &[San::Dns("leader.example".into())],
            LEAF_VALIDITY,
        )
        .unwrap();
        assert_eq!(files.ca, ca);
        assert_eq!(mode(&dir.join("ca.key")), 0o600);
        assert_eq!(mode(&files.key), 0o600);
        let identity = TlsIdentity::load(&files).unwrap();
        let left = identity.expires_at().duration_since(SystemTime::now()).unwrap();
        assert!(
            left <= LEAF_VALIDITY && left + Duration::from_mins(1) > LEAF_VALIDITY,
            "{left:?}"
        );
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        init_ca(dir.path()).unwrap();
        let key = std::fs::read(dir.path().join("ca.key")).unwrap();
        assert!(matches!(init_ca(dir.path()), Err(CertsError::Exists(_))));
        assert_eq!(std::fs::read(dir.path().join("ca.key")).unwrap(), key);

        let sans = [San::Dns("a.example".into())];
        std::fs::write(dir.path().join("a.pem"), "somebody's").unwrap();
        assert!(matches!(
            issue(dir.path(), "a", &sans, LEAF_VALIDITY),
            Err(CertsError::Exists(_))
        ));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("a.pem")).unwrap(),
            "somebody's"
        );
        assert!(
            !dir.path().join("a.key").exists(),
            "a key without certificate was left behind"
        );
    }

    #[test]
    fn without_a_ca_the_text_says_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = issue(dir.path(), "a", &[San::Dns("a".into())], LEAF_VALIDITY).unwrap_err();
        assert!(error.to_string().contains("slipstream certs init"), "{error}");
    }

    #[test]
    fn a_key_of_another_ca_is_noticed() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        init_ca(dir.path()).unwrap();
        init_ca(other.path()).unwrap();
        std::fs::copy(other.path().join("ca.key"), dir.path().join("ca.key")).unwrap();
        let error = issue(dir.path(), "a", &[San::Dns("a".into())], LEAF_VALIDITY).unwrap_err();
        assert!(matches!(error, CertsError::CaMismatch(_)), "{error}");
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        init_ca(dir.path()).unwrap();
        for name in ["", "ca", "../x", "a/b", ".hidden", "a b"] {
            let made = issue(dir.path(), name, &[San::Dns("a".into())], LEAF_VALIDITY);
            assert!(matches!(made, Err(CertsError::Name(_))), "{name:?}");
        }
        assert!(matches!(
            issue(dir.path(), "a", &[], LEAF_VALIDITY),
            Err(CertsError::NoSan(_))
        ));
    }
}
