//! The leaders that are registered, and connections to their agents.
//!
//! An alias names one cluster that has one agent or several. Connections are made when the first session needs them and
//! shared by all. Any agent that answers can tell about the cluster ([`LeaderLink::connect`]); a shard's stream goes to
//! the agent that can read the shard's files, if there is one ([`LeaderLink::connect_for`]), and because shards move, a
//! session can ask now and then whether another agent can by now ([`LeaderLink::better_agent`]).

mod agents;
mod choice;
mod placement;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_model::ShardKey;
use slipstream_wire::Certificate;
use slipstream_wire::connect::{AgentChannel, HelloError};
use slipstream_wire::protocol::MAX_MESSAGE_BYTES;
use slipstream_wire::tls::ClientTls;
use slipstream_wire::v1;
use slipstream_wire::v1::catalog_client::CatalogClient;
use slipstream_wire::v1::changes_client::ChangesClient;
use slipstream_wire::v1::snapshots_client::SnapshotsClient;
use thiserror::Error;
use tokio::time::timeout;

use self::agents::{Agents, Met};
use self::choice::Holders;
use self::placement::Placements;
use self::shared::Asker;
use crate::control::Leaders;
use crate::lock;
use crate::overview::{LOOK_AGAIN, LeaderStatus};

/// How old what [`LeaderLink::better_agent`] goes by may be: nothing is lost meanwhile, and however many sessions ask,
/// each agent is bothered four times a minute.
const UNHURRIED: Duration = Duration::from_secs(15);

/// How long [`LeaderLink::better_agent`] may take: a session with a stream that works asks.
const CURIOUS: Duration = Duration::from_secs(3);

/// All registered leaders.
pub(crate) struct LeaderBook {
    tls: ClientTls,
    /// From the configuration; not changed over REST.
    configured: Leaders,
    registered: Mutex<Leaders>,
    connections: Mutex<HashMap<String, Arc<LeaderLink>>>,
}

/// The agents of one leader.
pub(crate) struct LeaderLink {
    alias: String,
    agents: Agents,
    placements: Placements,
}

/// An agent that answered.
pub(crate) struct Connected {
    /// Its address, as it was registered.
    pub(crate) agent: String,
    pub(crate) channel: AgentChannel,
    pub(crate) hello: v1::HelloReply,
}

/// No agent of a leader can be used.
#[derive(Debug, Clone, Error)]
pub(crate) enum LeaderError {
    /// The alias is not registered.
    #[error("no leader is registered as [{0}]; register it again to go on")]
    Unknown(String),
    /// An address cannot be one.
    #[error(transparent)]
    Address(#[from] slipstream_wire::connect::ConnectError),
    /// No agent serves us; of several, this is what the first in the list said.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The only agents that answer are of another cluster.
    #[error(
        "the leader agent at {address} is of another cluster ({found}) than the one at {other} ({expected}): agents \
         under one alias must be of one cluster, register the leader again with the right addresses"
    )]
    Foreign {
        /// The agent that answers.
        address: String,
        /// The uuid of its cluster.
        found: String,
        /// The agent that it is compared with, which does not answer now.
        other: String,
        /// The uuid of that one's cluster.
        expected: String,
    },
}

impl LeaderBook {
    pub(crate) fn new(tls: ClientTls, configured: Leaders, registered: Leaders) -> Self {
        LeaderBook {
            tls,
            configured,
            registered: Mutex::new(registered),
            connections: Mutex::default(),
        }
    }

    /// What leader agents are shown.
    pub(crate) fn tls(&self) -> &ClientTls {
        &self.tls
    }

    /// All leaders; the configuration wins over what was registered under the same alias.
    pub(crate) fn all(&self) -> Leaders {
        let mut all = lock(&self.registered).clone();
        all.extend(self.configured.clone());
        all
    }

    /// Changes a registration; `None` forgets it. New sessions go by it, running ones when they reconnect.
    pub(crate) fn set(&self, alias: &str, agents: Option<Vec<String>>) {
        let mut registered = lock(&self.registered);
        match agents {
            Some(agents) => registered.insert(alias.to_owned(), agents),
            None => registered.remove(alias),
        };
        lock(&self.connections).remove(alias);
    }

    /// The certificate that we show to leader agents.
    pub(crate) fn certificate(&self) -> Certificate {
        self.tls.certificate()
    }

    /// What is known of all leaders, without asking anybody.
    pub(crate) fn statuses(&self) -> Vec<LeaderStatus> {
        let links = self
            .all()
            .into_keys()
            .filter_map(|alias| Some((self.link(&alias).ok()?, alias)));
        links
            .map(|(link, alias)| LeaderStatus {
                alias,
                cluster: link.agents.cluster(),
                agents: link.agents.statuses(),
            })
            .collect()
    }

    /// The link to a leader, shared by everything that follows it.
    pub(crate) fn link(&self, alias: &str) -> Result<Arc<LeaderLink>, LeaderError> {
        let mut connections = lock(&self.connections);
        if let Some(link) = connections.get(alias) {
            return Ok(Arc::clone(link));
        }
        let agents = self.all().remove(alias).filter(|agents| !agents.is_empty());
        let agents = agents.ok_or_else(|| LeaderError::Unknown(alias.to_owned()))?;
        let link = Arc::new(LeaderLink {
            alias: alias.to_owned(),
            agents: Agents::new(agents, self.tls.clone()),
            placements: Placements::default(),
        });
        connections.insert(alias.to_owned(), Arc::clone(&link));
        Ok(link)
    }
}

impl LeaderLink {
    /// An agent that has just said hello: the first in the list that does, for questions about the cluster.
    pub(crate) async fn connect(&self) -> Result<Connected, LeaderError> {
        let met = self.agents.meet(Asker::now()).await?;
        self.connected(met.first())
    }

    /// Whether any agent has said hello within the last [`UNHURRIED`], or does now.
    pub(crate) async fn answers(&self) -> Result<(), LeaderError> {
        self.agents.meet(Asker::within(UNHURRIED)).await.map(drop)
    }

    /// The agent that is to stream a shard of the leader's: one that reads the files of its primary if there is any,
    /// else of another copy, else any, so that the shards spread over them. It has said hello a second ago at most; a
    /// shard that comes again sooner has lost its stream, and is told nothing that it was told before.
    ///
    /// `avoid` is an agent that did not open the shard when it was tried last: it is taken only if there is no other.
    pub(crate) async fn connect_for(
        &self,
        shard: &ShardKey,
        avoid: Option<&str>,
    ) -> Result<Connected, LeaderError> {
        let asker = Asker::shard(shard);
        let met = self.agents.meet(asker).await?;
        let holders = self.holders(&met, shard, asker).await;
        self.connected(choice::choose(&met, holders.as_ref(), shard, avoid))
    }

    /// The agent that should have a shard's stream rather than `current`: it reads the files of a copy beside it, which
    /// `current` cannot. `None` also while there is only one, or where the copies are is not known within [`CURIOUS`].
    /// What this goes by may be [`UNHURRIED`] old, so the one who reconnects may find himself back at `current`.
    pub(crate) async fn better_agent(&self, shard: &ShardKey, current: &str) -> Option<String> {
        let asker = Asker::within(UNHURRIED);
        let asked = async {
            let met = self.agents.meet(asker).await.ok()?;
            let holders = self.holders(&met, shard, asker).await?;
            choice::better(&met, &holders, shard, current).map(|met| met.agent.clone())
        };
        timeout(CURIOUS, asked).await.ok().flatten()
    }

    /// Says hello to the agents, so that [`LeaderBook::statuses`] is as of now.
    pub(crate) async fn look(&self) {
        // An error is one of what the agents remember.
        let _ = self.agents.meet(Asker::within(LOOK_AGAIN / 2)).await;
    }

    /// Where a shard's copies are, asked only where that could make a difference.
    async fn holders(&self, met: &[Met], shard: &ShardKey, asker: Asker<'_>) -> Option<Holders> {
        if met.len() < 2 || !met.iter().any(Met::tails) {
            return None;
        }
        let places = self.placements.of(&shard.index, asker, met).await?;
        places.get(&shard.shard).cloned()
    }

    fn connected(&self, met: Option<&Met>) -> Result<Connected, LeaderError> {
        let met = met.ok_or_else(|| LeaderError::Unknown(self.alias.clone()))?;
        Ok(Connected {
            agent: met.agent.clone(),
            channel: met.channel.clone(),
            hello: met.hello.clone(),
        })
    }
}

impl Connected {
    /// The catalog of the leader.
    pub(crate) fn catalog(&self) -> CatalogClient<AgentChannel> {
        catalog(&self.channel)
    }

    /// Its snapshots.
    pub(crate) fn snapshots(&self) -> SnapshotsClient<AgentChannel> {
        SnapshotsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Its change streams.
    pub(crate) fn changes(&self) -> ChangesClient<AgentChannel> {
        ChangesClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

fn catalog(channel: &AgentChannel) -> CatalogClient<AgentChannel> {
    CatalogClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
}
