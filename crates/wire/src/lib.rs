//! The protocol between a leader agent and a follower agent, for both sides.
//!
//! Everything that crosses the wire is described here and nowhere else: the messages ([`v1`]), how operations are
//! packed into batches that cannot arrive damaged unnoticed ([`batch`]), and pieces of files likewise ([`chunk`]), which releases can talk to each other
//! ([`protocol`]), and the only way in which agents connect: TLS 1.3 with certificates on both sides ([`tls`],
//! [`accept`], [`connect`]), from which the identity of a follower is read ([`identity`]). There is no plaintext mode.
//!
//! Messages are checked where they are turned into domain types ([`convert`]); past that point nobody sees a
//! generated type with a field that might be missing.

pub mod accept;
pub mod batch;
pub mod cause;
pub mod certificate;
pub mod certs;
pub mod chunk;
pub mod connect;
pub mod convert;
pub mod identity;
pub mod protocol;
pub mod tls;

/// The messages and services, generated from `proto/slipstream/v1`; the .proto files explain them.
pub mod v1 {
    #![allow(
        missing_docs,
        clippy::pedantic,
        reason = "generated code; the .proto files carry the documentation"
    )]

    tonic::include_proto!("slipstream.v1");
}

pub use batch::{BatchEncoder, BatchError, decode_batch, encode_batch};
pub use certificate::Certificate;
pub use connect::{ConnectError, HelloError, channel, hello};
pub use identity::Identity;
pub use protocol::{PROTOCOL_MAX, PROTOCOL_MIN, ProtocolMismatch, negotiate};
pub use tls::{ClientTls, ServerTls, TlsError, TlsFiles, TlsIdentity};
