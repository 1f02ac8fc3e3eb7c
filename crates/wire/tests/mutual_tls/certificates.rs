//! Certificates of either side: good, expired, of another CA, under another name.

use super::*;

#[tokio::test]
async fn a_follower_with_a_good_certificate_gets_in_and_is_known_by_name() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let reply = leader.hello(&ca.follower()).await.unwrap();
    assert_eq!(reply.protocol, slipstream_wire::PROTOCOL_MAX);
    assert_eq!(reply.identity, "follower.dr.example spiffe://example/follower");
    assert_eq!(leader.log.text(), "");
    leader.stop().await;
}

#[tokio::test]
async fn each_side_can_tell_whose_certificate_ends_when() {
    let ca = Ca::new();
    let (theirs, ours) = (ca.leader(), ca.follower());
    let leader = Leader::start(&theirs).await;
    let (address, tls) = (leader.address.to_string(), ClientTls::new(&ours).unwrap());
    let peer = Peer::default();
    let channel = channel_to(&address, tls.clone(), peer.clone()).unwrap();
    assert_eq!(peer.certificate(), None, "nobody has connected yet");
    hello(channel, &address, "0.1.0", &[]).await.unwrap();
    for (shown, identity) in [(peer.certificate().unwrap(), theirs), (tls.certificate(), ours)] {
        assert_eq!(shown.expires_at, identity.expires_at());
        for name in identity.identities() {
            assert!(shown.names.contains(&name.to_string()), "{shown:?}");
        }
    }
    assert!(
        peer.certificate()
            .unwrap()
            .names
            .contains(&"127.0.0.1".to_owned())
    );
    leader.stop().await;
}

#[tokio::test]
async fn a_certificate_without_an_identity_is_refused_in_words() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let error = leader
        .hello(&ca.identity("nameless", &["127.0.0.1"]))
        .await
        .unwrap_err();
    assert!(matches!(error, HelloError::PermissionDenied { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("needs a subject alternative name of type DNS or URI"),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_client_certificate_is_refused_with_the_reason_on_both_sides() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.leader()).await;
    let now = SystemTime::now();
    let past = Validity {
        not_before: now - 3 * HOUR,
        not_after: now - HOUR,
    };
    let files = ca.files("old", &["follower.dr.example"], past);
    // It was loaded while it was valid, as in an agent that nobody restarted.
    let identity = TlsIdentity::load_at(&files, now - 2 * HOUR).unwrap();
    let error = leader.hello(&identity).await.unwrap_err();
    assert!(
        matches!(error, HelloError::RefusedCertificate { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(&leader.address.to_string()), "{text}");
    assert!(text.contains("refused our certificate: it has expired"), "{text}");
    let log = leader.refusals(1).await;
    assert!(log.contains("WARN") && log.contains("peer=127.0.0.1:"), "{log}");
    assert!(log.contains("the client's certificate has expired"), "{log}");
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused_with_the_reason_on_both_sides() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&ca.leader()).await;
    // It trusts the leader; only its own certificate comes from elsewhere.
    let files = TlsFiles {
        ca: ca.files("x", &["x"], HOUR).ca,
        ..other.files("f", &["follower.dr.example"], HOUR)
    };
    let error = leader
        .hello(&TlsIdentity::load(&files).unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(error, HelloError::RefusedCertificate { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("an unknown CA signed it"), "{error}");
    let log = leader.refusals(1).await;
    assert!(
        log.contains("the client's certificate was signed by an unknown CA"),
        "{log}"
    );
}

#[tokio::test]
async fn a_leader_of_another_ca_is_not_trusted() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&ca.leader()).await;
    let error = leader.hello(&other.follower()).await.unwrap_err();
    assert!(
        matches!(error, HelloError::ServerCertificateInvalid { .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("its certificate was signed by an unknown CA"),
        "{error}"
    );
    let log = leader.refusals(1).await;
    assert!(
        log.contains("the client did not accept our certificate: an unknown CA signed it"),
        "{log}"
    );
}

#[tokio::test]
async fn a_leader_under_another_name_is_not_trusted() {
    let ca = Ca::new();
    let leader = Leader::start(&ca.identity("leader", &["leader.example"])).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(
        matches!(error, HelloError::ServerCertificateInvalid { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("`127.0.0.1`") && text.contains("leader.example"),
        "{text}"
    );
}
