//! The first call on a connection: releases, protocol versions, and which cluster and node this agent stands beside.

use std::time::Duration;

use slipstream_cluster::ClusterError;
use slipstream_model::event;
use slipstream_wire::protocol::{PROTOCOL_MAX, PROTOCOL_MIN, common_capabilities};
use slipstream_wire::{ProtocolMismatch, negotiate, v1};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::authorise::Caller;
use crate::cause;
use crate::metrics::{Refusal, refused};
use crate::server::Agent;

/// How long the node may take to say who it is; it need not ask others for that.
const PLACE_DEADLINE: Duration = Duration::from_secs(3);

/// Answers the handshake.
pub(crate) struct HandshakeService(pub(crate) Agent);

#[tonic::async_trait]
impl v1::handshake_server::Handshake for HandshakeService {
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
        let caller = Caller::of(&request)?;
        let hello = request.into_inner();
        let protocol = negotiate(hello.protocol_min, hello.protocol_max).map_err(|e| mismatch(&caller, e))?;
        let cluster = self.0.watch.cluster();
        let identity = cluster.identity().await.map_err(|e| cause::of_cluster(&e))?;
        // The identity may be remembered from better times: ask something that only a living cluster answers.
        let alive = cluster.state_version();
        let place = async { Ok(place(&self.0).await) };
        let (_, place) = tokio::try_join!(alive, place).map_err(|e| cause::of_cluster(&e))?;
        tracing::info!(identity = %caller, agent = hello.agent_version, protocol, "a follower agent said hello");
        Ok(Response::new(v1::HelloReply {
            agent_version: self.0.config.agent_version.clone(),
            protocol,
            capabilities: common_capabilities(&hello.capabilities),
            cluster_uuid: identity.uuid.to_string(),
            cluster_name: identity.name.clone(),
            engine: identity.engine.to_string(),
            engine_version: identity.version.to_string(),
            identity: caller.to_string(),
            node_id: place.node_id,
            node_name: place.node_name,
            tails: place.tails,
        }))
    }
}

/// Where the agent stands; nothing of it where that is not known.
#[derive(Default)]
struct Place {
    node_id: String,
    node_name: String,
    tails: bool,
}

/// Asked anew each time: another node may have the address by now. A cluster that does not tell (its user may lack the
/// privilege) is served without.
async fn place(agent: &Agent) -> Place {
    let asked = async {
        let node = agent.watch.cluster().local_node().await?;
        Ok::<_, ClusterError>(Place {
            node_id: node.id,
            node_name: node.name,
            tails: agent.tails.check().await.is_ok(),
        })
    };
    match timeout(PLACE_DEADLINE, asked).await {
        Ok(Ok(place)) => return place,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the cluster does not tell which node is beside this agent");
        }
        Err(_) => {
            tracing::debug!(after = ?PLACE_DEADLINE, "the node beside this agent does not say who it is");
        }
    }
    Place::default()
}

/// Refuses a stream under a protocol version that this release does not speak.
pub(crate) fn check_protocol(caller: &Caller, protocol: u32) -> Result<(), Status> {
    if (PROTOCOL_MIN..=PROTOCOL_MAX).contains(&protocol) {
        return Ok(());
    }
    Err(mismatch(
        caller,
        ProtocolMismatch {
            follower_min: protocol,
            follower_max: protocol,
            leader_min: PROTOCOL_MIN,
            leader_max: PROTOCOL_MAX,
        },
    ))
}

fn mismatch(caller: &Caller, mismatch: ProtocolMismatch) -> Status {
    tracing::warn!(event = event::PEER_REFUSED, identity = %caller, reason = %mismatch, "refused a follower agent of another release");
    refused(Refusal::Protocol);
    mismatch.into()
}
