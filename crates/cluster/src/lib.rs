//! One REST client for Elasticsearch and OpenSearch, with exactly the calls that replication makes.
//!
//! What it guarantees: an answer is either complete or an error (a search that one shard did not answer is
//! [`ErrorKind::Incomplete`], never a shorter page); sources pass byte for byte; no answer is read beyond a bound; only
//! reads without side effects are repeated, a bulk never; and an error says which request failed, why, and whether the
//! request may have been carried out.

mod answer;
mod bulk;
mod caller;
mod census;
mod client;
mod config;
mod contents;
mod copies;
mod encode;
mod error;
mod health;
mod identity;
mod pages;
mod path;
mod repositories;
mod scan;
mod searcher;
mod shards;
mod slicer;
mod snapshots;
mod state;
mod stats;
mod target;
mod tls;

pub use bulk::{BulkItem, BulkPart, ItemError, ItemOutcome, RetryReason, fits_bulk};
pub use caller::{Caller, Privileges};
pub use client::Cluster;
pub use config::{Auth, ClientCert, ClusterConfig, Secret, Timeouts};
pub use contents::{Digests, Fingerprint};
pub use copies::{IndexCopies, LocalNode, ShardCopy};
pub use error::{ClusterError, ErrorKind, Result};
pub use health::ClusterHealth;
pub use identity::{ClusterIdentity, Engine, EngineVersion};
pub use pages::{Page, PageQuery};
pub use repositories::RepositoryNode;
pub use searcher::{PitId, Searcher};
pub use snapshots::{Restore, RestoreState, SnapshotState};
pub use state::{IndexDescription, IndexState, MetadataVersions};
pub use stats::{IndexSeqStats, ShardSeqStats};
