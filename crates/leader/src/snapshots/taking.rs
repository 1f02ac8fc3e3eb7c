//! One follower's stream: what there is of a snapshot as it grows, and all of it once it is acknowledged history.

use std::sync::Arc;
use std::time::Duration;

use slipstream_model::IndexName;
use slipstream_model::words::chain;
use slipstream_wire::v1;
use slipstream_wire::v1::take_reply::Reply;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::group::{Blobs, Membership, Stage, Survey};
use super::making::{TakeError, survey};
use super::pause;
use crate::authorise::Caller;
use crate::server::Agent;

/// The follower hears from a snapshot at least this often.
const ALIVE: Duration = Duration::from_secs(5);
/// How long what the snapshot holds may take to be acknowledged. The engines' slowest way, under `async` durability, is 30 s.
const ACKNOWLEDGED: Duration = Duration::from_mins(1);

type Replies = mpsc::Sender<Result<v1::TakeReply, Status>>;

/// Tells of a snapshot as long as the follower listens.
pub(super) async fn take(agent: &Agent, membership: Membership, caller: &Caller, replies: Replies) {
    let index = membership.index.clone();
    let told = async {
        let Err(why) = tell(agent, &membership, &replies).await;
        if let Some(why) = why {
            tracing::warn!(identity = %caller, %index, why, "a follower gets no snapshot");
            let _ = replies.send(Err(Status::aborted(why))).await;
        }
    };
    tokio::select! {
        () = told => {}
        () = replies.closed() => {}
        () = agent.shutdown.cancelled() => {
            let _ = replies.try_send(Err(crate::cause::shutting_down()));
        }
    }
}

/// Ends with why there is none, or with nothing if nobody listens.
async fn tell(
    agent: &Agent,
    membership: &Membership,
    replies: &Replies,
) -> Result<std::convert::Infallible, Option<String>> {
    let Membership { group, index } = membership;
    let mut changes = group.watch();
    let mut told = Blobs::new();
    let mut all_told = false;
    // Set once: the acknowledgement is waited for while files are told of.
    let mut waiting: Option<std::pin::Pin<Box<_>>> = None;
    loop {
        changes.borrow_and_update();
        let view = group.view(index).ok_or(None)?;
        if let Stage::Failed(why) = view.stage {
            return Err(Some(why));
        }
        if view.stage == Stage::Complete && view.acknowledged && !all_told {
            let Some(before) = &view.before else {
                return Err(Some("a fault in this agent: it has no places".to_owned()));
            };
            let snapshot = v1::Snapshot {
                name: group.name.clone(),
                blobs: listed(agent, view.blobs.iter()),
                places: places(before),
            };
            send(replies, Reply::Snapshot(snapshot)).await?;
            all_told = true;
        }
        if !all_told {
            let more = view
                .blobs
                .iter()
                .filter(|(path, length)| told.get(*path) < Some(length));
            let more = listed(agent, more);
            if !more.is_empty() {
                told.clone_from(&view.blobs);
                let growing = v1::Growing {
                    name: group.name.clone(),
                    blobs: more,
                };
                send(replies, Reply::Growing(growing)).await?;
            }
            if view.stage == Stage::Complete
                && waiting.is_none()
                && let Some(before) = view.before
            {
                waiting = Some(Box::pin(async move { acknowledged(agent, index, &before).await }));
            }
        }
        let acknowledging = async {
            match &mut waiting {
                Some(waiting) if !all_told => waiting.await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender lives as long as the group.
            _ = changes.changed() => {}
            done = acknowledging => {
                waiting = None;
                match done {
                    Ok(()) => group.acknowledge(index),
                    Err(error) => group.surveyed(index, Err(chain(&error))),
                }
            }
            () = sleep(ALIVE) => send(replies, Reply::Alive(v1::take_reply::Alive {})).await?,
        }
    }
}

async fn send(replies: &Replies, reply: Reply) -> Result<(), Option<String>> {
    let reply = v1::TakeReply { reply: Some(reply) };
    replies.send(Ok(reply)).await.map_err(|_| None)
}

fn listed<'a>(agent: &Agent, blobs: impl Iterator<Item = (&'a String, &'a u64)>) -> Vec<v1::Blob> {
    let sums = &agent.snapshots.0.sums;
    let listed = blobs.map(|(path, length)| v1::Blob {
        path: path.clone(),
        length: *length,
        crc32: sums.of(path, *length),
    });
    listed.collect()
}

fn places(before: &Survey) -> Vec<v1::Place> {
    let places = before.stats.shards.iter().map(|(shard, stats)| v1::Place {
        shard: shard.0,
        global_checkpoint: stats.global_checkpoint.0.get(),
        history_uuid: stats.history_uuid.to_string(),
    });
    places.collect()
}

/// Waits until everything that the snapshot may hold is acknowledged, under the primaries of before. What a primary has written and
/// not yet replicated is in it too; had that primary died, other operations could have taken those sequence numbers, and nothing
/// that follows would ever have told.
async fn acknowledged(agent: &Agent, index: &IndexName, before: &Arc<Survey>) -> Result<(), TakeError> {
    let after = survey(agent, index).await?;
    let begun = Instant::now();
    loop {
        let now = survey(agent, index).await?;
        let mut behind = None;
        for (shard, held) in &after.stats.shards {
            let same = |survey: &Survey| {
                let term = survey.state.primary_terms.get(shard);
                let history = survey.stats.shards.get(shard).map(|stats| &stats.history_uuid);
                term == before.state.primary_terms.get(shard)
                    && history == before.stats.shards.get(shard).map(|stats| &stats.history_uuid)
            };
            if !same(&now) || now.state.uuid != before.state.uuid {
                return Err(TakeError::Moved {
                    index: index.clone(),
                    shard: *shard,
                });
            }
            let stands = now.stats.shards.get(shard).map(|stats| stats.global_checkpoint.0);
            if stands.is_none_or(|stands| stands < held.max_seq_no) {
                behind = Some(*shard);
            }
        }
        let Some(shard) = behind else { return Ok(()) };
        if begun.elapsed() > ACKNOWLEDGED {
            return Err(TakeError::Unacknowledged {
                index: index.clone(),
                shard,
            });
        }
        // Under `async` durability it moves with the next action only.
        agent.watch.cluster().refresh(index).await?;
        sleep(pause(begun)).await;
    }
}
