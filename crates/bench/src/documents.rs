//! The documents: lines of an access log of about 300 bytes, or of a kilobyte where much is said, the same in every run.
//!
//! Ids are spread over the whole space, as UUIDs are: that is the harder case for the agents' store, and for the engines'
//! own lookups.

use std::fmt::Write as _;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// One run of numbers for all machines.
const SEED: u64 = 0x51d3_57ea;

const SERVICES: [&str; 6] = ["checkout", "catalogue", "search", "accounts", "gateway", "mailer"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const LEVELS: [&str; 4] = ["INFO", "INFO", "WARN", "ERROR"];
const WORDS: [&str; 12] = [
    "request", "served", "from", "cache", "after", "upstream", "timeout", "session", "retry", "token",
    "queue", "closed",
];

/// How much a document has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// About 300 bytes.
    Line,
    /// About a kilobyte.
    Page,
}

impl Length {
    /// Words of the message.
    fn words(self) -> usize {
        match self {
            Length::Line => 8,
            Length::Page => 115,
        }
    }
}

/// An endless row of documents.
pub(crate) struct Documents {
    random: ChaCha8Rng,
    next: u64,
    length: Length,
}

impl Documents {
    /// The row of lines from its beginning.
    pub(crate) fn new() -> Self {
        Documents::of(Length::Line)
    }

    /// The row of documents that long, from its beginning.
    fn of(length: Length) -> Self {
        Documents {
            random: ChaCha8Rng::seed_from_u64(SEED),
            next: 0,
            length,
        }
    }

    /// Appends the next document to a bulk body, and returns the bytes of its source.
    pub(crate) fn append(&mut self, body: &mut Vec<u8>) -> usize {
        let (id, source) = self.next_one();
        body.extend_from_slice(format!("{{\"index\":{{\"_id\":\"{id}\"}}}}\n").as_bytes());
        body.extend_from_slice(source.as_bytes());
        body.push(b'\n');
        source.len()
    }

    /// The next document's id and source.
    pub(crate) fn next_one(&mut self) -> (String, String) {
        let number = self.next;
        self.next += 1;
        let random = &mut self.random;
        let mut any = |below: usize| random.random_range(0..below);
        let id = id(number);
        let (second, milli) = (number / 50, any(1000));
        let mut source = String::with_capacity(320);
        _ = write!(
            source,
            "{{\"@timestamp\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{milli:03}Z\",\"level\":\"{}\",\"service\":\"{}\",\
             \"host\":\"node-{}\",\"method\":\"{}\",\"path\":\"/api/v1/orders/{}/items\",\"status\":{},\
             \"duration_ms\":{}.{},\"bytes\":{},\"trace\":\"{:08x}{:08x}\",\"message\":\"",
            1 + second / 86_400 % 28,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            LEVELS[any(4)],
            SERVICES[any(6)],
            any(40),
            METHODS[any(4)],
            any(1_000_000),
            [200, 200, 200, 201, 404, 503][any(6)],
            any(900),
            any(10),
            any(100_000),
            any(1 << 32),
            any(1 << 32),
        );
        for word in 0..self.length.words() {
            source.push_str(if word == 0 { "" } else { " " });
            source.push_str(WORDS[any(12)]);
        }
        source.push_str("\"}");
        (id, source)
    }
}

/// The id of a numbered document.
pub(crate) fn id(number: u64) -> String {
    // An odd factor permutes the numbers of 64 bits: spread out, and none twice.
    format!(
        "{:016x}",
        number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

/// Bulk bodies of the row from its beginning, made as they are asked for.
pub(crate) struct Bodies {
    row: Documents,
    left: u64,
    batch: u64,
    source_bytes: u64,
}

impl Bodies {
    /// `docs` lines, `batch` to each body.
    pub(crate) fn new(docs: u64, batch: u64) -> Self {
        Bodies::of(Length::Line, docs, batch)
    }

    /// The same of documents that long.
    pub(crate) fn of(length: Length, docs: u64, batch: u64) -> Self {
        Bodies {
            row: Documents::of(length),
            left: docs,
            batch,
            source_bytes: 0,
        }
    }

    /// Bytes of all sources in the bodies made so far.
    pub(crate) fn source_bytes(&self) -> u64 {
        self.source_bytes
    }
}

impl Iterator for Bodies {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let docs = self.batch.min(self.left);
        self.left -= docs;
        let mut body = Vec::with_capacity(docs as usize * 340);
        for _ in 0..docs {
            self.source_bytes += self.row.append(&mut body) as u64;
        }
        (docs > 0).then_some(body)
    }
}

/// An index for them. The refresh interval stands there in so many words, so that the engine refreshes on schedule
/// whether anybody searches or not: with and without replication alike.
pub(crate) fn index(shards: u32) -> Value {
    let keyword = || json!({ "type": "keyword" });
    json!({
        "settings": {
            "number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "1s",
        },
        "mappings": { "properties": {
            "@timestamp": { "type": "date" }, "level": keyword(), "service": keyword(), "host": keyword(),
            "method": keyword(), "path": keyword(), "status": { "type": "short" },
            "duration_ms": { "type": "float" }, "bytes": { "type": "long" }, "trace": keyword(),
            "message": { "type": "text" },
        } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_as_long_as_promised_and_the_same_every_time() {
        let mut bodies = Bodies::new(1000, 300);
        let made: Vec<_> = bodies.by_ref().collect();
        let length = bodies.source_bytes() / 1000;
        assert!((270..=330).contains(&length), "{length} bytes a document");
        let mut pages = Bodies::of(Length::Page, 1000, 1000);
        assert_eq!(pages.by_ref().count(), 1);
        let length = pages.source_bytes() / 1000;
        assert!((950..=1074).contains(&length), "{length} bytes a document");
        assert_eq!(made.len(), 4);
        assert!(made.iter().cloned().eq(Bodies::new(1000, 300)));
    }

    #[test]
    fn every_line_is_json_and_no_id_comes_twice() {
        let mut row = Documents::new();
        let mut ids = std::collections::HashSet::new();
        for _ in 0..2000 {
            let (id, source) = row.next_one();
            assert!(ids.insert(id));
            serde_json::from_str::<Value>(&source).unwrap();
        }
    }
}
