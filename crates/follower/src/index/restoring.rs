//! `BOOTSTRAPPING` with files: the state in which an index is being restored rather than written.
//!
//! The definition says so before anything is begun and until all that an attempt has left is cleared up, so a later life does that and
//! begins anew. A command ends the attempt: it is stored first, like every transition, and clearing up is the first thing that the
//! state after it does, in this life or a later one. An attempt that fails is made once more if the reason may pass; then the
//! index begins with documents, and says why, unless the operator wants it with files or not at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{Bootstrap, Phase, Reason, event};
use slipstream_store::StoreError;
use tokio::time::sleep;

use super::restore::{Progress, RestoreError, Restoring};
use super::task::{By, IndexTask, Next};
use crate::backoff::Backoff;
use crate::lock;
use crate::metrics;

/// Attempts before documents.
const ATTEMPTS: u32 = 2;

impl IndexTask {
    pub(super) async fn restore(&mut self) -> Result<Next, StoreError> {
        let Some(folder) = self.definition.restoring.clone() else {
            return Ok(Next::Phase);
        };
        let progress = Arc::new(Progress::default());
        lock(&self.view.live).files = Some(Arc::clone(&progress));
        let next = self.restore_through(folder, &progress).await;
        lock(&self.view.live).files = None;
        next
    }

    async fn restore_through(&mut self, folder: PathBuf, progress: &Progress) -> Result<Next, StoreError> {
        let (context, definition) = (self.context.clone(), self.definition.clone());
        let restoring = Restoring::new(&context, &definition, &folder);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let (mut attempts, mut pause) = (0, Duration::ZERO);
        let failure = loop {
            let attempt = async {
                sleep(pause).await;
                restoring.run(progress).await
            };
            let error = tokio::select! {
                restored = attempt => match restored {
                    Ok((leader, follower)) => {
                        self.definition.follower_index_uuid = Some(follower);
                        self.definition.leader_index_uuid = Some(leader.uuid);
                        self.definition.leader_cluster_uuid = Some(leader.cluster);
                        self.definition.restoring = None;
                        self.definition.restored_created_at = None;
                        self.save().await?;
                        metrics::restored(true);
                        tracing::info!(index = %definition.follower_index, "restored from the leader's files");
                        return Ok(Next::Phase);
                    }
                    Err(RestoreError::Store(error)) => return Err(error),
                    Err(error) => error,
                },
                () = self.context.shutdown.cancelled() => return Ok(Next::End),
                command = self.commands.recv() => {
                    let Some(command) = command else { return Ok(Next::End) };
                    self.command(command).await?;
                    return Ok(Next::Phase);
                }
            };
            let reason = crate::chain(&error);
            if error.target_is_away() {
                // Documents would not arrive either.
                tracing::debug!(index = %definition.follower_index, reason, "the restore waits for the target");
                progress.wait_for(Some(reason));
                pause = backoff.next();
                continue;
            }
            attempts += 1;
            metrics::restored(false);
            tracing::warn!(event = event::FILES_FAILED, index = %definition.follower_index, reason, attempts, "an index could not begin with the leader's files");
            if let RestoreError::Settings(_) = error {
                self.enter(Phase::Failed, Reason::new(reason), By::Agent).await?;
                return Ok(Next::Phase);
            }
            if attempts == ATTEMPTS {
                break reason;
            }
            pause = backoff.next();
        };
        if self.definition.bootstrap == Some(Bootstrap::Files) {
            let why = format!("it was to begin with files, and {failure}");
            self.enter(Phase::Failed, Reason::new(why), By::Agent).await?;
        } else {
            self.documents_because = Some(format!("files were tried, {failure}"));
            self.enter(Phase::Init, self.definition.reason.clone(), By::Agent)
                .await?;
        }
        Ok(Next::Phase)
    }

    /// The beginning of any other state while something of a restore is left: removes it, as long as that takes; the target may
    /// be away.
    pub(super) async fn clear_up(&mut self) -> Result<Next, StoreError> {
        let Some(folder) = self.definition.restoring.clone() else {
            return Ok(Next::Phase);
        };
        let (context, definition, view) = (
            self.context.clone(),
            self.definition.clone(),
            Arc::clone(&self.view),
        );
        let restoring = Restoring::new(&context, &definition, &folder);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let cleared = async {
            loop {
                let error = match restoring.clear().await {
                    Ok(()) => return Ok(()),
                    Err(RestoreError::Store(error)) => return Err(error),
                    Err(error) => error,
                };
                let reason = crate::chain(&error);
                tracing::debug!(index = %definition.follower_index, reason, "clearing up after a restore is tried again");
                lock(&view.live).waiting_for = Some(reason);
                sleep(backoff.next()).await;
            }
        };
        tokio::select! {
            cleared = cleared => cleared?,
            () = self.context.shutdown.cancelled() => return Ok(Next::End),
            command = self.commands.recv() => {
                let Some(command) = command else { return Ok(Next::End) };
                self.command(command).await?;
                return Ok(Next::Phase);
            }
        }
        self.waiting_for(None);
        self.definition.restoring = None;
        self.definition.restored_created_at = None;
        self.save().await?;
        Ok(Next::Phase)
    }
}
