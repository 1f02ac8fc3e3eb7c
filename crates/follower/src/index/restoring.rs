//! `BOOTSTRAPPING` with files: the state in which an index is being restored rather than written.
//!
//! The definition says so before anything is begun, so a later life clears up and begins anew. A command ends the attempt and
//! what is left of it first. An attempt that fails is made once more if the reason may pass; then the index begins with documents,
//! and says why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{Phase, event};
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
        let mut attempts = 0;
        let failure = loop {
            let error = tokio::select! {
                restored = restoring.run(progress) => match restored {
                    Ok((leader, follower)) => {
                        self.definition.follower_index_uuid = Some(follower);
                        self.definition.leader_index_uuid = Some(leader.uuid);
                        self.definition.leader_cluster_uuid = Some(leader.cluster);
                        self.definition.restoring = None;
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
                    self.clear(&restoring).await;
                    self.definition.restoring = None;
                    self.command(command).await?;
                    if self.definition.phase == Phase::Bootstrapping {
                        // It goes on: an update, or a resume of what runs.
                        self.definition.restoring = Some(folder);
                        self.save().await?;
                    }
                    return Ok(Next::Phase);
                }
            };
            attempts += 1;
            metrics::restored(false);
            let reason = crate::chain(&error);
            tracing::warn!(event = event::FILES_FAILED, index = %definition.follower_index, reason, attempts, "an index could not begin with the leader's files");
            if attempts == ATTEMPTS {
                break reason;
            }
            sleep(backoff.next()).await;
        };
        self.clear(&restoring).await;
        self.documents_because = Some(format!("files were tried, {failure}"));
        self.definition.restoring = None;
        self.enter(Phase::Init, self.definition.reason.clone(), By::Agent)
            .await?;
        Ok(Next::Phase)
    }

    /// Clears up, as long as it takes; the target may be away. What a shutdown leaves, the next life clears up.
    async fn clear(&self, restoring: &Restoring<'_>) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while let Err(error) = restoring.clear().await {
            let reason = crate::chain(&error);
            self.waiting_for(Some(reason.clone()));
            tracing::debug!(index = %self.definition.follower_index, reason, "clearing up after a restore is tried again");
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.context.shutdown.cancelled() => return,
            }
        }
        self.waiting_for(None);
    }
}
