//! TLS settings of both sides, replaceable while connections live.
//!
//! TLS 1.3 only, certificates on both sides, HTTP/2 only. Sessions are never resumed: every connection shows its
//! certificate anew, so an expired or distrusted one gets no further than its present connection. After
//! [`ServerTls::reload`] or [`ClientTls::reload`] new connections use the new certificate *and* the new CA; those that
//! live go on undisturbed.

mod files;
mod https;
pub(crate) mod words;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};

use crate::certificate::Certificate;

pub use files::{HttpsFiles, HttpsIdentity, TlsError, TlsFiles, TlsIdentity};
pub use https::HttpsTls;

/// The only protocol spoken inside of TLS.
pub(crate) const ALPN: &[u8] = b"h2";

/// The one cryptography provider of the whole binary, named in this place only.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A configuration and when the certificate in it expires.
struct Current<C> {
    config: Arc<C>,
    expires_at: SystemTime,
}

/// What a leader agent answers connections with. Clones share one configuration: reloading one reloads all.
#[derive(Clone)]
pub struct ServerTls(Arc<ArcSwap<Current<ServerConfig>>>);

impl ServerTls {
    /// Serves with `identity`, to clients whose certificates its CA signed.
    ///
    /// # Errors
    /// Where rustls does not accept the combination.
    pub fn new(identity: &TlsIdentity) -> Result<Self, TlsError> {
        Ok(ServerTls(Arc::new(ArcSwap::from_pointee(server_config(
            identity,
        )?))))
    }

    /// Uses `identity` for every handshake that starts from now on.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old configuration stays then.
    pub fn reload(&self, identity: &TlsIdentity) -> Result<(), TlsError> {
        self.0.store(Arc::new(server_config(identity)?));
        Ok(())
    }

    /// When our own certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.0.load().expires_at
    }

    /// The configuration for one handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.load().config.clone()
    }
}

/// What a follower agent connects with. Clones share one configuration: reloading one reloads all.
#[derive(Clone)]
pub struct ClientTls(Arc<ArcSwap<Current<ClientConfig>>>);

impl ClientTls {
    /// Connects with `identity`, to servers whose certificates its CA signed.
    ///
    /// # Errors
    /// Where rustls does not accept the combination.
    pub fn new(identity: &TlsIdentity) -> Result<Self, TlsError> {
        Ok(ClientTls(Arc::new(ArcSwap::from_pointee(client_config(
            identity,
        )?))))
    }

    /// Uses `identity` for every connection that is opened from now on.
    ///
    /// # Errors
    /// As [`ClientTls::new`]; the old configuration stays then.
    pub fn reload(&self, identity: &TlsIdentity) -> Result<(), TlsError> {
        self.0.store(Arc::new(client_config(identity)?));
        Ok(())
    }

    /// When our own certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.0.load().expires_at
    }

    /// Our own certificate, as leader agents see it.
    pub fn certificate(&self) -> Certificate {
        let shown = self.config().client_auth_cert_resolver.resolve(&[], &[]);
        let leaf = shown.as_deref().and_then(|shown| shown.cert.first());
        // It was read when the identity was loaded, so it can be.
        leaf.and_then(|leaf| Certificate::read(leaf))
            .unwrap_or_else(|| Certificate {
                names: Vec::new(),
                expires_at: self.expires_at(),
            })
    }

    /// The configuration for one connection.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.0.load().config.clone()
    }
}

fn server_config(identity: &TlsIdentity) -> Result<Current<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots(), provider())
        .build()
        .map_err(|error| TlsError::Config(rustls::Error::General(error.to_string())))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Current {
        config: Arc::new(config),
        expires_at: identity.expires_at(),
    })
}

fn client_config(identity: &TlsIdentity) -> Result<Current<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .with_root_certificates(identity.roots())
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Current {
        config: Arc::new(config),
        expires_at: identity.expires_at(),
    })
}
