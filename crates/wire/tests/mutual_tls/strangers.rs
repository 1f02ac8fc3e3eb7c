//! Those who speak something else, or nothing.

use super::*;

/// A client that follows none of our rules.
async fn foreign_client(
    leader: &Leader,
    version: &'static rustls::SupportedProtocolVersion,
    files: &TlsFiles,
    show_certificate: bool,
) -> io::Result<usize> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.ca).unwrap())
        .unwrap();
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
    let config = if show_certificate {
        let cert = CertificateDer::from_pem_file(&files.cert).unwrap();
        builder
            .with_client_auth_cert(vec![cert], PrivateKeyDer::from_pem_file(&files.key).unwrap())
            .unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let tcp = TcpStream::connect(leader.address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    tls.read(&mut [0; 64]).await
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let files = ca.files("f", &["f"], HOUR);
    let error = foreign_client(&leader, &rustls::version::TLS13, &files, false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    assert!(
        leader
            .refusals(1)
            .await
            .contains("the client showed no certificate")
    );
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let files = ca.files("f", &["f"], HOUR);
    let error = foreign_client(&leader, &rustls::version::TLS12, &files, true)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert!(
        leader
            .refusals(1)
            .await
            .contains("the client does not offer TLS 1.3")
    );
}

#[tokio::test]
async fn plaintext_on_the_port_is_refused_and_named() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let mut tcp = TcpStream::connect(leader.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: leader\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "answered in plaintext");
    let log = leader.refusals(1).await;
    assert!(log.contains("what the client sent is not TLS"), "{log}");
    // And it harmed nobody.
    leader.hello(&ca.follower()).await.unwrap();
    assert_eq!(
        leader.log.text().matches("refused a connection").count(),
        1,
        "each refusal is logged once"
    );
}

#[tokio::test]
async fn a_silent_peer_delays_nobody() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(leader.address).await.unwrap());
    }
    let reply = tokio::time::timeout(Duration::from_secs(5), leader.hello(&ca.follower())).await;
    reply.expect("waited for the silent peers").unwrap();
    // Neither do they hold up the end.
    leader.stop().await;
}

#[tokio::test]
async fn what_is_not_a_leader_agent_is_told_apart() {
    let ca = Ca::new();
    let follower = ca.follower();

    // A port where nobody listens: it was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = say_hello(&free.to_string(), &follower).await.unwrap_err();
    assert!(matches!(error, HelloError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");

    // A plaintext HTTP server, such as the cluster's own port.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        assert!(tcp.read(&mut [0; 4096]).await.unwrap() > 0);
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    });
    let error = say_hello(&address.to_string(), &follower).await.unwrap_err();
    http.await.unwrap();
    assert!(matches!(error, HelloError::NotAnAgent { .. }), "{error:?}");
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_grpc_server_without_the_handshake_is_not_a_leader_agent() {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let connections = incoming(listener, ServerTls::new(&ca.leader()).unwrap(), shutdown.clone());
    let task = tokio::spawn(
        server()
            .add_service(ChangesServer::new(Agent { answer: negotiate }))
            .serve_with_incoming(connections),
    );
    let error = say_hello(&address.to_string(), &ca.follower()).await.unwrap_err();
    assert!(matches!(error, HelloError::NotAnAgent { .. }), "{error:?}");
    shutdown.cancel();
    task.abort();
}
