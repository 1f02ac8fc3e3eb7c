//! The files of restores for a target whose repositories the agent cannot write: the target's nodes fetch them from the agent, over HTTP.
//!
//! What is guaranteed to the operator: nothing but the files of a restore that goes on can be fetched, by plain `GET`s and `HEAD`s, below a
//! path that nobody can guess and that is another for each attempt; beyond this host only over TLS and by the addresses of
//! the target's own nodes. To the target: an answer is whole, or it is cut off within [`door::STILL`]. A node that waits for one that does
//! neither holds up the restore, and every other snapshot call of its cluster.
//!
//! The engines read such a repository without listing it and without ranges, from `index.latest` on.

mod door;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use slipstream_wire::tls::HttpsTls;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::lock;
use door::{Door, Peer};

/// Bytes of a file that are read at once; each connection holds one such piece (I8).
const PIECE: usize = 128 * 1024;
/// How long the disk may take for a piece.
const DISK: Duration = Duration::from_secs(10);
/// How long answers under way may take once the agent is told to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves files of restores to the target's nodes. Cheap to clone; all clones are the same server.
#[derive(Debug, Clone)]
pub struct FileServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: PathBuf,
    url: String,
    nodes_only: bool,
    offers: Mutex<BTreeMap<String, Arc<Offered>>>,
}

/// What one restore may fetch.
#[derive(Debug)]
struct Offered {
    folder: PathBuf,
    /// Path → length.
    files: BTreeMap<String, u64>,
    nodes: BTreeSet<IpAddr>,
}

/// Files that can be fetched as long as this lives.
#[derive(Debug)]
pub(super) struct Offer {
    server: FileServer,
    token: String,
}

impl Offer {
    /// Where they are: the URL of a repository.
    pub(super) fn url(&self) -> String {
        self.server.below(&self.token)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        lock(&self.server.0.offers).remove(&self.token);
    }
}

impl FileServer {
    /// A server of files that go through the folder `spool`, which the target's nodes reach by `url`. With `nodes_only` it answers
    /// nobody but them.
    pub fn new(spool: PathBuf, url: &str, nodes_only: bool) -> Self {
        FileServer(Arc::new(Inner {
            spool,
            url: url.trim_end_matches('/').to_owned(),
            nodes_only,
            offers: Mutex::default(),
        }))
    }

    /// The folder that files go through.
    pub fn spool(&self) -> &Path {
        &self.0.spool
    }

    /// The URL by which the target's nodes reach it.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// A URL of the kind that repositories get, to ask whether one would be allowed.
    pub(super) fn sample(&self) -> String {
        self.below("0")
    }

    /// What the target's nodes have to allow, in the words of their configuration.
    pub(super) fn pattern(&self) -> String {
        self.below("*").trim_end_matches('/').to_owned()
    }

    /// Without the slash at its end the engines would look beside it.
    fn below(&self, token: &str) -> String {
        format!("{}/{token}/", self.0.url)
    }

    /// Lets `nodes` fetch these files of a folder.
    pub(super) fn offer(
        &self,
        folder: &Path,
        files: BTreeMap<String, u64>,
        nodes: BTreeSet<IpAddr>,
    ) -> Offer {
        let token = format!("{:032x}", rand::random::<u128>());
        let offered = Offered {
            folder: folder.to_owned(),
            files,
            nodes,
        };
        lock(&self.0.offers).insert(token.clone(), Arc::new(offered));
        Offer {
            server: self.clone(),
            token,
        }
    }

    /// Serves until `shutdown`; answers under way then have two seconds to end.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<HttpsTls>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let door = Door::new(listener, tls, shutdown.clone())?;
        let router = Router::new().fallback(answer).with_state(self.clone());
        let service = router.into_make_service_with_connect_info::<Peer>();
        let server = axum::serve(door, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let drained = async {
            shutdown.cancelled().await;
            sleep(DRAIN).await;
            Ok(())
        };
        tokio::select! {
            ended = server.into_future() => ended,
            ended = drained => ended,
        }
    }

    /// The file behind a path, if this peer may have it.
    fn find(&self, path: &str, peer: IpAddr) -> Result<(PathBuf, u64), StatusCode> {
        let asked = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let (token, file) = asked.ok_or(StatusCode::NOT_FOUND)?;
        let offered = lock(&self.0.offers).get(token).cloned();
        let offered = offered.ok_or(StatusCode::NOT_FOUND)?;
        if self.0.nodes_only && !offered.nodes.contains(&peer) {
            tracing::warn!(%peer, nodes = ?offered.nodes, "refused the files of a restore: this is the address of no node of the target");
            return Err(StatusCode::FORBIDDEN);
        }
        // Only what is listed can be asked for, so no path leads anywhere else.
        let length = offered.files.get(file).ok_or(StatusCode::NOT_FOUND)?;
        Ok((offered.folder.join(file), *length))
    }
}

async fn answer(
    State(server): State<FileServer>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    method: Method,
    uri: Uri,
) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let (path, length) = match server.find(uri.path(), peer.ip().to_canonical()) {
        Ok(found) => found,
        Err(status) => return status.into_response(),
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        match open(&path, length).await {
            Ok(file) => Body::from_stream(pieces(file, length)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of a restore cannot be served");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let media = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media);
    response
}

async fn open(path: &Path, length: u64) -> io::Result<File> {
    let opened = async {
        let file = File::open(path).await?;
        let has = file.metadata().await?.len();
        if has == length {
            return Ok(file);
        }
        Err(io::Error::other(format!(
            "it has {has} bytes instead of {length}"
        )))
    };
    timeout(DISK, opened).await?
}

/// A file piece by piece. One that breaks off cuts the answer off with it, which the node sees by its length.
fn pieces(file: File, length: u64) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(left.min(PIECE as u64) as usize);
        let read = timeout(DISK, file.read_buf(&mut piece)).await??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(left.min(read as u64) as usize);
        let left = left - piece.len() as u64;
        Ok(Some((piece.freeze(), (file, left))))
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    struct Served {
        server: FileServer,
        address: std::net::SocketAddr,
        folder: tempfile::TempDir,
        _end: tokio_util::sync::DropGuard,
    }

    async fn served(nodes_only: bool) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = FileServer::new(
            folder.path().to_owned(),
            &format!("http://{address}/"),
            nodes_only,
        );
        let shutdown = CancellationToken::new();
        let (serving, ending) = (server.clone(), shutdown.clone());
        tokio::spawn(async move { serving.serve(listener, None, ending).await });
        Served {
            server,
            address,
            folder,
            _end: shutdown.drop_guard(),
        }
    }

    impl Served {
        fn offer(&self, files: &[(&str, &[u8])], nodes: &[IpAddr]) -> Offer {
            for (path, bytes) in files {
                let path = self.folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            let lengths = files
                .iter()
                .map(|(path, bytes)| ((*path).to_owned(), bytes.len() as u64));
            self.server.offer(
                self.folder.path(),
                lengths.collect(),
                nodes.iter().copied().collect(),
            )
        }

        /// Status line and body of one request on a connection of its own.
        async fn ask(&self, method: &str, path: &str) -> (u16, Vec<u8>) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let end = answer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
                .unwrap();
            let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
            (status, answer[end + 4..].to_vec())
        }
    }

    fn path(offer: &Offer, file: &str) -> String {
        format!("/{}/{file}", offer.token)
    }

    #[tokio::test]
    async fn only_what_is_offered_can_be_fetched_and_only_while_it_is() {
        let served = served(false).await;
        let large = vec![7; 3 * PIECE + 5];
        let offer = served.offer(&[("index.latest", b"0001"), ("indices/a/0/__b", &large)], &[]);
        std::fs::write(served.folder.path().join("secret"), "x").unwrap();
        assert!(
            offer
                .url()
                .ends_with(&format!(":{}/{}/", served.address.port(), offer.token))
        );

        assert_eq!(
            served.ask("GET", &path(&offer, "index.latest")).await,
            (200, b"0001".to_vec())
        );
        assert_eq!(
            served.ask("GET", &path(&offer, "indices/a/0/__b")).await,
            (200, large)
        );
        assert_eq!(
            served.ask("HEAD", &path(&offer, "index.latest")).await,
            (200, Vec::new())
        );
        for file in [
            "secret",
            "",
            "indices/",
            "indices/a/0/../0/__b",
            "../x",
            "index-1",
        ] {
            assert_eq!(served.ask("GET", &path(&offer, file)).await.0, 404, "{file}");
        }
        for other in ["/", "/index.latest", "/0/index.latest"] {
            assert_eq!(served.ask("GET", other).await.0, 404, "{other}");
        }
        for method in ["PUT", "POST", "DELETE"] {
            assert_eq!(
                served.ask(method, &path(&offer, "index.latest")).await.0,
                405,
                "{method}"
            );
        }
        let gone = path(&offer, "index.latest");
        drop(offer);
        assert_eq!(served.ask("GET", &gone).await.0, 404);
    }

    #[tokio::test]
    async fn beyond_this_host_only_the_nodes_of_the_target_are_answered() {
        let served = served(true).await;
        let (others, own) = (
            served.offer(&[("index.latest", b"0")], &["192.0.2.1".parse().unwrap()]),
            served.offer(&[("index.latest", b"0")], &[LOCAL]),
        );
        assert_eq!(served.ask("GET", &path(&others, "index.latest")).await.0, 403);
        assert_eq!(served.ask("GET", &path(&own, "index.latest")).await.0, 200);
    }

    /// The target must not wait for what does not come.
    #[tokio::test]
    async fn a_file_that_changed_is_an_error_and_not_a_short_answer() {
        let served = served(false).await;
        let offer = served.offer(&[("index.latest", b"0001")], &[]);
        std::fs::write(served.folder.path().join("index.latest"), "1").unwrap();
        assert_eq!(served.ask("GET", &path(&offer, "index.latest")).await.0, 500);
        std::fs::remove_file(served.folder.path().join("index.latest")).unwrap();
        assert_eq!(served.ask("GET", &path(&offer, "index.latest")).await.0, 500);
    }
}
