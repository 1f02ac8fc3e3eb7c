//! `INIT`: the state in which the follower index is made, or the decision to have it restored.
//!
//! A start that cannot be carried out at once leaves nothing behind and is refused to who asked for it. Later, and after an answer of the
//! target that says nothing, it is tried until it succeeds or cannot.

use std::time::Duration;

use slipstream_cluster::ClusterError;
use slipstream_model::{Bootstrap, IndexUuid, Phase, Reason};
use slipstream_store::StoreError;
use tokio::time::sleep;
use tracing::Instrument;

use super::describe::{Description, check};
use super::prepare::{PrepareError, prepare};
use super::restore::{Choice, Way, choose};
use super::shield;
use super::task::{By, IndexTask, Next};
use crate::backoff::Backoff;
use crate::control::ControlError;
use crate::metrics;

/// What `INIT` ends with.
enum Made {
    /// The follower index, empty, like the leader's as it was then; and why it gets documents.
    Index(Description, IndexUuid, String),
    /// The decision to begin with files, on this way.
    Restoring(Description, Way),
}

impl IndexTask {
    /// `INIT`: makes the follower index.
    pub(super) async fn init(&mut self) -> Result<Next, StoreError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let attempt = tokio::select! {
                attempt = self.make().instrument(self.bootstrap.clone()) => attempt,
                () = self.context.shutdown.cancelled() => return Ok(Next::End),
            };
            let error = match attempt {
                Ok(made) => {
                    self.waiting_for(None);
                    match made {
                        Made::Index(leader, follower, why) => {
                            self.definition.begun_with = Some(format!("documents: {why}"));
                            self.definition.follower_index_uuid = Some(follower);
                            self.definition.leader_index_uuid = Some(leader.uuid);
                            self.definition.leader_cluster_uuid = Some(leader.cluster);
                            self.definition.shards = leader.shards;
                        }
                        Made::Restoring(leader, way) => {
                            self.definition.begun_with =
                                Some(format!("files: a snapshot of the leader's, {way}"));
                            self.definition.shards = leader.shards;
                            self.definition.restoring = Some(way.folder().to_owned());
                            self.definition.restored_created_at = leader.created_at().map(str::to_owned);
                        }
                    }
                    self.enter(Phase::Bootstrapping, self.definition.reason.clone(), By::Agent)
                        .await?;
                    if let Some(started) = self.started.take() {
                        let _ = started.send(Ok(()));
                    }
                    return Ok(Next::Phase);
                }
                Err(error) => error,
            };
            let error = match error {
                NotMade::Unknown(reason) => {
                    // It may be there although the target's answer is not: forgotten now, its name would be taken for good.
                    if let Some(started) = self.started.take() {
                        let reason = format!("{reason}; it goes on by itself, see _status");
                        let _ = started.send(Err(ControlError::Unavailable(reason)));
                    }
                    ControlError::Unavailable(reason)
                }
                NotMade::No(error) => error,
            };
            if let Some(started) = self.started.take() {
                // A new index that cannot be made at once leaves nothing behind, whoever's fault it is.
                let (store, name) = (self.context.store.clone(), self.definition.follower_index.clone());
                crate::blocking(move || store.remove_index(&name)).await?;
                metrics::state(&self.definition.follower_index, None);
                let _ = started.send(Err(error));
                return Ok(Next::End);
            }
            if let ControlError::Unavailable(reason) = &error {
                self.waiting_for(Some(reason.clone()));
            } else {
                self.enter(Phase::Failed, Reason::new(error.to_string()), By::Agent)
                    .await?;
                return Ok(Next::Phase);
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.context.shutdown.cancelled() => return Ok(Next::End),
                command = self.commands.recv() => match command {
                    Some(command) => {
                        self.command(command).await?;
                        return Ok(Next::Phase);
                    }
                    None => return Ok(Next::End),
                },
            }
        }
    }

    async fn make(&self) -> Result<Made, NotMade> {
        let leader = self.describe_leader().await.map_err(ControlError::from)?;
        check(&self.definition.leader_index, &leader)?;
        let mut why = self.documents_because.clone();
        let documents_would_do = self.definition.bootstrap != Some(Bootstrap::Files);
        if why.is_none() && documents_would_do && self.started.is_none() && self.index_exists().await? {
            why = Some("an earlier life of this agent had made the index for them".to_owned());
        }
        if why.is_none() {
            match choose(&self.context, &self.definition, &leader).await {
                Choice::Files(way) => return Ok(Made::Restoring(leader, way)),
                Choice::Documents(because) => why = Some(because),
                Choice::Neither(error) => return Err(error.into()),
            }
        }
        if self.started.is_none() {
            // Perhaps not the first life that makes it.
            shield::lower(&self.context.cluster, &self.definition.follower_index)
                .await
                .map_err(|error| silent(&error))?;
        }
        let uuid = prepare(
            &self.context.cluster,
            &self.definition.follower_index,
            &self.definition.leader_index,
            &leader,
            &self.definition.overrides,
        )
        .await?;
        Ok(Made::Index(leader, uuid, why.unwrap_or_default()))
    }
}

impl IndexTask {
    async fn index_exists(&self) -> Result<bool, ControlError> {
        let exists = self.context.cluster.exists(&self.definition.follower_index).await;
        exists.map_err(|error| silent(&error))
    }
}

fn silent(error: &ClusterError) -> ControlError {
    ControlError::Unavailable(format!("the target cluster: {}", crate::chain(error)))
}

/// Why there is no follower index.
enum NotMade {
    /// It was not made.
    No(ControlError),
    /// The target did not say whether it was, but in these words that it cannot be asked.
    Unknown(String),
}

impl From<ControlError> for NotMade {
    fn from(error: ControlError) -> Self {
        NotMade::No(error)
    }
}

impl From<PrepareError> for NotMade {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Target { .. } => NotMade::Unknown(crate::chain(&error)),
            error => NotMade::No(error.into()),
        }
    }
}
