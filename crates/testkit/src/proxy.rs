//! A faulty link: a TCP proxy in this process that delays, throttles, stalls, cuts and corrupts on request.
//!
//! It changes while connections run, holds at most 4 MiB per connection and direction (a sender then feels the back
//! pressure of a slow link), and what it corrupts follows from a seed. Dropping the handle closes everything.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

const CHUNK: usize = 16 * 1024;
const CHUNKS_IN_FLIGHT: usize = 256;

/// What the link does to bytes at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Conditions {
    latency: Duration,
    bytes_per_second: Option<u64>,
    cut: bool,
    /// How many cuts there were: one that has come and gone between two looks shows here.
    cuts: u64,
    stalled: bool,
    corruption: Option<Corruption>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Corruption {
    probability: f64,
    seed: u64,
}

/// One direction of the link, shared by its connections as a real line would be.
#[derive(Debug, Default)]
struct Line {
    bytes: AtomicU64,
    free_at: Mutex<Option<Instant>>,
}

/// A running proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    lines: Arc<[Line; 2]>,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards every connection to `target`, which need not be there yet.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (conditions, watched) = watch::channel(Conditions::default());
        let lines = Arc::<[Line; 2]>::default();
        let connections = Arc::<AtomicU64>::default();
        let task = tokio::spawn(accept(
            listener,
            target,
            watched,
            lines.clone(),
            connections.clone(),
        ));
        Ok(Self {
            address,
            conditions,
            lines,
            connections,
            task,
        })
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delays everything by this much in each direction; a round trip takes twice as long.
    pub fn set_latency(&self, latency: Duration) {
        self.change(|conditions| conditions.latency = latency);
    }

    /// Lets at most this many bytes per second pass in each direction, over all connections; `None` lifts the cap.
    pub fn set_bandwidth(&self, bytes_per_second: Option<u64>) {
        self.change(|conditions| conditions.bytes_per_second = bytes_per_second.map(|cap| cap.max(1)));
    }

    /// Resets every connection, and every new one right after it is made, until [`Proxy::resume`].
    pub fn cut(&self) {
        self.change(|conditions| {
            conditions.cut = true;
            conditions.cuts += 1;
        });
    }

    /// Keeps connections open and accepts new ones, but lets no byte pass until [`Proxy::resume`].
    pub fn stall(&self) {
        self.change(|conditions| conditions.stalled = true);
    }

    /// Flips one bit of each byte with this probability, in both directions. The seed decides which bytes of which
    /// connection, in the order of connecting.
    pub fn corrupt(&self, probability: f64, seed: u64) {
        self.change(|conditions| conditions.corruption = Some(Corruption { probability, seed }));
    }

    /// Resets every connection once and lets new ones through.
    pub fn disconnect(&self) {
        self.cut();
        self.change(|conditions| conditions.cut = false);
    }

    /// Ends every trouble: the link is perfect again.
    pub fn resume(&self) {
        self.change(|conditions| {
            *conditions = Conditions {
                cuts: conditions.cuts,
                ..Conditions::default()
            }
        });
    }

    /// Bytes delivered to the target so far.
    pub fn bytes_to_target(&self) -> u64 {
        self.lines[0].bytes.load(Ordering::Relaxed)
    }

    /// Bytes delivered from the target so far.
    pub fn bytes_from_target(&self) -> u64 {
        self.lines[1].bytes.load(Ordering::Relaxed)
    }

    /// Connections accepted so far, those refused during a cut included.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.conditions.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    conditions: watch::Receiver<Conditions>,
    lines: Arc<[Line; 2]>,
    connections: Arc<AtomicU64>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let number = connections.fetch_add(1, Ordering::Relaxed);
                open.spawn(connection(client, target, conditions.clone(), lines.clone(), number));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    conditions: watch::Receiver<Conditions>,
    lines: Arc<[Line; 2]>,
    number: u64,
) {
    let mut watched = conditions.clone();
    let cuts = watched.borrow().cuts;
    let cut = watched.wait_for(|conditions| conditions.cut || conditions.cuts != cuts);
    let _ = client.set_nodelay(true);
    let _ = client.set_zero_linger();
    let forwarded = async {
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let up = pump(from_client, to_server, conditions.clone(), &lines[0], number * 2);
        let down = pump(
            from_server,
            to_client,
            conditions.clone(),
            &lines[1],
            number * 2 + 1,
        );
        // Either direction may end by a clean half-close while the other goes on; an error ends both.
        let _ = tokio::try_join!(up, down);
    };
    tokio::select! {
        _ = cut => {}
        () = forwarded => {}
    }
}

async fn pump(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    conditions: watch::Receiver<Conditions>,
    line: &Line,
    stream: u64,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let delayed = conditions.clone();
    tokio::try_join!(
        receive(from, sender, delayed),
        deliver(to, receiver, conditions, line, stream)
    )?;
    Ok(())
}

async fn receive(
    mut from: impl AsyncRead + Unpin,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    conditions: watch::Receiver<Conditions>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).await?;
        let due = Instant::now() + conditions.borrow().latency;
        if count == 0 || queue.send((due, buffer[..count].to_vec())).await.is_err() {
            return Ok(());
        }
    }
}

async fn deliver(
    mut to: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut conditions: watch::Receiver<Conditions>,
    line: &Line,
    stream: u64,
) -> io::Result<()> {
    let mut damage = None;
    while let Some((due, mut bytes)) = queue.recv().await {
        tokio::time::sleep_until(due).await;
        let now = match conditions.wait_for(|conditions| !conditions.stalled).await {
            Ok(conditions) => *conditions,
            Err(_) => return Ok(()),
        };
        if let Some(cap) = now.bytes_per_second {
            tokio::time::sleep_until(line.reserve(bytes.len(), cap)).await;
        }
        match now.corruption {
            None => damage = None,
            Some(corruption) => {
                damage
                    .get_or_insert_with(|| Damage::new(corruption, stream))
                    .apply(&mut bytes);
            }
        }
        to.write_all(&bytes).await?;
        line.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    to.shutdown().await
}

impl Line {
    /// The moment when `count` more bytes will have passed at `cap` bytes per second.
    fn reserve(&self, count: usize, cap: u64) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let start = free_at.map_or(now, |at| at.max(now));
        let end = start + Duration::from_secs_f64(count as f64 / cap as f64);
        *free_at = Some(end);
        end
    }
}

/// Which bytes of one direction of one connection get a bit flipped: gaps between them are drawn, so that the
/// outcome does not depend on how the stream falls into chunks.
struct Damage {
    random: ChaCha8Rng,
    probability: f64,
    gap: u64,
}

impl Damage {
    fn new(corruption: Corruption, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(corruption.seed);
        random.set_stream(stream);
        let mut damage = Self {
            random,
            probability: corruption.probability.clamp(0.0, 1.0),
            gap: 0,
        };
        damage.draw();
        damage
    }

    fn draw(&mut self) {
        let chance = 1.0 - self.random.random::<f64>(); // in (0, 1]
        self.gap = (chance.ln() / (1.0 - self.probability).ln()).floor() as u64;
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = usize::try_from(self.gap)
            .ok()
            .and_then(|gap| bytes.get_mut(at + gap))
        {
            *byte ^= 1 << self.random.random_range(0..8);
            at += self.gap as usize + 1;
            self.draw();
        }
        self.gap -= (bytes.len() - at) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
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
        let block = [7; 20_000];
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

    #[test]
    fn corruption_repeats_with_its_seed_and_ignores_chunks() {
        let corruption = Corruption {
            probability: 0.01,
            seed: 7,
        };
        let (mut whole, mut pieces) = (vec![0; 100_000], vec![0; 100_000]);
        Damage::new(corruption, 3).apply(&mut whole);
        let mut damage = Damage::new(corruption, 3);
        pieces.chunks_mut(777).for_each(|chunk| damage.apply(chunk));
        assert!(whole == pieces);
        let hit = whole.iter().filter(|byte| **byte != 0).count();
        assert!((800..1200).contains(&hit), "{hit} of 100000 at 1 %");
    }
}
