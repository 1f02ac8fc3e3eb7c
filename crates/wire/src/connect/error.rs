//! Why a leader agent cannot be talked to, by kind and in words for whoever reads them at night.

use std::error::Error;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use tonic::{Code, Status};

/// An address that no channel can be made for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// Not a host and a port.
    #[error(
        "`{0}` is not the address of a leader agent: write HOST:PORT, without a scheme or path, as in \
         `leader.example:9700`"
    )]
    Address(String),
}

/// Why a leader agent could not be talked to. Every text names the agent's address and what to do.
#[derive(Debug, Clone, Error)]
pub enum HelloError {
    /// Nobody answers, or the connection broke. May pass by itself.
    #[error(
        "cannot reach the leader agent at {address}: check that it runs, that this is its \
         `listen.address`, and that no firewall is in between"
    )]
    Unreachable {
        /// The agent's address.
        address: String,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// The leader agent looked at our certificate and did not take it.
    #[error("the leader agent at {address} refused our certificate: {reason}")]
    RefusedCertificate {
        /// The agent's address.
        address: String,
        /// Why, as far as it told.
        reason: String,
    },
    /// We looked at its certificate and did not take it.
    #[error("the leader agent at {address} is not trusted: its {reason}")]
    ServerCertificateInvalid {
        /// The agent's address.
        address: String,
        /// What is wrong with the certificate, and what to do.
        reason: String,
    },
    /// The two agents' releases cannot work together.
    #[error("the agents do not fit together ({address}): {reason}")]
    ProtocolMismatch {
        /// The agent's address.
        address: String,
        /// Both ranges of versions, and who has to upgrade.
        reason: String,
    },
    /// The certificate is genuine and its identity is not welcome.
    #[error("the leader agent at {address} does not let us in: {reason}")]
    PermissionDenied {
        /// The agent's address.
        address: String,
        /// What the leader agent says.
        reason: String,
    },
    /// Something else than a leader agent listens there.
    #[error("what listens at {address} is not a leader agent: {found}; check the address and its port")]
    NotAnAgent {
        /// The address.
        address: String,
        /// What was found instead.
        found: String,
    },
    /// The leader agent answered with an error of its own. May pass by itself.
    #[error("the leader agent at {address} cannot serve now ({code:?}): {message}; its log has more")]
    Failed {
        /// The agent's address.
        address: String,
        /// The gRPC code.
        code: Code,
        /// What the leader agent says.
        message: String,
    },
}

impl HelloError {
    /// Where any call on a [`channel`](super::channel) failed because the connection could not be made: why.
    pub fn of_connection(status: &Status) -> Option<HelloError> {
        let mut cause: Option<&(dyn Error + 'static)> = status.source();
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<HelloError>() {
                return Some(found.clone());
            }
            cause = error.source();
        }
        None
    }

    /// What the failed handshake call says about the agent at `address`.
    pub(super) fn of_hello(address: &str, status: &Status) -> HelloError {
        if let Some(error) = Self::of_connection(status) {
            return error;
        }
        let address = address.to_owned();
        let message = status.message().to_owned();
        match status.code() {
            // A status with a source was made on this side: the connection broke under the call.
            _ if status.source().is_some() => HelloError::Unreachable {
                address,
                source: Arc::new(io::Error::other(message)),
            },
            Code::FailedPrecondition => HelloError::ProtocolMismatch {
                address,
                reason: message,
            },
            Code::PermissionDenied | Code::Unauthenticated => HelloError::PermissionDenied {
                address,
                reason: message,
            },
            Code::Unimplemented => HelloError::NotAnAgent {
                address,
                found: "an HTTP/2 server that does not know the agents' handshake".to_owned(),
            },
            code => HelloError::Failed {
                address,
                code,
                message,
            },
        }
    }
}
