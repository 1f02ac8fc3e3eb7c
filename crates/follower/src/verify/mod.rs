//! Is the follower equal to its leader? Both sides read all their documents and compare sums over buckets of ids; where
//! those differ, the documents one by one.
//!
//! A running index is never quite equal: what is on its way differs, and so does what changes between the two readings.
//! So a difference counts only if, after the follower has caught up with what the leader had acknowledged, the very same
//! two states are found again. What has changed meanwhile is looked at again, a few times; if it goes on changing, the
//! document is left out: it cannot be told and is not wrong.
//!
//! With a repair, what differs is put right ([`repair`]) and compared again; the result is what is left then.
//!
//! Costs both clusters one reading of the index, and another where something differed, and a repair one of the leader. One comparison an index at a
//! time; the last result stays until the agent ends.

mod repair;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use slipstream_model::moment::now_millis;
use slipstream_model::{IndexName, ShardId, event};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::shard::{Sides, compare, difference};
use crate::agent::Agent;
use crate::control::{ControlError, RepairStatus, VerifyOutcome, VerifyStatus};
use crate::lock;

/// How often what differs in a shard is put right and compared again: a part at a time where much differs.
const REPAIRS: u32 = 10;
/// Differences that are kept to be shown.
const SHOWN: usize = 1_000;

/// All comparisons of an agent.
pub(crate) struct Verifications {
    agent: Arc<Agent>,
    known: Mutex<BTreeMap<IndexName, Arc<Mutex<Record>>>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct Record {
    status: VerifyStatus,
    begun: Instant,
}

impl Verifications {
    pub(crate) fn new(agent: Arc<Agent>, shutdown: CancellationToken) -> Self {
        Verifications {
            agent,
            known: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    /// Begins a comparison, unless one is under way; with `repair`, what differs is put right.
    pub(crate) fn begin(&self, index: &IndexName, repair: bool) -> Result<(), ControlError> {
        let following = self.agent.status(index);
        let following = following.ok_or_else(|| ControlError::NotReplicating(index.clone()))?;
        let mut known = lock(&self.known);
        if let Some(record) = known.get(index)
            && lock(record).status.outcome == VerifyOutcome::Running
        {
            return if repair {
                Err(ControlError::Invalid(format!(
                    "[{index}] is being compared already: ask for the repair once that has ended"
                )))
            } else {
                Ok(())
            };
        }
        let record = Arc::new(Mutex::new(Record {
            status: VerifyStatus {
                follower_index: index.clone(),
                outcome: VerifyOutcome::Running,
                reason: None,
                shards_done: 0,
                shards: following.shards.len() as u32,
                documents: 0,
                differences: Vec::new(),
                more_differences: false,
                repaired: repair.then(RepairStatus::default),
                started_at_millis: now_millis(),
                took_millis: 0,
            },
            begun: Instant::now(),
        }));
        known.insert(index.clone(), Arc::clone(&record));
        drop(known);
        let (agent, index, shutdown) = (Arc::clone(&self.agent), index.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                outcome = work(&agent, &index, &record, repair) => outcome,
                () = shutdown.cancelled() => Err("the agent is ending".to_owned()),
            };
            let mut record = lock(&record);
            record.status.took_millis = record.begun.elapsed().as_millis() as u64;
            record.status.outcome = match &outcome {
                Err(_) => VerifyOutcome::Unknown,
                Ok(()) if record.status.differences.is_empty() => VerifyOutcome::Equal,
                Ok(()) => VerifyOutcome::Different,
            };
            tell(&record.status, outcome.as_ref().err().map(String::as_str));
            record.status.reason = outcome.err();
        });
        Ok(())
    }

    /// The last comparison of an index.
    pub(crate) fn status(&self, index: &IndexName) -> Option<VerifyStatus> {
        let record = lock(&self.known).get(index).cloned()?;
        let record = lock(&record);
        let mut status = record.status.clone();
        if status.outcome == VerifyOutcome::Running {
            status.took_millis = record.begun.elapsed().as_millis() as u64;
        }
        Some(status)
    }

    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn tell(found: &VerifyStatus, reason: Option<&str>) {
    if let Some(RepairStatus { written, deleted }) = found.repaired
        && written + deleted > 0
    {
        let index = &found.follower_index;
        tracing::warn!(event = event::VERIFY_REPAIRED, %index, written, deleted, "put right what differed from the leader");
    }
    let (index, documents, differences) = (&found.follower_index, found.documents, found.differences.len());
    match found.outcome {
        VerifyOutcome::Different => {
            tracing::warn!(event = event::VERIFY_DIFFERENT, %index, documents, differences, "differs from the leader");
        }
        VerifyOutcome::Equal => {
            tracing::info!(event = event::VERIFY_EQUAL, %index, documents, "equals the leader");
        }
        VerifyOutcome::Running | VerifyOutcome::Unknown => {
            tracing::warn!(event = event::VERIFY_UNTOLD, %index, reason, "could not be compared with the leader");
        }
    }
}

/// Compares shard after shard. The error says why it cannot be told.
async fn work(agent: &Agent, index: &IndexName, record: &Mutex<Record>, repair: bool) -> Result<(), String> {
    let definition = agent
        .definition(index)
        .ok_or_else(|| format!("[{index}] does not follow any more"))?;
    lock(record).status.shards = definition.shards;
    for number in 0..definition.shards {
        let shard = ShardId(number);
        let sides = Sides::new(agent, &definition, shard).await?;
        let mut found = compare(&sides).await?;
        for _ in 0..REPAIRS {
            if !repair || found.settled.is_empty() {
                break;
            }
            let done = sides.repair(found.settled).await?;
            if let Some(repaired) = &mut lock(record).status.repaired {
                repaired.written += done.written;
                repaired.deleted += done.deleted;
            }
            found = compare(&sides).await?;
        }
        let status = &mut lock(record).status;
        status.shards_done += 1;
        status.documents += found.documents;
        let room = SHOWN.saturating_sub(status.differences.len());
        status.more_differences |= found.more || found.settled.len() > room;
        let differences = found.settled.iter().map(|(id, pair)| difference(shard, id, pair));
        status.differences.extend(differences.take(room));
    }
    Ok(())
}
