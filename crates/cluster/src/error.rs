//! What can go wrong in a call, sorted by what the caller does about it.
//!
//! The kind answers two questions: is it worth trying again, and may the request have been carried out? The text is one
//! line for the operator; what lies underneath is attached as the source.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The result of a call.
pub type Result<T, E = ClusterError> = std::result::Result<T, E>;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection came about: the request was surely not sent.
    Unreachable,
    /// The request was sent and its outcome is not known: it may still be running.
    Unknown,
    /// The cluster is too busy and did nothing.
    Throttled,
    /// The credentials were not accepted.
    Unauthorized,
    /// The credentials do not allow this.
    Forbidden,
    /// A cluster or index block (read-only, disk flood stage, blocked reads or metadata).
    Blocked,
    /// The index, or what else was asked for, is not there.
    NotFound,
    /// The index is closed.
    IndexClosed,
    /// It exists already, or something else has a newer version.
    Conflict,
    /// The cluster refused the request as wrong.
    BadRequest,
    /// The request is larger than the cluster takes, or the answer larger than the caller does.
    TooLarge,
    /// The answer is not complete: failed, missing or moved shards, a time-out inside the cluster.
    Incomplete,
    /// The cluster failed (5xx).
    Server,
    /// The answer is not what an engine answers.
    Protocol,
    /// The engine, its version or its distribution does not have this.
    Unsupported,
    /// Our own configuration cannot be used.
    Config,
}

impl ErrorKind {
    /// What to look at, for kinds where the engine's own words are missing or do not say it.
    const fn hint(self) -> Option<&'static str> {
        match self {
            ErrorKind::Unreachable => {
                Some("cannot connect: check that the node is up, the address and the certificates")
            }
            ErrorKind::Unknown => {
                Some("no answer in time or the connection broke: it may have been carried out")
            }
            ErrorKind::Throttled => Some("the cluster is overloaded"),
            ErrorKind::Unauthorized => Some("check the credentials"),
            ErrorKind::Forbidden => Some("grant the missing privilege to this user"),
            ErrorKind::Blocked => Some("remove the block, or free disk space if it is the flood stage"),
            ErrorKind::TooLarge => Some("over the size limit"),
            ErrorKind::Protocol => Some("check that the address is that of a cluster, not of something else"),
            _ => None,
        }
    }
}

/// A failed call.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct ClusterError {
    /// What kind of failure it was.
    pub kind: ErrorKind,
    detail: Box<Detail>,
    #[source]
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The parts of the error line.
#[derive(Debug, Clone)]
struct Detail {
    kind: ErrorKind,
    url: String,
    method: String,
    path: String,
    status: Option<u16>,
    engine_type: Option<String>,
    reason: Option<String>,
}

impl ClusterError {
    /// An error about no particular request.
    pub fn new(kind: ErrorKind, url: impl Into<String>, reason: impl Into<String>) -> Self {
        let detail = Detail {
            kind,
            url: url.into(),
            method: String::new(),
            path: String::new(),
            status: None,
            engine_type: None,
            reason: Some(reason.into()),
        };
        ClusterError {
            kind,
            detail: Box::new(detail),
            source: None,
        }
    }

    /// An error of one request, still without a reason.
    pub(crate) fn of_request(kind: ErrorKind, url: &str, method: &str, path: &str) -> Self {
        let detail = Detail {
            kind,
            url: url.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
            engine_type: None,
            reason: None,
        };
        ClusterError {
            kind,
            detail: Box::new(detail),
            source: None,
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.detail.status = Some(status);
        self
    }

    pub(crate) fn with_engine_type(mut self, engine_type: Option<String>) -> Self {
        self.detail.engine_type = engine_type;
        self
    }

    pub(crate) fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.detail.reason = Some(reason.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Whether the same call may succeed later without anybody changing the request or our configuration.
    ///
    /// Blocks count: the flood stage lifts itself, and an operator who lifts another expects no more than that.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unreachable
                | ErrorKind::Unknown
                | ErrorKind::Throttled
                | ErrorKind::Blocked
                | ErrorKind::Incomplete
                | ErrorKind::Server
        ) || self.engine_type() == Some("snapshot_in_progress_exception")
    }

    /// The engine's name for the error, such as `index_not_found_exception`.
    pub fn engine_type(&self) -> Option<&str> {
        self.detail.engine_type.as_deref()
    }

    /// The engine's words, causes included; for errors that no engine reported, ours.
    pub fn reason(&self) -> Option<&str> {
        self.detail.reason.as_deref()
    }

    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.detail.status
    }

    /// The method of the request; empty if it was about no request.
    pub fn method(&self) -> &str {
        &self.detail.method
    }

    /// The path of the request without its parameters; empty if it was about no request.
    pub fn path(&self) -> &str {
        &self.detail.path
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method.is_empty() {
            write!(f, "{}", self.url)?;
        } else {
            write!(f, "{} {}{}", self.method, self.url, self.path)?;
        }
        if let Some(status) = self.status {
            write!(f, " answered {status}")?;
        }
        if let Some(engine_type) = &self.engine_type {
            write!(f, ": {engine_type}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {}", one_line(reason))?;
        }
        if let Some(hint) = self.kind.hint() {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// An engine's reason may span lines and be as long as a document; a log line is neither.
fn one_line(reason: &str) -> String {
    const MOST: usize = 1_000;
    let mut line: String = reason
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.len() < reason.len() && reason.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_request_status_cause_and_remedy() {
        let error = ClusterError::of_request(ErrorKind::Blocked, "http://h:9200", "PUT", "/i/_doc/1")
            .with_status(403)
            .with_engine_type(Some("cluster_block_exception".into()))
            .with_reason("index [i] blocked\nby: FORBIDDEN");
        assert_eq!(
            error.to_string(),
            "PUT http://h:9200/i/_doc/1 answered 403: cluster_block_exception: index [i] blocked by: FORBIDDEN \
             (remove the block, or free disk space if it is the flood stage)"
        );
        assert!(error.source().is_none());
    }

    #[test]
    fn the_source_is_chained_and_not_part_of_the_line() {
        let error = ClusterError::new(ErrorKind::Config, "http://h", "bad")
            .with_source(std::io::Error::other("deep"));
        assert!(!error.to_string().contains("deep"));
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("deep"));
    }

    #[test]
    fn endless_reasons_are_cut() {
        let error = ClusterError::new(ErrorKind::BadRequest, "u", "é".repeat(5_000));
        assert!(error.to_string().chars().count() < 1_100);
    }
}
