//! Whether follower indices are still the ones that were made. The engines create an index that is written to and not
//! there, so an index deleted behind our back comes back empty, and only its identity tells.
//!
//! One look serves all indices that are being written to: with a hundred of them each would else cost a request a second
//! and make its next operation wait for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use slipstream_cluster::{Cluster, ClusterError};
use slipstream_model::{IndexName, IndexUuid};
use tokio::time::Instant;

use crate::lock;

/// How long a look is good for, counted from its beginning.
const FRESH: Duration = Duration::from_secs(1);
/// An index that was asked about this lately is looked at with the others.
const LATELY: Duration = Duration::from_secs(5);

/// What is known of the target's indices. Shared by all index tasks.
pub(crate) struct Sightings {
    cluster: Cluster,
    seen: Mutex<Seen>,
    /// One look at a time: who comes meanwhile waits for it.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Seen {
    asked: HashMap<IndexName, Instant>,
    /// The last look: when it began, and who was there.
    look: Option<(Instant, BTreeMap<IndexName, IndexUuid>)>,
}

impl Sightings {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Sightings {
            cluster,
            seen: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether the index under a name is still this one, as of a second ago at most. Only a look that began after this
    /// call says that it is not: it may have been made a moment ago.
    pub(crate) async fn is_there(&self, index: &IndexName, uuid: &IndexUuid) -> Result<bool, ClusterError> {
        lock(&self.seen).asked.insert(index.clone(), Instant::now());
        if self.was_seen(index, uuid) {
            return Ok(true);
        }
        let _turn = self.looking.lock().await;
        if self.was_seen(index, uuid) {
            return Ok(true);
        }
        let names: Vec<IndexName> = {
            let asked = &mut lock(&self.seen).asked;
            asked.retain(|_, at| at.elapsed() <= LATELY);
            // The turn may have been long in coming.
            asked.insert(index.clone(), Instant::now());
            asked.keys().cloned().collect()
        };
        let begun = Instant::now();
        let found = self.cluster.index_uuids(&names).await?;
        let there = found.get(index) == Some(uuid);
        lock(&self.seen).look = Some((begun, found));
        Ok(there)
    }

    fn was_seen(&self, index: &IndexName, uuid: &IndexUuid) -> bool {
        let seen = lock(&self.seen);
        let look = seen.look.as_ref().filter(|(begun, _)| begun.elapsed() <= FRESH);
        look.is_some_and(|(_, found)| found.get(index) == Some(uuid))
    }
}
