//! Indices on the leader, each replicated into one of the target.

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

use crate::agents::{Agents, Reader};
use crate::rest::Rest;
use crate::world::World;

/// Indices that are created or removed at once.
const AT_ONCE: usize = 3;

/// The indices.
pub(crate) struct Field {
    /// The leader's cluster.
    pub(crate) leader: Rest,
    /// The target.
    pub(crate) target: Rest,
    /// The name of each on the leader, and on the target.
    pub(crate) indices: Vec<(String, String)>,
}

impl Field {
    /// Creates and follows them. Every shard is served by the translog reader then.
    pub(crate) async fn plant(
        world: &World,
        agents: &Agents,
        indices: usize,
        definition: &Value,
    ) -> Result<Field> {
        let names = |_| (world.name("tailed"), world.name("tailed-copy"));
        let field = Field {
            leader: world.leader.rest.clone(),
            target: world.target.rest.clone(),
            indices: (0..indices).map(names).collect(),
        };
        let follow = field.indices.iter().map(async |(index, copy)| {
            field.leader.put(&format!("/{index}"), definition).await?;
            agents.follow(copy, index).await.map(drop)
        });
        at_once(follow).await?;
        field.check(agents).await?;
        Ok(field)
    }

    /// The tail must serve, or it is something else that is measured.
    pub(crate) async fn check(&self, agents: &Agents) -> Result<()> {
        for (_, copy) in &self.indices {
            agents.served_by(Reader::Translog, copy).await?;
        }
        Ok(())
    }

    /// Removes them from both sides.
    pub(crate) async fn clear(&self, agents: &Agents) -> Result<()> {
        let leave = self.indices.iter().map(async |(index, copy)| {
            agents.leave(&self.target, copy).await?;
            self.leader.delete_index(index).await
        });
        at_once(leave).await
    }
}

async fn at_once(work: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}
