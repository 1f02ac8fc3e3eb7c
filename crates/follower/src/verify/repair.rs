//! Putting right what a comparison found: the leader's documents are fetched and written again, others deleted, through the
//! sessions of the shards ([`crate::shard::Repair`]), so that nothing newer that arrives meanwhile is undone.

use slipstream_model::ShardId;
use slipstream_wire::{decode_batch, v1};
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep, timeout};

use super::shard::{Settled, Sides, refused};
use crate::shard::{Repair, Repaired};

/// How long a repair may wait for its shard's stream and for the target.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long to leave a session alone that had no time for it.
const AGAIN: Duration = Duration::from_millis(500);
/// How often it is asked.
const TRIES: u32 = 60;

impl Sides<'_> {
    /// Puts documents right. How many were written and deleted may be less than asked for: what has changed meanwhile is
    /// left to the stream. The error says why it cannot be done.
    pub(super) async fn repair(&self, settled: Settled) -> Result<Repaired, String> {
        let mut ids = Vec::new();
        let mut foreign = Vec::new();
        for (id, pair) in settled {
            match pair {
                (Some(_), _) => ids.push(id),
                (None, Some(document)) => foreign.push(document.doc),
                (None, None) => {}
            }
        }
        let mut sum = Repaired::default();
        loop {
            let fetched = self.fetch(&ids).await?;
            let batch = fetched.batch.unwrap_or_default();
            let metadata = batch.metadata.unwrap_or_default();
            let ops = decode_batch(batch)
                .map_err(|e| format!("documents arrived damaged: {}", crate::chain(&e)))?;
            let got: std::collections::HashSet<String> = ops.iter().map(|op| op.doc.id.clone()).collect();
            let make = |reply| Repair {
                ops: ops.clone(),
                history: fetched.history_uuid.as_str().into(),
                metadata,
                foreign: foreign.clone(),
                reply,
            };
            let done = self.carried_out(make).await?;
            sum.written += done.written;
            sum.deleted += done.deleted;
            foreign.clear();
            ids.retain(|id| !got.contains(id));
            if !fetched.more || got.is_empty() || ids.is_empty() {
                return Ok(sum);
            }
        }
    }

    async fn fetch(&self, ids: &[String]) -> Result<v1::DocumentsReply, String> {
        let request = v1::DocumentsRequest {
            of: Some(self.request()),
            ids: ids.to_vec(),
        };
        let reply = self.leader.clone().documents(request).await;
        Ok(reply.map_err(|status| refused(&status))?.into_inner())
    }

    /// Hands a repair to the shard's session, again where that had no time for it or ended.
    async fn carried_out(
        &self,
        make: impl Fn(oneshot::Sender<Result<Repaired, &'static str>>) -> Repair,
    ) -> Result<Repaired, String> {
        let (index, shard): (_, ShardId) = (&self.definition.follower_index, self.shard);
        let mut why = "its stream ended in between";
        for _ in 0..TRIES {
            let Some(repairs) = self.agent.repairs(index, shard) else {
                return Err(format!(
                    "[{index}] does not run, and only a running index can be repaired: resume it first"
                ));
            };
            let (reply, answer) = oneshot::channel();
            let told = timeout(PATIENCE, async {
                repairs.send(make(reply)).await.ok()?;
                answer.await.ok()
            });
            match told.await {
                Ok(Some(Ok(done))) => return Ok(done),
                Ok(Some(Err(not_now))) => why = not_now,
                Ok(None) => why = "its stream ended in between",
                Err(_) => {
                    return Err(format!(
                        "the repair of [{index}][{shard}] was not carried out within {PATIENCE:?}; see its status"
                    ));
                }
            }
            sleep(AGAIN).await;
        }
        Err(format!("[{index}][{shard}] cannot be repaired now: {why}"))
    }
}
