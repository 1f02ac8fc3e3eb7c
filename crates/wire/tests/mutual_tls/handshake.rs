//! Agents that know each other and do not come together all the same.

use super::*;

#[tokio::test]
async fn releases_that_do_not_fit_refuse_in_words() {
    let ca = Ca::new();
    let agent = Agent {
        answer: |_, _| {
            let old = slipstream_wire::negotiate(7, 9).expect_err("no release speaks version 7");
            Err(old.into())
        },
    };
    let leader = Leader::start_with(&ca.leader(), agent).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(matches!(error, HelloError::ProtocolMismatch { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("speaks 7 to 9, the leader agent 1 to 1; upgrade the leader agent"),
        "{error}"
    );
}

#[tokio::test]
async fn a_leader_that_chooses_a_version_we_do_not_speak_is_refused() {
    let ca = Ca::new();
    let agent = Agent {
        answer: |_, _| {
            Ok(v1::HelloReply {
                protocol: 99,
                ..v1::HelloReply::default()
            })
        },
    };
    let leader = Leader::start_with(&ca.leader(), agent).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(matches!(error, HelloError::ProtocolMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_leader_that_cannot_serve_says_why() {
    let ca = Ca::new();
    let agent = Agent {
        answer: |_, _| Err(Status::unavailable("the cluster does not answer")),
    };
    let leader = Leader::start_with(&ca.leader(), agent).await;
    let error = leader.hello(&ca.follower()).await.unwrap_err();
    assert!(
        matches!(
            error,
            HelloError::Failed {
                code: tonic::Code::Unavailable,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("the cluster does not answer"),
        "{error}"
    );
}

#[tokio::test]
async fn a_channel_recovers_when_the_leader_comes_to_its_senses() {
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&other.leader()).await;
    let address = leader.address.to_string();
    let channel = channel(&address, ClientTls::new(&ca.follower()).unwrap()).unwrap();

    // Any call tells why, not only the first one.
    let frames = ReceiverStream::new(mpsc::channel(1).1);
    let status = ChangesClient::new(channel.clone())
        .stream(frames)
        .await
        .unwrap_err();
    let why = HelloError::of_connection(&status).expect("not about the connection");
    assert!(
        matches!(why, HelloError::ServerCertificateInvalid { .. }),
        "{why:?}"
    );

    leader.tls.reload(&ca.leader()).unwrap();
    hello(channel, &address, "0.1.0", &[]).await.unwrap();
}

#[tokio::test]
async fn refusals_are_told_every_time() {
    // A reset that overtakes the alert would turn "expired" into "no reason given".
    let (ca, other) = (Ca::new(), Ca::new());
    let leader = Leader::start(&ca.leader()).await;
    let trusting = ca.files("x", &["x"], HOUR).ca;
    let files = TlsFiles {
        ca: trusting,
        ..other.files("f", &["f"], HOUR)
    };
    let identity = TlsIdentity::load(&files).unwrap();
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..50 {
        *reasons
            .entry(leader.hello(&identity).await.unwrap_err().to_string())
            .or_default() += 1;
    }
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons
            .keys()
            .all(|text| text.contains("an unknown CA signed it")),
        "{reasons:?}"
    );
}
