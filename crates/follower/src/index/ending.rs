//! The end of following: the index becomes an ordinary one, or goes with its leader index.
//!
//! A follower is deleted only if the operator has switched that on and the leader has said twice, the second time when asked
//! for just that, that its index is gone. The decision is stored before anything is deleted, so that a crash at any point goes on with
//! it; what is deleted is the index that following had made, never another one that has its name by then.

use std::time::Duration;

use slipstream_cluster::ClusterError;
use slipstream_model::{Phase, Reason, event};
use slipstream_store::StoreError;
use tokio::time::{sleep, timeout};

use super::describe::is_deleted;
use super::release::{delete, release};
use super::task::{By, IndexTask, Next};
use crate::backoff::Backoff;
use crate::control::DELETE_INDEX;
use crate::{lock, metrics};

/// How long a stop asks the leader for its settings.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl IndexTask {
    /// Whether the follower is to go with its leader index, which is said to be deleted: the operator wants it, and the leader
    /// says it once more when asked for just that. Where it cannot be asked the index is held, and nothing is lost.
    pub(super) async fn deletes_with_leader(&self) -> bool {
        let wanted = lock(&self.context.switches)
            .get(DELETE_INDEX)
            .is_some_and(|on| on == "true");
        let (true, Some(cluster)) = (wanted, &self.definition.leader_cluster_uuid) else {
            return false;
        };
        let Ok(link) = self.context.leaders.link(&self.definition.leader_alias) else {
            return false;
        };
        let deleted = is_deleted(&link, cluster, &self.definition.leader_index);
        timeout(LAST_WORDS, deleted).await.unwrap_or(false)
    }

    /// `STOPPING`: the follower index becomes an ordinary one, or is deleted with its leader.
    pub(super) async fn end(&mut self) -> Result<Next, StoreError> {
        let name = self.definition.follower_index.clone();
        let released = self.let_go().await;
        match released {
            None => return Ok(Next::End),
            Some(Ok(())) => {}
            Some(Err(error)) if self.definition.delete_follower => {
                self.definition.delete_follower = false;
                let why = format!(
                    "its leader index was deleted, and it could not be: {}",
                    crate::chain(&error)
                );
                self.enter(Phase::Paused, Reason::new(why), By::Agent).await?;
                return Ok(Next::Phase);
            }
            Some(Err(error)) => {
                tracing::warn!(index = %name, error = crate::chain(&error), "settings could not be put back");
            }
        }
        let (store, index) = (self.context.store.clone(), name.clone());
        self.context.scribe.forget(&index).await;
        crate::blocking(move || store.remove_index(&index)).await?;
        metrics::state(&name, None);
        tracing::info!(event = event::INDEX_STOPPED, index = %name, "stopped");
        if let Some(reply) = self.started.take() {
            let _ = reply.send(Ok(()));
        }
        Ok(Next::End)
    }

    /// Lets the follower index go, as long as it takes the target to answer; `None` where the agent ends first. The error is the
    /// target's refusal.
    async fn let_go(&mut self) -> Option<Result<(), ClusterError>> {
        let Some(made) = self.definition.follower_index_uuid.clone() else {
            return Some(Ok(()));
        };
        let mut settings = None;
        if !self.definition.delete_follower {
            let leader = timeout(LAST_WORDS, self.describe_leader())
                .await
                .ok()
                .and_then(Result::ok);
            let known = self.definition.leader_index_uuid.as_ref();
            let leader = leader.filter(|leader| Some(&leader.uuid) == known);
            settings = leader.map(|leader| leader.settings);
        }
        let cluster = self.context.cluster.clone();
        let (name, overrides) = (
            self.definition.follower_index.clone(),
            self.definition.overrides.clone(),
        );
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let outcome = if self.definition.delete_follower {
                delete(&cluster, &name, &made).await
            } else {
                release(&cluster, &name, settings.as_ref(), &overrides)
                    .await
                    .map(drop)
            };
            match outcome {
                Err(error) if error.is_transient() => {
                    self.waiting_for(Some(format!("the target: {}", crate::chain(&error))));
                }
                outcome => return Some(outcome),
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.context.shutdown.cancelled() => return None,
            }
        }
    }
}
