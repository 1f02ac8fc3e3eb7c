//! The record of changes: who, from where, what, and what came of it. One event of the log each, and where a file is configured, one line of JSON.
//!
//! The file is a promise: before a change begins, room for its line is made on the disk, and a change whose line would not fit is not
//! begun. Should writing fail all the same, the line is kept, and nothing more is changed until it has been written. The file is opened
//! anew when it was moved away, so rotating it needs no signal.

mod book;
mod change;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use self::book::Book;
pub(super) use self::change::Change;

/// The log's target of these events: what it is filtered by.
pub(super) const TARGET: &str = "slipstream::audit";

/// Where changes are recorded.
pub(super) struct Audit(Option<Mutex<Book>>);

impl Audit {
    /// No file.
    pub(super) fn in_log() -> Audit {
        Audit(None)
    }

    /// Opens the file, if there is to be one, and makes it where it is not there.
    pub(super) fn open(path: Option<PathBuf>) -> io::Result<Audit> {
        let Some(path) = path else {
            return Ok(Audit::in_log());
        };
        Ok(Audit(Some(Mutex::new(Book::open(path)?))))
    }

    /// Makes sure that a change that begins now can be recorded.
    pub(super) async fn prepare(self: &Arc<Self>) -> io::Result<()> {
        self.with_book(Book::prepare).await.unwrap_or(Ok(()))
    }

    /// Records one that has ended.
    pub(super) async fn write(self: &Arc<Self>, change: Change) {
        tracing::info!(
            target: TARGET,
            who = change.who,
            proof = change.proof,
            from = change.from,
            action = change.action,
            path = change.path,
            index = change.index,
            request = change.request.as_ref().map(tracing::field::display),
            status = change.status,
            outcome = change.outcome,
            error = change.error,
            millis = change.millis,
            "change"
        );
        let Ok(mut line) = serde_json::to_string(&change) else {
            return;
        };
        line.push('\n');
        let written = self.with_book(|book| book.write(line)).await;
        if let Some(Err(error)) = written {
            tracing::error!(%error, "the audit log cannot be written: nothing is changed until it can");
        }
    }

    async fn with_book<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut Book) -> T + Send + 'static,
    ) -> Option<T> {
        self.0.as_ref()?;
        let audit = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let book = audit.0.as_ref()?;
            Some(act(&mut book.lock().unwrap_or_else(PoisonError::into_inner)))
        });
        done.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    use axum::http::{Method, StatusCode};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::book::{LINE, open};
    use super::change::cut;
    use super::*;
    use crate::access::Principal;
    use crate::access::Proof;
    use crate::access::needs::Need;
    use crate::access::role::Rights;

    fn change() -> Change {
        let who = Principal::new("anna", Proof::Password, Rights::default());
        let need = Need {
            action: "indices:admin/plugins/replication/index/stop",
            role: None,
            index: Some("f1".to_owned()),
            changes: true,
        };
        let from = "127.0.0.1:5000".parse().ok();
        Change::new(
            &who,
            from,
            &need,
            &Method::POST,
            "/_plugins/_replication/f1/_stop",
        )
    }

    fn lines(path: &std::path::Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_change_is_one_line_and_rotation_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Arc::new(Audit::open(Some(path.clone())).unwrap());
        let mut first = change();
        first.asked(br#"{"reason":"x","nested":[{"api_key":"hunter2"}]}"#);
        audit.prepare().await.unwrap();
        audit
            .write(first.ended(StatusCode::OK, None, Duration::from_millis(7)))
            .await;
        let line = lines(&path).remove(0);
        assert!(line["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(
            line["request"],
            json!({"reason": "x", "nested": [{"api_key": "…"}]})
        );
        assert_eq!(
            json!([
                line["who"],
                line["proof"],
                line["from"],
                line["index"],
                line["status"],
                line["outcome"],
                line["millis"]
            ]),
            json!(["anna", "password", "127.0.0.1:5000", "f1", 200, "done", 7])
        );

        std::fs::rename(&path, folder.path().join("audit.1")).unwrap();
        audit.prepare().await.unwrap();
        let ended = change().ended(StatusCode::BAD_REQUEST, Some("no"), Duration::ZERO);
        audit.write(ended).await;
        assert_eq!(lines(&path).len(), 1);
        assert_eq!(
            (&lines(&path)[0]["outcome"], &lines(&path)[0]["error"]),
            (&json!("refused"), &json!("no"))
        );
        let readable = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(readable, 0o600);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_begun_and_what_was_missed_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Arc::new(Audit::open(Some(path.clone())).unwrap());
        audit.prepare().await.unwrap();
        // A handle that cannot write stands for a disk that has become read-only.
        audit.0.as_ref().unwrap().lock().unwrap().file = File::open(&path).unwrap();
        audit
            .write(change().ended(StatusCode::OK, None, Duration::ZERO))
            .await;
        assert!(lines(&path).is_empty());
        assert!(audit.prepare().await.is_err());
        audit.0.as_ref().unwrap().lock().unwrap().file = open(&path).unwrap();
        audit.prepare().await.unwrap();
        assert_eq!(lines(&path).len(), 1, "the missed line");
    }

    #[test]
    fn lines_are_never_longer_than_the_room_for_them() {
        let mut long = change();
        let text = "\u{1}".repeat(100_000);
        long.asked(json!({ "reason": text }).to_string().as_bytes());
        let who = Principal::new(&text, Proof::Password, Rights::default());
        long.who = cut(&who.name);
        long.index = Some(cut(&"ж".repeat(100_000)));
        let long = long.ended(StatusCode::OK, Some(&"é".repeat(100_000)), Duration::ZERO);
        assert!((serde_json::to_string(&long).unwrap().len() as u64) < LINE);
    }

    #[test]
    fn only_an_ordinary_file_will_do() {
        assert!(Audit::open(Some("/dev/full".into())).is_err());
        assert!(Audit::open(Some("/nonexistent/audit".into())).is_err());
    }
}
