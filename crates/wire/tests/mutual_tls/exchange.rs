//! Certificates and CAs that change while agents run.

use super::*;

fn credit(bytes: u64) -> v1::FollowerFrame {
    v1::FollowerFrame {
        frame: Some(v1::follower_frame::Frame::Credit(v1::Credit { bytes })),
    }
}

async fn next_echo(stream: &mut Streaming<v1::LeaderFrame>) -> u64 {
    match stream.message().await.unwrap().unwrap().frame {
        Some(v1::leader_frame::Frame::Pulse(pulse)) => pulse.pending_age_micros,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn certificates_and_cas_are_exchanged_while_a_stream_lives() {
    let (before, after) = (Ca::new(), Ca::new());
    let leader = Leader::start(&before.leader()).await;
    let client_tls = ClientTls::new(&before.follower()).unwrap();
    let living = channel(&leader.address.to_string(), client_tls.clone()).unwrap();
    let (frames, sent) = mpsc::channel(4);
    frames.send(credit(1)).await.unwrap();
    let mut stream = ChangesClient::new(living)
        .stream(ReceiverStream::new(sent))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next_echo(&mut stream).await, 1);

    let renewed = after.leader();
    leader.tls.reload(&renewed).unwrap();
    assert_eq!(leader.tls.expires_at(), renewed.expires_at());

    frames.send(credit(2)).await.unwrap();
    assert_eq!(next_echo(&mut stream).await, 2, "the living stream goes on");
    let error = leader
        .hello(&before.identity("late", &["late.example"]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, HelloError::ServerCertificateInvalid { .. }),
        "{error:?}"
    );

    // The follower follows suit: its next connection is made under the new CA, the old one still lives.
    client_tls.reload(&after.follower()).unwrap();
    let address = leader.address.to_string();
    let reply = hello(channel(&address, client_tls).unwrap(), &address, "0.1.0", &[])
        .await
        .unwrap();
    assert_eq!(reply.identity, "follower.dr.example spiffe://example/follower");
    frames.send(credit(3)).await.unwrap();
    assert_eq!(next_echo(&mut stream).await, 3, "the living stream goes on");
    drop(frames);
    assert!(stream.message().await.unwrap().is_none());
    leader.stop().await;
}
