//! Access to a follower agent's gateway, put together from its configuration, and what of it can change while it runs.

use std::time::{Duration, SystemTime};

use slipstream_cluster::{Auth as Ours, Cluster, ClusterConfig, Timeouts};
use slipstream_gateway::{Access, AccessConfig, Authority, TargetSecurity};
use slipstream_wire::tls::HttpsTls;

use crate::config::{Auth, Gateway, is_loopback};
use crate::failure::{Failure, chain};

/// How long the target may take to say who a caller is.
const ASK: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    read: Duration::from_secs(10),
    bulk: Duration::from_secs(10),
};

/// What the gateway serves with.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) access: Access,
    pub(crate) tls: Option<HttpsTls>,
    auth: Auth,
}

impl Front {
    /// As configured; `agent` is the agent's own way to the target, and `target` its configuration.
    pub(crate) fn new(gateway: &Gateway, target: &ClusterConfig, agent: &Cluster) -> Result<Front, Failure> {
        let usage = |error: &dyn std::error::Error| Failure::usage(chain(error));
        let authority = match gateway.auth {
            Auth::None => Authority::Nobody,
            Auth::Certificates => Authority::Certificates,
            Auth::Users => Authority::Users,
            Auth::Target => {
                let callers = Cluster::new(&without_credentials(target)).map_err(|error| usage(&error))?;
                Authority::Target(TargetSecurity::new(callers, agent.clone()))
            }
        };
        let config = AccessConfig {
            authority,
            rules: gateway.rules.clone(),
            audit_file: gateway.audit_file.clone(),
            this_host_only: gateway.auth == Auth::None
                && !gateway.trust_network
                && is_loopback(&gateway.address),
        };
        let access = Access::new(config).map_err(|error| {
            let path = gateway.audit_file.as_deref().unwrap_or("".as_ref()).display();
            Failure::usage(format!("[gateway] audit_file: {path} cannot be written: {error}"))
                .advise("name a file in a folder that the agent may write to")
        })?;
        let tls = gateway.tls.as_ref().map(|https| HttpsTls::new(&https.0));
        Ok(Front {
            access,
            tls: tls.transpose().map_err(|error| usage(&error))?,
            auth: gateway.auth,
        })
    }

    /// Takes certificates, users and rules from a file that was read anew.
    pub(crate) fn reload(&self, gateway: Gateway) -> Result<(), String> {
        if gateway.auth != self.auth || gateway.tls.is_some() != self.tls.is_some() {
            return Err("[gateway] auth and whether it speaks TLS change with a restart only".to_owned());
        }
        if let (Some(tls), Some(https)) = (&self.tls, &gateway.tls) {
            tls.reload(&https.0).map_err(|error| chain(&error))?;
        }
        self.access.reload(gateway.rules);
        Ok(())
    }

    /// When the first of the certificates expires, the gateway's or the agent's.
    pub(crate) fn expires_at(&self, agents: SystemTime) -> SystemTime {
        self.tls
            .as_ref()
            .map_or(agents, |tls| tls.expires_at().min(agents))
    }
}

/// The way on which callers are checked: nothing of the agent's own may be taken for theirs.
fn without_credentials(target: &ClusterConfig) -> ClusterConfig {
    ClusterConfig {
        auth: Ours::None,
        client_cert: None,
        timeouts: ASK,
        ..target.clone()
    }
}
