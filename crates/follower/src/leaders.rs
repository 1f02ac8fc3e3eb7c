//! The leaders that are registered, and connections to their agents.
//!
//! An alias names one cluster that has one agent or several. A connection is made when the first session needs it and
//! shared by all of them; whoever cannot use it says so, and the next session tries the next agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use slipstream_wire::connect::{HelloError, channel, hello};
use slipstream_wire::protocol::{CAPABILITIES, MAX_MESSAGE_BYTES};
use slipstream_wire::tls::ClientTls;
use slipstream_wire::v1;
use slipstream_wire::v1::catalog_client::CatalogClient;
use slipstream_wire::v1::changes_client::ChangesClient;
use thiserror::Error;
use tonic::transport::Channel;

use crate::control::Leaders;

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
    agents: Vec<String>,
    /// Which agent is tried first, and the channel to it once it answered.
    current: tokio::sync::Mutex<(usize, Option<Channel>)>,
    tls: ClientTls,
}

/// A leader that answered.
pub(crate) struct Connected {
    pub(crate) channel: Channel,
    pub(crate) hello: v1::HelloReply,
}

/// No agent of a leader can be used.
#[derive(Debug, Error)]
pub(crate) enum LeaderError {
    /// The alias is not registered.
    #[error("no leader is registered as [{0}]; register it again to go on")]
    Unknown(String),
    /// An address cannot be one.
    #[error(transparent)]
    Address(#[from] slipstream_wire::connect::ConnectError),
    /// The agent that was tried last does not serve us.
    #[error(transparent)]
    Hello(#[from] HelloError),
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

    /// All leaders; the configuration wins over what was registered under the same alias.
    pub(crate) fn all(&self) -> Leaders {
        let mut all = self
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.extend(self.configured.clone());
        all
    }

    /// Changes a registration; `None` forgets it. New sessions go by it, running ones when they reconnect.
    pub(crate) fn set(&self, alias: &str, agents: Option<Vec<String>>) {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        match agents {
            Some(agents) => registered.insert(alias.to_owned(), agents),
            None => registered.remove(alias),
        };
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(alias);
    }

    /// The link to a leader, shared by everything that follows it.
    pub(crate) fn link(&self, alias: &str) -> Result<Arc<LeaderLink>, LeaderError> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = connections.get(alias) {
            return Ok(Arc::clone(link));
        }
        let agents = self.all().remove(alias).filter(|agents| !agents.is_empty());
        let agents = agents.ok_or_else(|| LeaderError::Unknown(alias.to_owned()))?;
        let link = Arc::new(LeaderLink {
            agents,
            current: tokio::sync::Mutex::default(),
            tls: self.tls.clone(),
        });
        connections.insert(alias.to_owned(), Arc::clone(&link));
        Ok(link)
    }
}

impl LeaderLink {
    /// A channel to an agent that has just said hello. Tries each agent once.
    pub(crate) async fn connect(&self) -> Result<Connected, LeaderError> {
        let mut current = self.current.lock().await;
        let mut last = None;
        for _ in 0..self.agents.len() {
            let (at, open) = &mut *current;
            let address = &self.agents[*at % self.agents.len()];
            let channel = match open.take() {
                Some(channel) => channel,
                None => channel(address, self.tls.clone())?,
            };
            match hello(channel.clone(), address, env!("CARGO_PKG_VERSION"), &CAPABILITIES).await {
                Ok(hello) => {
                    *open = Some(channel.clone());
                    return Ok(Connected { channel, hello });
                }
                Err(error) => {
                    *at += 1;
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) => Err(error.into()),
            None => Err(LeaderError::Unknown(String::new())),
        }
    }
}

impl Connected {
    /// The catalog of the leader.
    pub(crate) fn catalog(&self) -> CatalogClient<Channel> {
        CatalogClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Its change streams.
    pub(crate) fn changes(&self) -> ChangesClient<Channel> {
        ChangesClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}
