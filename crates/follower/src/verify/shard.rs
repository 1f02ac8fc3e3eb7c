//! One shard against its leader's.

use std::collections::{BTreeMap, HashSet};

use slipstream_cluster::{Digests, Fingerprint};
use slipstream_model::{Checkpoint, DocRef, ShardId, Version};
use slipstream_store::Definition;
use slipstream_wire::connect::AgentChannel;
use slipstream_wire::protocol::MAX_MESSAGE_BYTES;
use slipstream_wire::v1;
use slipstream_wire::v1::contents_client::ContentsClient;
use tokio::time::{Duration, Instant, sleep};

use crate::agent::Agent;
use crate::control::{Difference, DifferenceKind};

/// How often documents that differ are looked at again before those that go on changing are left out.
const ROUNDS: u32 = 5;
/// Documents of both sides that are listed at once; where more differ, the first buckets tell enough.
const LISTED: u64 = 16_000;
/// How long a follower may take to reach what the leader had acknowledged.
const CATCH_UP: Duration = Duration::from_mins(1);
const CATCH_UP_LOOK: Duration = Duration::from_millis(100);

/// What was found.
pub(super) struct Verdict {
    /// Documents that the leader holds.
    pub(super) documents: u64,
    /// Documents that differ, and went on doing so.
    pub(super) settled: Settled,
    /// Whether there are differences that were not listed.
    pub(super) more: bool,
}

/// A document as both sides have it: the leader, the follower.
type Pair = (Option<Fingerprint>, Option<Fingerprint>);

/// Documents by id.
pub(super) type Settled = BTreeMap<String, Pair>;

/// Compares one shard. The error says why it cannot be told.
pub(super) async fn compare(sides: &Sides<'_>) -> Result<Verdict, String> {
    let mut suspects = Settled::new();
    for round in 0..ROUNDS {
        let (leader, follower, acknowledged) = sides.digests().await?;
        let documents = leader.documents();
        let (buckets, more) = portion(leader.differing(&follower));
        if buckets.is_empty() {
            return Ok(Verdict {
                documents,
                settled: Settled::new(),
                more: false,
            });
        }
        let found = sides.differing(&buckets).await?;
        // The same two states again, with the follower caught up in between: that stays.
        let mut settled = found.clone();
        settled.retain(|id, pair| suspects.get(id) == Some(pair));
        let changing = found.len() - settled.len();
        if round > 0 && (changing == 0 || round + 1 == ROUNDS) {
            return Ok(Verdict {
                documents,
                more: more && !settled.is_empty(),
                settled,
            });
        }
        suspects = found;
        sides.catch_up(acknowledged).await?;
    }
    Err(format!(
        "[{}][{}] was never looked at",
        sides.definition.follower_index, sides.shard
    ))
}

/// As many buckets as can be listed, at least one; whether some are left out.
fn portion(differing: Vec<(usize, u64)>) -> (Vec<u32>, bool) {
    let all = differing.len();
    let mut documents = 0;
    let taken: Vec<u32> = differing
        .into_iter()
        .take_while(|(_, count)| {
            let first = documents == 0;
            documents += count;
            first || documents <= LISTED
        })
        .map(|(bucket, _)| bucket as u32)
        .collect();
    let more = taken.len() < all;
    (taken, more)
}

pub(super) fn difference(shard: ShardId, id: &str, (leader, follower): &Pair) -> Difference {
    Difference {
        shard: shard.0,
        id: id.to_owned(),
        kind: match (leader, follower) {
            (Some(_), None) => DifferenceKind::Missing,
            (None, Some(_)) => DifferenceKind::Extra,
            _ => DifferenceKind::Different,
        },
        leader_version: leader.as_ref().map(|document| document.version.0),
        follower_version: follower.as_ref().map(|document| document.version.0),
    }
}

/// Both sides of a shard.
pub(super) struct Sides<'a> {
    pub(super) agent: &'a Agent,
    pub(super) definition: &'a Definition,
    pub(super) shard: ShardId,
    pub(super) leader: ContentsClient<AgentChannel>,
}

impl<'a> Sides<'a> {
    pub(super) async fn new(
        agent: &'a Agent,
        definition: &'a Definition,
        shard: ShardId,
    ) -> Result<Sides<'a>, String> {
        let link = agent
            .leader(&definition.leader_alias)
            .map_err(|e| crate::chain(&e))?;
        let connected = link.connect().await.map_err(|e| crate::chain(&e))?;
        Ok(Sides {
            agent,
            definition,
            shard,
            leader: ContentsClient::new(connected.channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
        })
    }

    pub(super) fn request(&self) -> v1::DigestRequest {
        let uuid = self.definition.leader_index_uuid.as_ref();
        v1::DigestRequest {
            index: self.definition.leader_index.to_string(),
            index_uuid: uuid.map(ToString::to_string).unwrap_or_default(),
            shard: self.shard.0,
        }
    }

    /// Both sides' sums, and what the leader had acknowledged before.
    async fn digests(&self) -> Result<(Digests, Digests, Checkpoint), String> {
        let mut client = self.leader.clone();
        let leader = async {
            let reply = client
                .digest(self.request())
                .await
                .map_err(|s| refused(&s))?
                .into_inner();
            let digests = Digests::from_bytes(&reply.buckets);
            let digests = digests.ok_or("the leader agent's answer is not one of this release")?;
            Ok::<_, String>((digests, Checkpoint::new(reply.global_checkpoint)))
        };
        let mut follower = Digests::default();
        let (leader, read) = tokio::join!(leader, self.read(|document| follower.add(&document)));
        read?;
        let (leader, acknowledged) = leader?;
        Ok((leader, follower, acknowledged))
    }

    /// The documents of these buckets that differ.
    async fn differing(&self, buckets: &[u32]) -> Result<Settled, String> {
        let mut client = self.leader.clone();
        let request = v1::FingerprintsRequest {
            of: Some(self.request()),
            buckets: buckets.to_vec(),
        };
        let leader = async { client.list(request).await.map_err(|s| refused(&s)) };
        let wanted: HashSet<usize> = buckets.iter().map(|bucket| *bucket as usize).collect();
        let mut pairs = Settled::new();
        let read = self.read(|document| {
            if wanted.contains(&document.bucket()) {
                let id = document.doc.id.clone();
                pairs.entry(id).or_default().1 = Some(document);
            }
        });
        let (leader, read) = tokio::join!(leader, read);
        read?;
        for document in leader?.into_inner().documents {
            let half = document.digest.first_chunk().copied().unwrap_or_default();
            let document = Fingerprint {
                doc: DocRef {
                    id: document.id,
                    routing: document.routing,
                },
                version: Version(document.version),
                digest: u128::from_be_bytes(half),
            };
            let id = document.doc.id.clone();
            pairs.entry(id).or_default().0 = Some(document);
        }
        pairs.retain(|_, (leader, follower)| leader != follower);
        Ok(pairs)
    }

    async fn read(&self, take: impl FnMut(Fingerprint)) -> Result<(), String> {
        let index = &self.definition.follower_index;
        let read = self.agent.cluster().fingerprints(index, self.shard, take).await;
        read.map(drop)
            .map_err(|e| format!("the target: {}", crate::chain(&e)))
    }

    /// Waits until the follower is where the leader was.
    async fn catch_up(&self, acknowledged: Checkpoint) -> Result<(), String> {
        let begun = Instant::now();
        let index = &self.definition.follower_index;
        loop {
            let status = self.agent.status(index);
            let shard = status
                .as_ref()
                .and_then(|status| status.shards.iter().find(|shard| shard.shard == self.shard.0));
            let durable = shard.map_or(Checkpoint::NONE, |shard| {
                Checkpoint::new(shard.follower_checkpoint)
            });
            if durable >= acknowledged {
                return Ok(());
            }
            if begun.elapsed() >= CATCH_UP {
                return Err(format!(
                    "[{index}][{}] has been {} operations behind its leader for a minute; see its status",
                    self.shard,
                    durable.distance_to(acknowledged)
                ));
            }
            sleep(CATCH_UP_LOOK).await;
        }
    }
}

pub(super) fn refused(status: &tonic::Status) -> String {
    match status.code() {
        tonic::Code::Unimplemented => {
            "the leader agent is of an earlier release that cannot compare or repair: upgrade it".to_owned()
        }
        _ => format!("the leader agent: {}", status.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_everything_differs_a_part_is_listed() {
        assert_eq!(portion(Vec::new()), (Vec::new(), false));
        assert_eq!(portion(vec![(3, 10), (5, 20)]), (vec![3, 5], false));
        let (taken, more) = portion((0..4096).map(|bucket| (bucket, 100)).collect());
        assert_eq!((taken.len(), more), (160, true));
        assert_eq!(portion(vec![(1, LISTED * 2), (2, 1)]), (vec![1], true));
    }
}
