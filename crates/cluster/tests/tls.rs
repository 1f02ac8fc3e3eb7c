//! TLS towards a cluster: the given authority only, and our certificate where it is asked for.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use slipstream_cluster::{ClientCert, Cluster, ClusterConfig, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

fn certificate(ca: &Ca) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    (params.signed_by(&key, ca).expect("a certificate"), key)
}

/// A server with a certificate of `ca`, which asks for one of `ca` and answers every request with a state version.
async fn server(ca: &Ca) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a root");
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (cert, key) = certificate(ca);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{\"version\":5}";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn the_given_authority_and_our_certificate_decide() {
    let (ours, other) = (authority(), authority());
    let url = server(&ours).await;
    let client = |trusted: &Ca, shown: Option<&Ca>| {
        let mut config = ClusterConfig::new(url.clone());
        config.ca_pem = Some(trusted.pem().into_bytes());
        config.client_cert = shown.map(|ca| {
            let (cert, key) = certificate(ca);
            ClientCert {
                cert_pem: cert.pem().into_bytes(),
                key_pem: key.serialize_pem().into(),
            }
        });
        Cluster::new(&config).expect("a client")
    };
    assert_eq!(
        client(&ours, Some(&ours)).state_version().await.expect("trusted"),
        5
    );
    let error = client(&other, Some(&ours))
        .state_version()
        .await
        .expect_err("not trusted by us");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    // In TLS 1.3 the client is done before the server has judged its certificate, so this may show at the request.
    for shown in [None, Some(&other)] {
        let error = client(&ours, shown)
            .state_version()
            .await
            .expect_err("not trusted by the server");
        assert!(
            matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Unknown),
            "{error}"
        );
    }
}
