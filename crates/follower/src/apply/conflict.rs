//! Winning a version conflict: the leader's order is by sequence number, the target's by version, and after a delete and
//! a create the leader's versions start again below what the target has.
//!
//! The session drops operations older than what it has already sent, so a conflict means that the target's version is of an earlier life of
//! the document. Or else an earlier run of the agent had sent what comes again behind this, and died before it had remembered it.
//!
//! One delete (also of a document that is not there) makes a tombstone; with `gc_deletes: 0s` it is forgotten within a few
//! hundred milliseconds, and then any version is taken.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::outcome::Leftover;
use super::{ApplyError, Lane, Write};
use crate::metrics;

/// Between two tries while a tombstone is remembered.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Tombstones were forgotten within 0.4 s; after this long something else is writing to the document.
const GIVE_UP: Duration = Duration::from_secs(30);
/// After this long another tombstone is worth a try: somebody may have written in between.
const DELETE_AGAIN: Duration = Duration::from_secs(5);

impl Lane {
    /// Puts each of these writes over whatever version the target has.
    pub(super) async fn win_conflicts(&self, mut writes: Vec<Write>) -> Result<(), ApplyError> {
        let begun = Instant::now();
        let mut deleted: Option<Instant> = None;
        metrics::version_restarts(writes.len());
        while !writes.is_empty() {
            if deleted.is_none_or(|at| at.elapsed() > DELETE_AGAIN) {
                let deletes = writes.iter().map(|w| match w {
                    Write::Op(op) => Write::Gone(op.seq_no, op.doc.clone()),
                    delete @ (Write::Gone(..) | Write::Foreign(_)) => delete.clone(),
                });
                self.until_applied(deletes.collect()).await?;
                deleted = Some(Instant::now());
            }
            sleep(TRY_AGAIN).await;
            let leftover = self.checked(self.send(writes).await?)?;
            // Both are in order and of different documents.
            writes = leftover.conflicts;
            writes.extend(leftover.again);
            if begun.elapsed() > GIVE_UP
                && let Some(write) = writes.first()
            {
                let reason =
                    "the target keeps a higher version of it: something else writes to the follower index";
                return Err(self.rejected(write, reason.to_owned()));
            }
        }
        Ok(())
    }

    /// Sends deletes until none is left. A conflict cannot happen to a delete without a version.
    async fn until_applied(&self, mut writes: Vec<Write>) -> Result<(), ApplyError> {
        while !writes.is_empty() {
            let leftover = self.checked(self.send(writes).await?)?;
            writes = leftover.again;
            writes.extend(leftover.conflicts);
            if !writes.is_empty() {
                sleep(TRY_AGAIN).await;
            }
        }
        Ok(())
    }

    fn checked(&self, leftover: Leftover) -> Result<Leftover, ApplyError> {
        if leftover.index_missing {
            return Err(ApplyError::IndexMissing(self.context.shard.clone()));
        }
        if let Some((write, error)) = &leftover.rejected {
            return Err(self.rejected(write, format!("{}: {}", error.kind, error.reason)));
        }
        Ok(leftover)
    }
}
