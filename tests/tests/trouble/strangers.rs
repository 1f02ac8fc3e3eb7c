//! Peers that are not what they should be: agents of another release, and whatever else connects to the port.

use slipstream_testkit::client::eventually;
use slipstream_tests::agents::SOON;
use slipstream_wire::v1::handshake_server::{Handshake, HandshakeServer};
use slipstream_wire::{ProtocolMismatch, ServerTls, TlsFiles, TlsIdentity, accept, negotiate, v1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use slipstream_tests::world::World;

/// A leader agent of a release to come, which speaks protocol versions 99 to 100.
struct FromTheFuture {
    /// Whether it looks at what the follower agent speaks.
    careful: bool,
}

#[tonic::async_trait]
impl Handshake for FromTheFuture {
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        let hello = request.into_inner();
        assert!(
            negotiate(hello.protocol_min, hello.protocol_max).is_ok(),
            "this release agrees with itself"
        );
        if self.careful {
            let (follower_min, follower_max) = (hello.protocol_min, hello.protocol_max);
            return Err(ProtocolMismatch {
                follower_min,
                follower_max,
                leader_min: 99,
                leader_max: 100,
            }
            .into());
        }
        Ok(Response::new(v1::HelloReply {
            agent_version: "9.0.0".to_owned(),
            protocol: 99,
            ..v1::HelloReply::default()
        }))
    }
}

/// Serves a handshake in the place of the leader agent until the token is cancelled.
async fn serve(
    world: &World,
    service: FromTheFuture,
    shutdown: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let file = |name: &str| world.path("certs").join(name);
    let files = TlsFiles {
        cert: file("leader.pem"),
        key: file("leader.key"),
        ca: file("ca.pem"),
    };
    let tls = ServerTls::new(&TlsIdentity::load(&files).expect("certificates")).expect("TLS");
    let address = ("127.0.0.1", world.agents.leader_port());
    let listener = eventually("the port is free", SOON, async || {
        TcpListener::bind(address).await
    })
    .await;
    tokio::spawn(async move {
        let incoming = accept::incoming(listener, tls, shutdown.clone());
        let router = accept::server().add_service(HandshakeServer::new(service));
        // What is left of connections at the end is dropped with the server.
        let served = router.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
        tokio::select! {
            served = served => served.expect("it serves"),
            () = shutdown.cancelled() => {}
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_without_a_common_protocol_version_say_which_one_to_upgrade() {
    let mut world = World::start().await;
    world.following().await;
    world.agents.leader.kill();
    world.leader.write("lead", 10..20).await;
    for careful in [true, false] {
        let shutdown = CancellationToken::new();
        let serving = serve(&world, FromTheFuture { careful }, shutdown.clone()).await;
        let words: &[&str] = if careful {
            &[
                "no common protocol version: the follower agent speaks 1 to 1, the leader agent 99 to 100",
                "upgrade the follower agent",
            ]
        } else {
            &[
                "the leader agent (release 9.0.0) chose protocol version 99",
                "upgrade both agents",
            ]
        };
        world.waits(words).await;
        let (status, answer) = world.agents.try_follow("g", "lead").await;
        slipstream_tests::world::refusal((status, &answer), 503, "replication_exception", words);
        shutdown.cancel();
        serving.await.expect("it ends");
    }
    world.agents.leader.start();
    world.goes_on("lead", "f").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_leaders_port_is_logged_and_disturbs_nobody() {
    let world = World::start().await;
    world.following().await;
    let port = world.agents.leader_port();
    for garbage in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0xff; 5_000],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("a connection");
        stream.write_all(garbage).await.expect("written");
        let mut answer = Vec::new();
        // It hangs up, with an alert or a reset.
        let hung_up = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        assert!(hung_up.is_ok(), "the connection stays open");
    }
    // Some connect and say nothing.
    let silent = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    world
        .agents
        .leader
        .logged(&[
            "WARN",
            "refused a connection",
            "is not TLS",
            "something else than a follower agent",
        ])
        .await;
    world.goes_on("lead", "f").await;
    drop(silent);
    let log = world.agents.leader.log();
    assert_eq!(log.matches("is not TLS").count(), 3, "{log}");
}
