//! TLS towards the cluster: rustls with *ring*, the given authorities only, or the system's where none is given.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::ClusterConfig;

/// Why no TLS configuration could be made. The texts are completed by the source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the CA file is not PEM")]
    CaPem(#[source] rustls_pki_types::pem::Error),
    #[error("the CA file holds no certificate")]
    CaEmpty,
    #[error("a certificate of the CA file cannot be used")]
    Ca(#[source] rustls::Error),
    #[error("the system has no usable certificate authority: name one by `ca_file`")]
    NoSystemRoots(#[source] Option<rustls_native_certs::Error>),
    #[error("the client certificate is not PEM")]
    CertPem(#[source] rustls_pki_types::pem::Error),
    #[error("the client certificate file holds no certificate")]
    CertEmpty,
    #[error("the client key is not a PEM private key")]
    KeyPem(#[source] rustls_pki_types::pem::Error),
    #[error("the client certificate and its key cannot be used together")]
    ClientCert(#[source] rustls::Error),
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The TLS side of a client. Without `https` no authority is looked up: nothing would use it.
pub(crate) fn client_config(config: &ClusterConfig, https: bool) -> Result<ClientConfig, TlsError> {
    let roots = match &config.ca_pem {
        Some(pem) => given_roots(pem)?,
        None if https => system_roots()?,
        None => RootCertStore::empty(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots);
    let Some(cert) = &config.client_cert else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert.cert_pem)
        .collect::<Result<_, _>>()
        .map_err(TlsError::CertPem)?;
    if chain.is_empty() {
        return Err(TlsError::CertEmpty);
    }
    let key = PrivateKeyDer::from_pem_slice(cert.key_pem.expose().as_bytes()).map_err(TlsError::KeyPem)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(TlsError::ClientCert)
}

fn given_roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem) {
        roots.add(cert.map_err(TlsError::CaPem)?).map_err(TlsError::Ca)?;
    }
    if roots.is_empty() {
        Err(TlsError::CaEmpty)
    } else {
        Ok(roots)
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A bundle with some certificates that rustls does not like is usual and harmless.
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        Err(TlsError::NoSystemRoots(loaded.errors.pop()))
    } else {
        Ok(roots)
    }
}
