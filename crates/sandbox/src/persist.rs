//! What a sandbox keeps on disk: per index one file of metadata and one append-only log of operations.
//!
//! Guarantees: an operation is in the log and synced before its request is answered, and metadata is replaced
//! atomically, so a kill at any instruction loses nothing that was acknowledged. A record cut short by a kill was never
//! acknowledged; it is cut off at the next start. The log is never compacted: a sandbox is for demos and tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::mapping::Fields;
use crate::settings::Flat;
use crate::shard::{Doc, Shard};

/// Why a sandbox could not use its data folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be read or written.
    #[error("the sandbox could not use `{path}`; check that the folder exists, is writable and has room")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A metadata file does not hold what a sandbox writes.
    #[error("`{path}` is not a sandbox's metadata; move the folder away to start afresh")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// The cluster's identity and settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClusterMeta {
    pub(crate) uuid: String,
    pub(crate) node: String,
    pub(crate) version: u64,
    pub(crate) persistent: Flat,
}

/// Everything about an index but its documents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexMeta {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) settings: Flat,
    pub(crate) mapping: Fields,
    pub(crate) aliases: Fields,
    pub(crate) open: bool,
    pub(crate) routing_shards: u32,
    pub(crate) versions: Versions,
    pub(crate) shards: Vec<ShardMeta>,
}

/// The counters by which clients notice changes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) index: u64,
    pub(crate) mapping: u64,
    pub(crate) settings: u64,
    pub(crate) aliases: u64,
}

/// What a shard remembers besides its operations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShardMeta {
    pub(crate) term: u64,
    pub(crate) history: String,
}

/// The data folder.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StoreError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| StoreError::Metadata {
            path: path.to_owned(),
            source,
        })
}

/// Replaces a file so that a reader finds either the old or the new contents, also after a kill.
fn write_json<T: Serialize>(folder: &Path, name: &str, value: &T) -> io::Result<()> {
    let (temporary, path) = (folder.join(format!("{name}.new")), folder.join(name));
    let mut file = File::create(&temporary)?;
    serde_json::to_writer(BufWriter::new(&mut file), value)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(folder)?.sync_all()
}

impl Store {
    pub(crate) fn open(root: &Path) -> Result<Store, StoreError> {
        let indices = root.join("indices");
        at(&indices, fs::create_dir_all(&indices))?;
        Ok(Store {
            root: root.to_owned(),
        })
    }

    pub(crate) fn cluster(&self) -> Result<Option<ClusterMeta>, StoreError> {
        read_json(&self.root.join("cluster.json"))
    }

    pub(crate) fn save_cluster(&self, meta: &ClusterMeta) -> io::Result<()> {
        write_json(&self.root, "cluster.json", meta)
    }

    /// The metadata of every index.
    pub(crate) fn indices(&self) -> Result<Vec<IndexMeta>, StoreError> {
        let folder = self.root.join("indices");
        let mut found = Vec::new();
        for entry in at(&folder, fs::read_dir(&folder))? {
            let path = at(&folder, entry)?.path();
            // A folder without metadata is an index that was being created or deleted when the sandbox was killed.
            match read_json(&path.join("meta.json"))? {
                Some(meta) => found.push(meta),
                None => at(&path, fs::remove_dir_all(&path))?,
            }
        }
        Ok(found)
    }

    fn folder(&self, uuid: &str) -> PathBuf {
        self.root.join("indices").join(uuid)
    }

    pub(crate) fn save_index(&self, meta: &IndexMeta) -> io::Result<()> {
        let folder = self.folder(&meta.uuid);
        fs::create_dir_all(&folder)?;
        write_json(&folder, "meta.json", meta)
    }

    pub(crate) fn delete_index(&self, uuid: &str) -> io::Result<()> {
        let folder = self.folder(uuid);
        fs::remove_file(folder.join("meta.json"))?;
        fs::remove_dir_all(&folder)
    }

    /// Opens an index's log, replays it into its shards and cuts off what a kill left half-written.
    pub(crate) fn log(&self, uuid: &str, shards: &mut [Shard], now: u64) -> Result<Log, StoreError> {
        let folder = self.folder(uuid);
        at(&folder, fs::create_dir_all(&folder))?;
        let path = folder.join("ops.log");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = at(&path, opened)?;
        let mut bytes = Vec::new();
        at(&path, file.read_to_end(&mut bytes))?;
        let kept = replay(Bytes::from(bytes), shards, now);
        at(&path, file.set_len(kept))?;
        at(&path, file.seek(SeekFrom::End(0)))?;
        Ok(Log {
            file,
            buffer: Vec::new(),
        })
    }
}

/// Applies the whole records of a log; returns how many bytes they take.
fn replay(mut rest: Bytes, shards: &mut [Shard], now: u64) -> u64 {
    let mut kept = 0;
    while rest.len() >= 8 {
        let (length, crc) = (rest.get_u32() as usize, rest.get_u32());
        if rest.len() < length {
            break;
        }
        let mut body = rest.split_to(length);
        if crc32fast::hash(&body) != crc || apply(&mut body, shards, now).is_none() {
            break;
        }
        kept += 8 + length as u64;
    }
    kept
}

const INDEX: u8 = 1;
const DELETE: u8 = 2;

fn apply(body: &mut Bytes, shards: &mut [Shard], now: u64) -> Option<()> {
    let kind = body.try_get_u8().ok()?;
    let shard = shards.get_mut(body.try_get_u32().ok()? as usize)?;
    let (seq_no, term, version) = (
        body.try_get_u64().ok()?,
        body.try_get_u64().ok()?,
        body.try_get_i64().ok()?,
    );
    let id = text(body)?;
    match kind {
        INDEX => {
            let routing = if body.try_get_u8().ok()? == 1 {
                Some(text(body)?.into())
            } else {
                None
            };
            let source = body.split_to(body.len());
            shard.apply_index(Arc::new(Doc {
                id: id.into(),
                routing,
                source,
                version,
                seq_no,
                term,
            }));
        }
        DELETE => shard.apply_delete(&id, version, seq_no, now),
        _ => return None,
    }
    Some(())
}

fn text(body: &mut Bytes) -> Option<String> {
    let length = body.try_get_u32().ok()? as usize;
    if body.len() < length {
        return None;
    }
    String::from_utf8(body.split_to(length).to_vec()).ok()
}

/// The open log of one index.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    buffer: Vec<u8>,
}

impl Log {
    /// Adds an index operation; it is durable after [`Log::sync`].
    pub(crate) fn index(&mut self, shard: u32, doc: &Doc) {
        self.record(|out| {
            head(out, INDEX, shard, doc.seq_no, doc.term, doc.version, &doc.id);
            out.put_u8(u8::from(doc.routing.is_some()));
            if let Some(routing) = &doc.routing {
                out.put_u32(routing.len() as u32);
                out.put_slice(routing.as_bytes());
            }
            out.put_slice(&doc.source);
        });
    }

    /// Adds a delete; it is durable after [`Log::sync`].
    pub(crate) fn delete(&mut self, shard: u32, id: &str, seq_no: u64, term: u64, version: i64) {
        self.record(|out| head(out, DELETE, shard, seq_no, term, version, id));
    }

    fn record(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 8]);
        body(&mut self.buffer);
        let length = (self.buffer.len() - start - 8) as u32;
        let crc = crc32fast::hash(&self.buffer[start + 8..]);
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.buffer[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
    }

    /// Writes and syncs everything added so far.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.file.sync_data()
    }
}

fn head(out: &mut Vec<u8>, kind: u8, shard: u32, seq_no: u64, term: u64, version: i64, id: &str) {
    out.put_u8(kind);
    out.put_u32(shard);
    out.put_u64(seq_no);
    out.put_u64(term);
    out.put_i64(version);
    out.put_u32(id.len() as u32);
    out.put_slice(id.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(id: &str, seq_no: u64) -> Doc {
        let source = Bytes::from_static(b" {\"a\": 1}\n");
        Doc {
            id: id.into(),
            routing: Some("r".into()),
            source,
            version: 3,
            seq_no,
            term: 1,
        }
    }

    #[test]
    fn a_torn_record_is_cut_off_and_the_rest_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut log = store.log("u", &mut [Shard::new("h".into(), 1)], 0).unwrap();
        log.index(0, &doc("a", 0));
        log.index(0, &doc("b", 1));
        log.delete(0, "b", 2, 1, 4);
        log.sync().unwrap();
        let path = folder.path().join("indices/u/ops.log");
        let whole = fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&[0, 0, 1, 0, 9, 9])
            .unwrap();

        let mut shards = [Shard::new("h".into(), 2)];
        store.log("u", &mut shards, 0).unwrap();
        assert_eq!(shards[0].max_seq_no(), 2);
        let kept = shards[0].get("a").unwrap();
        assert_eq!(
            (&kept.source[..], kept.routing.as_deref(), kept.version),
            (&b" {\"a\": 1}\n"[..], Some("r"), 3)
        );
        assert!(shards[0].get("b").is_none());
        assert_eq!(fs::metadata(&path).unwrap().len(), whole);
    }
}
