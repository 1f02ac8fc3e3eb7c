//! How writes go to the target: in requests of one lane, or, where there are few of them, together with those of other lanes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slipstream_cluster::{BulkPart, Cluster, ClusterError, ErrorKind, ItemOutcome};
use slipstream_model::IndexName;
use tokio::time::Instant;

use super::{Gate, Write};
use crate::together::{Failure, Limits, Together};
use crate::{lock, metrics};

/// Bulks that the target gets at once, over all indices.
const MOST_BULKS: usize = 16;
/// What is more than this, in operations or bytes, fills a request of its own.
const FEW: usize = 64;
const FEW_BYTES: usize = 64 * 1024;
/// How these go together. A bulk is as slow as the slowest index in it: where one hangs, what is in it is held up once, for as long
/// as that bulk, and all others go alone past it.
const TOGETHER: Limits = Limits {
    places: 4,
    most: 512 * 1024,
    patience: Duration::from_millis(200),
};
/// A target that refused a bulk of several indices is not sent another for so long.
const REFUSED_FOR: Duration = Duration::from_mins(5);

/// The way of all lanes to the target.
#[derive(Debug)]
pub(crate) struct Bulks {
    pub(crate) cluster: Cluster,
    pub(crate) gate: Gate,
    together: Together<BulkPart, Vec<ItemOutcome>, ClusterError>,
    /// When the target last refused a bulk of several indices for what it is.
    refused: Mutex<Option<Instant>>,
    /// Begins the names of shared requests in every life of this agent. No index has a name with `#` in it.
    shared: String,
    /// This life's part of them, and how many there were.
    life: u32,
    count: AtomicU64,
}

impl Bulks {
    pub(crate) fn new(cluster: Cluster, follower_id: &str) -> Self {
        Bulks {
            cluster,
            gate: Gate::new(MOST_BULKS),
            together: Together::new(TOGETHER),
            refused: Mutex::default(),
            shared: format!("slipstream-{follower_id}-#"),
            life: rand::random(),
            count: AtomicU64::new(0),
        }
    }

    /// Whether a request of this name holds what several lanes of this agent have sent, in this life or an earlier one.
    pub(crate) fn is_shared(&self, opaque_id: &str) -> bool {
        opaque_id.starts_with(&self.shared)
    }

    /// One request under a lane's name.
    pub(crate) async fn alone(
        &self,
        index: &IndexName,
        writes: &[Write],
        opaque_id: &str,
    ) -> Result<Vec<ItemOutcome>, ClusterError> {
        let place = self.gate.enter().await;
        metrics::bulk("one_index");
        let answer = self.of_one_index(index, writes, opaque_id).await;
        drop(place);
        self.heed(answer)
    }

    async fn of_one_index(
        &self,
        index: &IndexName,
        writes: &[Write],
        opaque_id: &str,
    ) -> Result<Vec<ItemOutcome>, ClusterError> {
        if let [single @ Write::Op(op)] = writes
            && single.needs_own_request()
        {
            return Ok(vec![self.cluster.put_document(index, op, opaque_id).await?]);
        }
        let items: Vec<_> = writes.iter().map(Write::item).collect();
        self.cluster.bulk(index, &items, opaque_id).await
    }

    /// A request that others may share; `None` if these writes have to go alone.
    pub(crate) async fn together(
        &self,
        index: &IndexName,
        writes: &[Write],
    ) -> Option<Result<Vec<ItemOutcome>, ClusterError>> {
        if writes.len() > FEW || writes.iter().any(Write::needs_own_request) || self.is_refused() {
            return None;
        }
        let items: Vec<_> = writes.iter().map(Write::item).collect();
        let part = self.cluster.bulk_part(index, &items).ok()?;
        let bytes = part.bytes();
        if bytes > FEW_BYTES {
            return None;
        }
        let carry = async |parts: Vec<BulkPart>| self.carry(&parts).await;
        let fate = self.together.send(part, bytes, carry).await?;
        Some(fate.map_err(|failure| match failure {
            Failure::Of(error) => error,
            Failure::Dropped => {
                let reason = "a request for several indices was given up in the middle";
                ClusterError::new(ErrorKind::Unknown, self.cluster.url(), reason)
            }
        }))
    }

    async fn carry(&self, parts: &[BulkPart]) -> Result<Vec<Vec<ItemOutcome>>, ClusterError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{:08x}-{number}", self.shared, self.life);
        let answer = {
            let _place = self.gate.enter().await;
            metrics::bulk("shared");
            self.cluster.bulk_of_parts(parts, &name).await
        };
        if let Err(error) = &answer
            && !passes(error.kind)
        {
            let reason = crate::chain(error);
            tracing::debug!(
                reason,
                "the target takes no bulk of several indices, each gets its own"
            );
            *lock(&self.refused) = Some(Instant::now());
        }
        self.heed(answer)
    }

    /// A target that turned a whole request away gets fewer at once.
    fn heed<T>(&self, answer: Result<T, ClusterError>) -> Result<T, ClusterError> {
        if answer
            .as_ref()
            .is_err_and(|error| error.kind == ErrorKind::Throttled)
        {
            self.gate.pushed_back();
        }
        answer
    }

    fn is_refused(&self) -> bool {
        lock(&self.refused).is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }
}

/// Whether a request of another kind would have fared no better.
fn passes(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Throttled
            | ErrorKind::Unreachable
            | ErrorKind::Blocked
            | ErrorKind::Unknown
            | ErrorKind::Server
            | ErrorKind::Protocol
    )
}
