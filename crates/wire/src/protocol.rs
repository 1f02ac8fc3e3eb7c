//! Which protocol versions this release speaks, and the numbers that both sides must agree on.
//!
//! Sizes and times live here rather than in configuration because a value that suits only one side breaks the other:
//! a leader may send whatever its follower is bound to accept, and a peer counts as dead after the same time on both.

use std::time::Duration;

use thiserror::Error;
use tonic::Status;

/// Oldest protocol version that this release speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// Newest protocol version that this release speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Optional features that this release understands, by name. Version 1 has none: everything in it is mandatory.
pub const CAPABILITIES: [&str; 0] = [];

/// Largest gRPC message that either side accepts, in bytes.
///
/// A document may be as large as the engines' `http.max_content_length`, 100 MB unless the operator raised it, and a
/// document is never split.
pub const MAX_MESSAGE_BYTES: usize = 256 * MIB as usize;

/// Largest block of a batch before compression, in bytes. The distance to [`MAX_MESSAGE_BYTES`] is for what zstd adds
/// to data that does not compress, and for the frame around it.
pub const MAX_BLOCK_BYTES: u64 = 240 * MIB as u64;

/// HTTP/2 flow control window of one stream, in bytes: 16 MiB fill a link of 200 MiB/s at 50 ms round trip.
pub const STREAM_WINDOW_BYTES: u32 = 16 * MIB;

/// HTTP/2 flow control window of a whole connection, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 32 * MIB;

/// Largest HTTP/2 frame that a follower takes, in bytes: files are sent in fewer pieces, and an operation never waits behind more
/// than this of a file.
pub const FRAME_BYTES: u32 = 64 * 1024;

/// How many streams a follower may have open on one connection: one for each shard, and calls beside them.
pub const MAX_STREAMS: u32 = 4096;

/// How often an idle or silent connection is probed.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a probe may stay unanswered until the connection counts as dead.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long resolving a name and opening a TCP connection may take.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take, on either side.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long [`hello`](crate::connect::hello) may take in all. Longer than the steps of connecting together, so that a
/// step that hangs is named rather than the whole.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(35);

const MIB: u32 = 1024 * 1024;

/// Two agents have no protocol version in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "no common protocol version: the follower agent speaks {follower_min} to {follower_max}, the leader agent \
     {leader_min} to {leader_max}; upgrade the {} agent",
    self.to_upgrade()
)]
pub struct ProtocolMismatch {
    /// Oldest version of the follower agent.
    pub follower_min: u32,
    /// Newest version of the follower agent.
    pub follower_max: u32,
    /// Oldest version of the leader agent.
    pub leader_min: u32,
    /// Newest version of the leader agent.
    pub leader_max: u32,
}

impl ProtocolMismatch {
    /// Which side is behind: "follower" or "leader".
    pub const fn to_upgrade(&self) -> &'static str {
        if self.follower_max < self.leader_min {
            "follower"
        } else {
            "leader"
        }
    }
}

impl From<ProtocolMismatch> for Status {
    fn from(mismatch: ProtocolMismatch) -> Self {
        Status::failed_precondition(mismatch.to_string())
    }
}

/// The version that a leader agent of this release and a follower agent that speaks `min` to `max` will both speak:
/// the newest common one.
///
/// # Errors
/// Where there is none; the text says who has to upgrade, and [`Status::from`] makes the refusal that the handshake
/// answers with.
pub const fn negotiate(min: u32, max: u32) -> Result<u32, ProtocolMismatch> {
    negotiate_between((PROTOCOL_MIN, PROTOCOL_MAX), (min, max))
}

const fn negotiate_between(leader: (u32, u32), follower: (u32, u32)) -> Result<u32, ProtocolMismatch> {
    let newest = if follower.1 < leader.1 {
        follower.1
    } else {
        leader.1
    };
    if newest >= leader.0 && newest >= follower.0 {
        return Ok(newest);
    }
    Err(ProtocolMismatch {
        follower_min: follower.0,
        follower_max: follower.1,
        leader_min: leader.0,
        leader_max: leader.1,
    })
}

/// Of the features that the other side understands, those that this release understands too.
pub fn common_capabilities(theirs: &[String]) -> Vec<String> {
    theirs
        .iter()
        .filter(|name| CAPABILITIES.contains(&name.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_taken() {
        assert_eq!(negotiate_between((1, 3), (2, 5)), Ok(3));
        assert_eq!(negotiate_between((1, 3), (1, 2)), Ok(2));
        assert_eq!(negotiate(1, 7), Ok(1));
    }

    #[test]
    fn without_a_common_version_the_side_that_is_behind_is_told_to_upgrade() {
        let old_follower = negotiate_between((3, 4), (1, 2)).unwrap_err();
        assert_eq!(
            old_follower.to_string(),
            "no common protocol version: the follower agent speaks 1 to 2, the leader agent 3 to 4; upgrade the \
             follower agent"
        );
        let old_leader = negotiate_between((1, 2), (3, 4)).unwrap_err();
        assert!(
            old_leader.to_string().ends_with("upgrade the leader agent"),
            "{old_leader}"
        );
        assert_eq!(Status::from(old_leader).code(), tonic::Code::FailedPrecondition);
    }

    #[test]
    fn a_range_that_makes_no_sense_is_refused() {
        assert!(negotiate(2, 1).is_err());
        assert!(negotiate(0, 0).is_err());
    }

    #[test]
    fn unknown_capabilities_are_ignored() {
        assert!(common_capabilities(&["from-the-future".to_owned()]).is_empty());
    }
}
