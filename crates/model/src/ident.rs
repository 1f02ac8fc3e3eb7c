//! Names and identities: an index's *name* can be reused, its *uuid* cannot, and a shard's *history* changes when its
//! past was rewritten. A checkpoint is bound to all of them (I5).

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as the engines write it.
            pub fn new(text: impl Into<String>) -> Self {
                $name(text.into())
            }

            /// The text as the engines write it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.to_owned())
            }
        }
    };
}

text_type! {
    /// A cluster's permanent identity (`cluster_uuid` of `GET /`).
    ClusterUuid
}
text_type! {
    /// The name of a concrete index, never of an alias or a pattern.
    IndexName
}
text_type! {
    /// An index's identity: a deleted and recreated index has the same name and another uuid.
    IndexUuid
}
text_type! {
    /// The identity of a shard's history: it changes when acknowledged operations may have been lost, for instance when
    /// a stale copy was forced to be primary or a snapshot was restored over the index.
    HistoryUuid
}

/// The number of a shard within its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One shard of one named index; prints as the engines do: `[index][0]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// The index.
    pub index: IndexName,
    /// The shard within it.
    pub shard: ShardId,
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}][{}]", self.index, self.shard)
    }
}

/// The same number for the same text in every release and life: FNV-1a.
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
