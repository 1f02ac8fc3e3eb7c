//! A faulty link: a TCP proxy in this process that delays, throttles, stalls, cuts and corrupts on request.
//!
//! It changes while connections run, holds at most 4 MiB per connection and direction (a sender then feels the back
//! pressure of a slow link), and what it corrupts follows from a seed. Dropping the handle closes everything.

mod damage;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use self::damage::{Corruption, Damage};

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
