//! Where the shards of the leader's indices are, asked of any of its agents and shared by the sessions of an index.
//!
//! Placement only makes the choice better. Where no agent tells, in a few seconds, sessions go on without.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_model::{IndexName, ShardId};
use slipstream_wire::v1;
use tokio::time::timeout;
use tonic::Code;

use super::agents::Met;
use super::catalog;
use super::choice::Holders;
use super::shared::{Asker, Shared};

/// How long an agent may take to say where the shards of an index are.
const LOCATE_DEADLINE: Duration = Duration::from_secs(2);
/// Agents that are asked before an index's placement counts as unknown.
const MOST_ASKED: usize = 2;
/// An index that nobody asked about for this long is forgotten, with the next new one.
const KEPT: Duration = Duration::from_mins(1);

/// The holders of each shard of an index; what has no started copy is absent.
pub(super) type Places = BTreeMap<ShardId, Holders>;

type Slot = Shared<Option<Arc<Places>>>;

/// What was told, by index.
#[derive(Default)]
pub(super) struct Placements(Mutex<HashMap<IndexName, Arc<Slot>>>);

impl Placements {
    /// Where the shards of an index are; `None` if that cannot be found out.
    pub(super) async fn of(&self, index: &IndexName, asker: Asker<'_>, met: &[Met]) -> Option<Arc<Places>> {
        self.slot(index).get(asker, || locate(index, met)).await
    }

    fn slot(&self, index: &IndexName) -> Arc<Slot> {
        let mut slots = crate::lock(&self.0);
        if let Some(slot) = slots.get(index) {
            return Arc::clone(slot);
        }
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.in_use(KEPT));
        Arc::clone(slots.entry(index.clone()).or_default())
    }
}

async fn locate(index: &IndexName, met: &[Met]) -> Option<Arc<Places>> {
    // An agent that names its node knows the call.
    for agent in met
        .iter()
        .filter(|met| !met.hello.node_id.is_empty())
        .take(MOST_ASKED)
    {
        let request = v1::LocateRequest {
            index: index.to_string(),
        };
        let told = match timeout(LOCATE_DEADLINE, catalog(&agent.channel).locate(request)).await {
            Ok(Ok(placement)) => return Some(Arc::new(places(placement.into_inner()))),
            Ok(Err(status)) => status,
            Err(_) => tonic::Status::deadline_exceeded("it took too long"),
        };
        tracing::debug!(
            %index, agent = agent.agent, code = ?told.code(), reason = told.message(),
            "an agent does not tell where the shards of an index are"
        );
        // What is wrong with the index itself, the stream will say.
        if matches!(told.code(), Code::NotFound | Code::PermissionDenied) {
            return None;
        }
    }
    None
}

fn places(placement: v1::Placement) -> Places {
    let shards = placement.shards.into_iter().map(|shard| {
        let (primary, replicas): (Vec<_>, Vec<_>) = shard.copies.into_iter().partition(|copy| copy.primary);
        let holders = Holders {
            primary: primary.into_iter().next().map(|copy| copy.node_id),
            replicas: replicas.into_iter().map(|copy| copy.node_id).collect(),
        };
        (ShardId(shard.shard), holders)
    });
    shards.collect()
}
