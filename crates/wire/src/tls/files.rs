//! Certificate files, read and checked as a whole before any of them is used.
//!
//! A reload that fails half-way would leave an agent with a key that does not fit its certificate; so the three files
//! become one value here or an error that names the file and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::time::ASN1Time;

use super::provider;
use crate::identity::{Identity, flatten, identities};

/// Where an agent's certificate, its private key and the CA that it trusts are, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The agent's certificate, followed by intermediate ones if there are any.
    pub cert: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
    /// The CAs that may have signed the other side's certificate, one or several.
    pub ca: PathBuf,
}

/// Why certificate files cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read `{}`: check that it exists and that this user may read it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("`{}` is not a correct PEM file: it should hold `-----BEGIN …-----` blocks", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("`{}` holds no certificate: it should have a `-----BEGIN CERTIFICATE-----` block", .0.display())]
    NoCertificate(PathBuf),
    /// A file has no usable private key in it.
    #[error(
        "`{}` holds no private key that can be used: it should have an unencrypted `-----BEGIN PRIVATE \
         KEY-----` block",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A certificate cannot be parsed.
    #[error("the certificate in `{}` cannot be read: have it issued again", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: x509_parser::error::X509Error,
    },
    /// A CA certificate cannot be trusted.
    #[error("a certificate in `{}` cannot serve as CA: put the CA's own certificate there", .path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The key is of a kind that is not supported.
    #[error(
        "the private key in `{}` cannot be used: make an ECDSA P-256, Ed25519 or RSA key",
        .path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// Key and certificate are not a pair.
    #[error(
        "the private key `{}` does not belong to the certificate `{}`: put files there that were issued \
         together",
        .key.display(), .cert.display()
    )]
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate is too old.
    #[error("the certificate `{}` expired at {at}: have a new one issued and put it there", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Its last moment, in UTC.
        at: String,
    },
    /// The certificate does not count yet.
    #[error("the certificate `{}` is valid only from {at} on: check this host's clock", .path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its first moment, in UTC.
        at: String,
    },
    /// rustls does not accept the files together.
    #[error("the TLS configuration is not accepted")]
    Config(#[source] rustls::Error),
}

/// An agent's certificate, key and CAs, checked: the key fits the certificate, which is valid now.
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    expires_at: SystemTime,
    identities: Vec<Identity>,
}

impl TlsIdentity {
    /// Reads and checks `files`. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Self::load_at(files, SystemTime::now())
    }

    /// As [`TlsIdentity::load`], at another time: whether the certificate will still count next month, say.
    ///
    /// # Errors
    /// The first thing that is wrong with the files.
    pub fn load_at(files: &TlsFiles, now: SystemTime) -> Result<Self, TlsError> {
        let (key, expires_at, identities) = pair(&files.cert, &files.key, now)?;
        Ok(TlsIdentity {
            key,
            roots: authorities(&files.ca)?,
            expires_at,
            identities,
        })
    }

    /// When the certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Who we are to the other side.
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    pub(super) fn key(&self) -> CertifiedKey {
        CertifiedKey::clone(&self.key)
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }
}

/// Shows nothing of the key.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("identities", &self.identities)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Where the certificate of an HTTPS server is, its key, and the CA of its callers, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsFiles {
    /// The server's certificate, followed by intermediate ones if there are any.
    pub cert: PathBuf,
    /// Its private key, as in [`TlsFiles`].
    pub key: PathBuf,
    /// The CAs that may have signed callers' certificates; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// The files of an HTTPS server, checked as those of an agent are.
pub struct HttpsIdentity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) client_roots: Option<Arc<RootCertStore>>,
    pub(super) expires_at: SystemTime,
}

impl HttpsIdentity {
    /// Reads and checks `files`. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn load(files: &HttpsFiles) -> Result<Self, TlsError> {
        let (key, expires_at, _) = pair(&files.cert, &files.key, SystemTime::now())?;
        let client_roots = files.client_ca.as_deref().map(authorities).transpose()?;
        Ok(HttpsIdentity {
            key,
            client_roots,
            expires_at,
        })
    }

    /// When the certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

/// A certificate and its key, which fit and count at `now`; with the certificate's end and the identities in it.
fn pair(
    cert: &Path,
    key: &Path,
    now: SystemTime,
) -> Result<(Arc<CertifiedKey>, SystemTime, Vec<Identity>), TlsError> {
    let chain = certificates(cert)?;
    let (expires_at, identities) = check_leaf(cert, &chain, now)?;
    let pem = read(key)?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(key.to_owned()),
        source => TlsError::Pem {
            path: key.to_owned(),
            source,
        },
    })?;
    let certified = CertifiedKey::from_der(chain, der, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            cert: cert.to_owned(),
            key: key.to_owned(),
        },
        source => TlsError::Key {
            path: key.to_owned(),
            source,
        },
    })?;
    Ok((Arc::new(certified), expires_at, identities))
}

/// The CAs in a file.
fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in certificates(path)? {
        roots.add(ca).map_err(|source| TlsError::Ca {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(Arc::new(roots))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// All certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let certs = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem {
            path: path.to_owned(),
            source,
        })?;
    if certs.is_empty() {
        Err(TlsError::NoCertificate(path.to_owned()))
    } else {
        Ok(certs)
    }
}

/// Checks that the first certificate counts at `now`; its end and the identities in it.
fn check_leaf(
    path: &Path,
    chain: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<(SystemTime, Vec<Identity>), TlsError> {
    let broken = |source| TlsError::Certificate {
        path: path.to_owned(),
        source,
    };
    let leaf = chain
        .first()
        .ok_or_else(|| TlsError::NoCertificate(path.to_owned()))?;
    let (_, cert) = x509_parser::parse_x509_certificate(leaf).map_err(|error| broken(flatten(error)))?;
    let (not_before, not_after) = (cert.validity().not_before, cert.validity().not_after);
    if now > system_time(not_after) {
        return Err(TlsError::Expired {
            path: path.to_owned(),
            at: not_after.to_string(),
        });
    }
    if now < system_time(not_before) {
        return Err(TlsError::NotYetValid {
            path: path.to_owned(),
            at: not_before.to_string(),
        });
    }
    let identities = identities(leaf).map_err(|error| broken(error.into_inner()))?;
    Ok((system_time(not_after), identities))
}

/// Times before 1970 become 1970.
fn system_time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::{LEAF_VALIDITY, San, Validity, init_ca, issue};

    fn sans() -> [San; 1] {
        [San::Dns("agent.example".to_owned())]
    }

    #[test]
    fn each_fault_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        init_ca(dir.path()).unwrap();
        let good = issue(dir.path(), "good", &sans(), LEAF_VALIDITY).unwrap();
        let other = issue(dir.path(), "other", &sans(), LEAF_VALIDITY).unwrap();
        assert_eq!(
            TlsIdentity::load(&good).unwrap().identities(),
            [Identity::new("agent.example")]
        );

        let fault = |files: &TlsFiles| TlsIdentity::load(files).unwrap_err().to_string();
        let missing = dir.path().join("missing.pem");
        assert!(
            fault(&TlsFiles {
                ca: missing,
                ..good.clone()
            })
            .contains("missing.pem`: check that it exists")
        );

        let swapped = fault(&TlsFiles {
            key: other.key.clone(),
            ..good.clone()
        });
        assert!(
            swapped.contains("other.key` does not belong to the certificate"),
            "{swapped}"
        );

        let no_key = fault(&TlsFiles {
            key: good.cert.clone(),
            ..good.clone()
        });
        assert!(no_key.contains("good.pem` holds no private key"), "{no_key}");

        let no_cert = fault(&TlsFiles {
            cert: good.key.clone(),
            ..good.clone()
        });
        assert!(no_cert.contains("good.key` holds no certificate"), "{no_cert}");

        let garbage = dir.path().join("garbage.pem");
        std::fs::write(
            &garbage,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        let broken = fault(&TlsFiles {
            cert: garbage.clone(),
            ..good.clone()
        });
        assert!(
            broken.contains("garbage.pem` cannot be read: have it issued again"),
            "{broken}"
        );
        let bad_ca = fault(&TlsFiles { ca: garbage, ..good });
        assert!(bad_ca.contains("garbage.pem` cannot serve as CA"), "{bad_ca}");
    }

    #[test]
    fn a_certificate_outside_of_its_time_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        init_ca(dir.path()).unwrap();
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        let past = Validity {
            not_before: now - 3 * hour,
            not_after: now - hour,
        };
        let old = issue(dir.path(), "old", &sans(), past).unwrap();
        let error = TlsIdentity::load(&old).unwrap_err();
        assert!(matches!(error, TlsError::Expired { .. }), "{error}");
        assert!(TlsIdentity::load_at(&old, now - 2 * hour).is_ok());
        let error = TlsIdentity::load_at(&old, now - 4 * hour).unwrap_err();
        assert!(error.to_string().contains("check this host's clock"), "{error}");
    }
}
