//! The proxy does to a link what it says, and no more.

use std::{io, net::SocketAddr, time::Duration};

use slipstream_testkit::proxy::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

async fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    (address, task)
}

async fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn bytes_pass_unchanged_and_are_counted() {
    let (target, _echo) = echo().await;
    let proxy = Proxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let (mut from, mut to) = stream.split();
    let mut answer = vec![0; sent.len()];
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut answer));
    written.unwrap();
    read.unwrap();
    assert!(answer == sent);
    assert_eq!((proxy.bytes_to_target(), proxy.connections()), (1_000_000, 1));
}

#[tokio::test]
async fn latency_delays_both_ways() {
    let (target, _echo) = echo().await;
    let proxy = Proxy::start(target).await.unwrap();
    proxy.set_latency(Duration::from_millis(40));
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let clock = Instant::now();
    round_trip(&mut stream, b"hello").await.unwrap();
    assert!(
        clock.elapsed() >= Duration::from_millis(80),
        "{:?}",
        clock.elapsed()
    );
}

#[tokio::test]
async fn bandwidth_is_shared_by_connections() {
    let (target, _echo) = echo().await;
    let proxy = Proxy::start(target).await.unwrap();
    proxy.set_bandwidth(Some(100_000));
    let mut one = TcpStream::connect(proxy.address()).await.unwrap();
    let mut two = TcpStream::connect(proxy.address()).await.unwrap();
    let clock = Instant::now();
    let block = vec![7; 20_000];
    let (first, second) = tokio::join!(round_trip(&mut one, &block), round_trip(&mut two, &block));
    assert!(first.is_ok() && second.is_ok());
    assert!(
        clock.elapsed() >= Duration::from_millis(390),
        "{:?}",
        clock.elapsed()
    );
}

#[tokio::test]
async fn a_cut_ends_connections_and_refuses_new_ones_until_resumed() {
    let (target, _echo) = echo().await;
    let proxy = Proxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream, b"up").await.unwrap();
    proxy.cut();
    assert!(stream.read_exact(&mut [0]).await.is_err());
    if let Ok(mut refused) = TcpStream::connect(proxy.address()).await {
        assert!(round_trip(&mut refused, b"no").await.is_err());
    }
    proxy.resume();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(round_trip(&mut stream, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_disconnect_hits_open_connections_only() {
    let (target, _echo) = echo().await;
    let proxy = Proxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream, b"up").await.unwrap();
    proxy.disconnect();
    assert!(stream.read_exact(&mut [0]).await.is_err());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(round_trip(&mut stream, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_stall_lets_nothing_through_and_loses_nothing() {
    let (target, _echo) = echo().await;
    let proxy = Proxy::start(target).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.stall();
    stream.write_all(b"late").await.unwrap();
    let mut answer = [0; 4];
    let early = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut answer)).await;
    assert!(early.is_err());
    proxy.resume();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"late");
}
