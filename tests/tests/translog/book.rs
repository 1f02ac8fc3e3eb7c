//! What was written, as the server put it: one entry for each sequence number that it gave away.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, escape};
use slipstream_translog::Op;

use crate::folder::Folder;

/// A source and how it is to be declared.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its MIME type.
    pub(crate) kind: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Source {
    /// A source in JSON.
    pub(crate) fn json(text: impl Into<Vec<u8>>) -> Self {
        Self {
            kind: "application/json",
            bytes: text.into(),
        }
    }
}

/// An item of a bulk request.
#[derive(Debug)]
pub(crate) struct Item {
    /// `index`, `create` or `delete`.
    pub(crate) action: &'static str,
    /// The id; none asks for one.
    pub(crate) id: Option<String>,
    /// The routing.
    pub(crate) routing: Option<String>,
    /// One line of JSON, unless it is a deletion.
    pub(crate) source: String,
}

/// Writes into one index and keeps the book of it. Writes are one after the other, so that the sequence number of a
/// failed one, which no answer tells, is the next.
pub(crate) struct Book {
    /// Where it writes.
    pub(crate) client: Es,
    index: String,
    shards: HashMap<String, u32>,
    entries: BTreeMap<u32, BTreeMap<u64, Op<'static>>>,
    refused: usize,
}

impl Book {
    pub(crate) fn new(client: Es, index: &str) -> Self {
        Self {
            client,
            index: index.to_owned(),
            shards: HashMap::new(),
            entries: BTreeMap::new(),
            refused: 0,
        }
    }

    /// The index that is written to.
    pub(crate) fn index(&self) -> &str {
        &self.index
    }

    /// How many writes the server did not take.
    pub(crate) fn refused(&self) -> usize {
        self.refused
    }

    /// Puts a document. `more` is added to the query, such as `&version=5&version_type=external`.
    pub(crate) async fn put(&mut self, id: &str, routing: Option<&str>, source: Source, more: &str) {
        let path = self.path(&format!("_doc/{}", escape(id)), routing, more);
        self.index_at("PUT", &path, routing, source).await;
    }

    /// Lets the server make an id.
    pub(crate) async fn post(&mut self, routing: Option<&str>, source: Source) {
        let path = self.path("_doc", routing, "");
        self.index_at("POST", &path, routing, source).await;
    }

    async fn index_at(&mut self, method: &'static str, path: &str, routing: Option<&str>, source: Source) {
        let (status, answer) = self
            .send(method, path, Some((source.kind, source.bytes.clone())))
            .await;
        if matches!(status, 200 | 201) {
            self.indexed(&answer, routing, source.bytes).await;
        } else {
            self.refuse(path, &answer);
        }
    }

    /// Deletes a document, or asks in vain for its deletion, which is logged as well.
    pub(crate) async fn delete(&mut self, id: &str, routing: Option<&str>, more: &str) {
        let path = self.path(&format!("_doc/{}", escape(id)), routing, more);
        let (status, answer) = self.send("DELETE", &path, None).await;
        if matches!(status, 200 | 404) {
            self.deleted(&answer, routing).await;
        } else {
            self.refuse(&path, &answer);
        }
    }

    /// Merges a part into a document; the source that comes of it is the server's to tell.
    pub(crate) async fn update(&mut self, id: &str, routing: Option<&str>, part: &str) {
        let path = self.path(&format!("_update/{}", escape(id)), routing, "");
        let body = format!("{{\"doc\":{part}}}");
        let (status, answer) = self
            .send("POST", &path, Some(("application/json", body.into())))
            .await;
        if status != 200 {
            self.refuse(&path, &answer);
        } else if answer["result"] != "noop" {
            let (status, source) = self.client.get_bytes(&self.source_path(id, routing)).await;
            assert_eq!(status, 200, "the source of {id}");
            self.indexed(&answer, routing, source).await;
        }
    }

    /// Puts a document that passes the mapping but not Lucene, and thus takes a sequence number for nothing.
    pub(crate) async fn fail(&mut self, id: &str, routing: Option<&str>, source: Source) {
        let path = self.path(&format!("_doc/{}", escape(id)), routing, "");
        let (status, answer) = self.send("PUT", &path, Some((source.kind, source.bytes))).await;
        assert_eq!(status, 400, "{answer}");
        let error = &answer["error"];
        let reason = error["reason"].as_str().expect("a reason").to_owned();
        let shard = self.shard(routing.unwrap_or(id)).await;
        let entries = self.entries.entry(shard).or_default();
        let (seq_no, primary_term) = match entries.last_key_value() {
            Some((seq_no, op)) => (seq_no + 1, op.primary_term()),
            None => (0, 1),
        };
        let reason = reason.into();
        entries.insert(
            seq_no,
            Op::Noop {
                seq_no,
                primary_term,
                reason,
            },
        );
    }

    /// Sends items in one bulk request.
    pub(crate) async fn bulk(&mut self, items: Vec<Item>) {
        let mut lines = String::new();
        for item in &items {
            let mut action = json!({});
            if let Some(id) = &item.id {
                action["_id"] = json!(id);
            }
            if let Some(routing) = &item.routing {
                action["routing"] = json!(routing);
            }
            let _ = writeln!(lines, "{}", json!({ item.action: action }));
            if item.action != "delete" {
                let _ = writeln!(lines, "{}", item.source);
            }
        }
        let (status, answer) = self.client.bulk(&format!("/{}/_bulk", self.index), lines).await;
        assert_eq!(status, 200, "{answer}");
        for (item, answer) in items.into_iter().zip(answer["items"].as_array().expect("items")) {
            let answer = &answer[item.action];
            let routing = item.routing.as_deref();
            match answer["status"].as_u64() {
                Some(200 | 201) if item.action != "delete" => {
                    self.indexed(answer, routing, item.source.into_bytes()).await;
                }
                Some(200 | 404) => self.deleted(answer, routing).await,
                _ => self.refuse("_bulk", answer),
            }
        }
    }

    async fn indexed(&mut self, answer: &Value, routing: Option<&str>, source: Vec<u8>) {
        let (id, version, seq_no, primary_term) = told(answer);
        let op = Op::Index {
            id: id.into(),
            routing: routing.map(|routing| routing.to_owned().into()),
            version,
            seq_no,
            primary_term,
            // It lives as long as the test anyway.
            source: source.leak(),
        };
        self.enter(answer, routing, op).await;
    }

    async fn deleted(&mut self, answer: &Value, routing: Option<&str>) {
        let (id, version, seq_no, primary_term) = told(answer);
        let op = Op::Delete {
            id: id.into(),
            version,
            seq_no,
            primary_term,
        };
        self.enter(answer, routing, op).await;
    }

    async fn enter(&mut self, answer: &Value, routing: Option<&str>, op: Op<'static>) {
        let id = answer["_id"].as_str().expect("an id");
        let shard = self.shard(routing.unwrap_or(id)).await;
        let earlier = self.entries.entry(shard).or_default().insert(op.seq_no(), op);
        assert!(
            earlier.is_none(),
            "twice the same sequence number: {earlier:?} and {answer}"
        );
    }

    fn refuse(&mut self, what: &str, answer: &Value) {
        // Versions that are not newer, ids that are there already or not any more: all part of the game.
        let kind = answer["error"]["type"].as_str().unwrap_or_default();
        if !["version_conflict_engine_exception", "document_missing_exception"].contains(&kind) {
            println!("{what}: {answer}");
            self.refused += 1;
        }
    }

    async fn send(&self, method: &'static str, path: &str, body: Option<(&str, Vec<u8>)>) -> (u16, Value) {
        let (status, bytes) = self.client.try_send(method, path, body).await.expect("an answer");
        // The answer to CBOR is CBOR unless something else is asked for.
        let answer = serde_json::from_slice(&bytes);
        (
            status,
            answer.unwrap_or_else(|_| panic!("{method} {path}: {}", String::from_utf8_lossy(&bytes))),
        )
    }

    fn path(&self, rest: &str, routing: Option<&str>, more: &str) -> String {
        let routing = routing.map(|routing| format!("&routing={}", escape(routing)));
        format!(
            "/{}/{rest}?format=json{}{more}",
            self.index,
            routing.unwrap_or_default()
        )
    }

    fn source_path(&self, id: &str, routing: Option<&str>) -> String {
        self.path(&format!("_source/{}", escape(id)), routing, "")
            .replace("?format=json", "?realtime=true")
    }

    /// The shard that the server sends a routing to.
    async fn shard(&mut self, routing: &str) -> u32 {
        if let Some(shard) = self.shards.get(routing) {
            return *shard;
        }
        let path = format!("/{}/_search_shards?routing={}", self.index, escape(routing));
        let (_, answer) = self.client.get(&path).await;
        let groups = answer["shards"].as_array().expect("shards");
        assert_eq!(groups.len(), 1, "{routing:?}: {answer}");
        let shard = groups[0][0]["shard"].as_u64().expect("a shard") as u32;
        self.shards.insert(routing.to_owned(), shard);
        shard
    }

    /// Compares a shard's translog with what the book says of it.
    pub(crate) fn compare(&self, shard: u32, folder: &Folder) {
        let entries = &self.entries[&shard];
        let operations = folder.operations();
        let place =
            |shard: u32, seq_no: u64| format!("[{}][{shard}] at sequence number {seq_no}", self.index);
        let mut found: BTreeMap<u64, &Op<'_>> = BTreeMap::new();
        for op in &operations {
            let earlier = found.insert(op.seq_no(), op);
            assert!(earlier.is_none(), "{}: logged twice", place(shard, op.seq_no()));
        }
        for (seq_no, entry) in entries {
            let op = found
                .get(seq_no)
                .unwrap_or_else(|| panic!("{}: {entry:?} is not logged", place(shard, *seq_no)));
            assert!(
                same(entry, op),
                "{}: {entry:?}, logged as {op:?}",
                place(shard, *seq_no)
            );
        }
        assert_eq!(found.len(), entries.len(), "[{}][{shard}]", self.index);
        assert_eq!(folder.checkpoint().global_checkpoint, entries.len() as i64 - 1);
        println!(
            "[{}][{shard}]: {} operations are logged as they were answered",
            self.index,
            entries.len()
        );
    }

    /// The entries of a shard in JSON, one a line.
    pub(crate) fn lines(&self, shard: u32) -> String {
        let mut lines = String::new();
        for op in self.entries[&shard].values() {
            let (seq_no, primary_term) = (op.seq_no(), op.primary_term());
            let mut line = json!({"seq_no": seq_no, "primary_term": primary_term});
            match op {
                Op::Index {
                    id,
                    routing,
                    version,
                    source,
                    ..
                } => {
                    line["op"] = json!("index");
                    line["id"] = json!(id);
                    line["routing"] = json!(routing);
                    line["version"] = json!(version);
                    match std::str::from_utf8(source) {
                        Ok(text) => line["source"] = json!(text),
                        Err(_) => line["source_hex"] = json!(hexadecimal(source)),
                    }
                }
                Op::Delete { id, version, .. } => {
                    line["op"] = json!("delete");
                    line["id"] = json!(id);
                    line["version"] = json!(version);
                }
                Op::Noop { reason, .. } => {
                    line["op"] = json!("noop");
                    line["reason"] = json!(reason);
                }
            }
            let _ = writeln!(lines, "{line}");
        }
        lines
    }
}

/// Whether an operation was logged as it was answered. Why there is a no-op the log says at greater length.
fn same(answered: &Op<'_>, logged: &Op<'_>) -> bool {
    match (answered, logged) {
        (
            Op::Noop { reason, .. },
            Op::Noop {
                reason: logged_reason,
                ..
            },
        ) => {
            logged_reason.contains(&**reason)
                && (answered.seq_no(), answered.primary_term()) == (logged.seq_no(), logged.primary_term())
        }
        _ => answered == logged,
    }
}

/// Id, version, sequence number and primary term in an answer.
fn told(answer: &Value) -> (String, i64, u64, u64) {
    let told = || {
        Some((
            answer["_id"].as_str()?.to_owned(),
            answer["_version"].as_i64()?,
            answer["_seq_no"].as_u64()?,
            answer["_primary_term"].as_u64()?,
        ))
    };
    told().unwrap_or_else(|| panic!("no answer to a write: {answer}"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
