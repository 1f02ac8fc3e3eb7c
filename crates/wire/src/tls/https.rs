//! TLS towards browsers and scripts, which are no agents: HTTP/1.1, TLS 1.2 or 1.3, and a certificate of the caller's is
//! asked for where there is a CA to check it against, but not insisted on.
//!
//! Whether a caller without a certificate may do anything is up to who serves him. Sessions are not resumed, so that after
//! [`HttpsTls::reload`] a new connection is judged by the new files alone.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::files::{HttpsIdentity, TlsError};
use super::{Current, provider};

/// What an HTTPS server answers connections with. Clones share one configuration: reloading one reloads all.
#[derive(Clone)]
pub struct HttpsTls(Arc<ArcSwap<Current<ServerConfig>>>);

impl HttpsTls {
    /// Serves with `identity`.
    ///
    /// # Errors
    /// Where rustls does not accept the combination.
    pub fn new(identity: &HttpsIdentity) -> Result<Self, TlsError> {
        Ok(HttpsTls(Arc::new(ArcSwap::from_pointee(config(identity)?))))
    }

    /// Uses `identity` for every handshake that starts from now on.
    ///
    /// # Errors
    /// As [`HttpsTls::new`]; the old configuration stays then.
    pub fn reload(&self, identity: &HttpsIdentity) -> Result<(), TlsError> {
        self.0.store(Arc::new(config(identity)?));
        Ok(())
    }

    /// When the server's certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.0.load().expires_at
    }

    /// The configuration for one handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.load().config.clone()
    }
}

fn config(identity: &HttpsIdentity) -> Result<Current<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    let builder = match &identity.client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::Config(rustls::Error::General(error.to_string())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = SingleCertAndKey::from(CertifiedKey::clone(&identity.key));
    let mut config = builder.with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Current {
        config: Arc::new(config),
        expires_at: identity.expires_at,
    })
}
