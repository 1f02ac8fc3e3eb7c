//! The tests' own answer to "are these two indices equal?", which shares no code with the product's.
//!
//! Equal means: the same documents by id and routing, each with the same version and the same source byte for byte,
//! and the same mapping, aliases and those settings that should travel. What could not be read counts as a
//! difference, so that a failing comparison never passes for equality.

mod documents;
mod metadata;
mod scan;

use std::fmt::{self, Write as _};

use crate::client::Es;

pub use self::scan::Malformed;

/// Differences listed at most; there may be a million.
const LISTED: usize = 20;

/// Why a side could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer.
    #[error(transparent)]
    NoAnswer(#[from] crate::client::NoAnswer),
    /// The server refused.
    #[error("{path} was answered with {status}: {body}")]
    Refused {
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// The answer is not what it should be.
    #[error("{path} was answered with something odd: {what}")]
    Odd {
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// The answer is not JSON.
    #[error("{path} was answered with malformed JSON")]
    Malformed {
        /// What was asked.
        path: String,
        /// Where it breaks off.
        #[source]
        source: Malformed,
    },
}

/// One of the two indices.
#[derive(Debug, Clone)]
struct Side {
    client: Es,
    index: String,
}

impl Side {
    fn new(client: &Es, index: &str) -> Self {
        Self {
            client: client.clone(),
            index: index.to_owned(),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.index, self.client.url())
    }
}

/// Compares everything and lists the first 20 differences for a human; empty means equal. Both indices are refreshed.
///
/// Compare while nobody writes: the two sides are not read at the same moment.
pub async fn indices(leader: &Es, leader_index: &str, follower: &Es, follower_index: &str) -> Vec<String> {
    let (leader, follower) = (
        Side::new(leader, leader_index),
        Side::new(follower, follower_index),
    );
    let mut found = Differences::default();
    metadata::compare(&leader, &follower, &mut found).await;
    documents::compare(&leader, &follower, &mut found).await;
    found.listed()
}

/// The same for documents only.
pub async fn documents(leader: &Es, leader_index: &str, follower: &Es, follower_index: &str) -> Vec<String> {
    let (leader, follower) = (
        Side::new(leader, leader_index),
        Side::new(follower, follower_index),
    );
    let mut found = Differences::default();
    documents::compare(&leader, &follower, &mut found).await;
    found.listed()
}

/// Collects differences, the first ones word by word, the others as a number.
#[derive(Debug, Default)]
struct Differences {
    texts: Vec<String>,
    more: usize,
}

impl Differences {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.texts.len() < LISTED {
            self.texts.push(text());
        } else {
            self.more += 1;
        }
    }

    /// Notes why a side could not be read, with every cause.
    fn unreadable(&mut self, side: &Side, error: &ReadError) {
        self.add(|| {
            let mut text = format!("{side} could not be read: {error}");
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                let _ = write!(text, ": {error}");
                cause = error.source();
            }
            text
        });
    }

    fn listed(mut self) -> Vec<String> {
        if self.more > 0 {
            self.texts.push(format!("and {} more", self.more));
        }
        self.texts
    }
}

/// The beginning of a text that may be long or not text at all.
fn excerpt(bytes: &[u8]) -> String {
    const LIMIT: usize = 300;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LIMIT)]).into_owned();
    if bytes.len() > LIMIT {
        format!("{text}… ({} bytes)", bytes.len())
    } else {
        text
    }
}
