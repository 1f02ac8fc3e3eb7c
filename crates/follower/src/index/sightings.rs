//! Whether follower indices are still the ones that were made. The engines create an index that is written to and not
//! there, so an index deleted behind our back comes back empty, and only its identity tells.
//!
//! One look serves all indices that are being written to: with a hundred of them each would else cost a request a second.
//! And it is taken before it is needed, as long as there is something to write now and then, so that an operation that comes
//! by itself does not wait for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_cluster::{Cluster, ClusterError};
use slipstream_model::{IndexName, IndexUuid};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::lock;

/// How long a look is good for, counted from its beginning.
const FRESH: Duration = Duration::from_secs(1);
/// From one look to the next that nobody asked for: the rest is for the look itself.
const PERIOD: Duration = Duration::from_millis(700);
/// An index that was asked about this lately is looked at with the others.
const LATELY: Duration = Duration::from_mins(1);

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
    look: Option<Look>,
}

/// A look at the target.
struct Look {
    begun: Instant,
    /// Of the cluster's state when it began: while that is the same, so is all that was seen.
    version: u64,
    /// Who was asked about, and is there.
    found: BTreeMap<IndexName, IndexUuid>,
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
        // The turn may have been long in coming.
        lock(&self.seen).asked.insert(index.clone(), Instant::now());
        self.look().await?;
        Ok(self.has(index, uuid))
    }

    /// Looks before anybody has to wait for it, until the agent ends.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let looking = async {
            loop {
                let next = Instant::now() + PERIOD;
                let turn = self.looking.lock().await;
                // Who asks next looks for itself, and has the error.
                if let Err(error) = self.look().await {
                    tracing::debug!(
                        error = crate::chain(&error),
                        "the follower indices could not be looked at"
                    );
                }
                drop(turn);
                sleep_until(next).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Looks at all that was asked about lately.
    async fn look(&self) -> Result<(), ClusterError> {
        let (names, known) = {
            let mut seen = lock(&self.seen);
            seen.asked.retain(|_, at| at.elapsed() <= LATELY);
            let names: Vec<IndexName> = seen.asked.keys().cloned().collect();
            let all_found = |look: &&Look| names.iter().all(|name| look.found.contains_key(name));
            let look = seen.look.as_ref().filter(all_found);
            let known = look.map(|look| look.version);
            (names, known)
        };
        if names.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let version = self.cluster.state_version().await?;
        if known == Some(version) {
            if let Some(look) = &mut lock(&self.seen).look {
                look.begun = begun;
            }
            return Ok(());
        }
        let found = self.cluster.index_uuids(&names).await?;
        lock(&self.seen).look = Some(Look {
            begun,
            version,
            found,
        });
        Ok(())
    }

    fn was_seen(&self, index: &IndexName, uuid: &IndexUuid) -> bool {
        let fresh = |look: &Look| look.begun.elapsed() <= FRESH;
        lock(&self.seen).look.as_ref().is_some_and(fresh) && self.has(index, uuid)
    }

    fn has(&self, index: &IndexName, uuid: &IndexUuid) -> bool {
        let seen = lock(&self.seen);
        seen.look.as_ref().and_then(|look| look.found.get(index)) == Some(uuid)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use serde_json::value::RawValue;
    use slipstream_model::settings::Settings;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::testing::target;

    #[tokio::test]
    async fn looks_are_taken_before_anybody_has_to_wait_for_one() {
        let (sandbox, cluster) = target().await;
        let (index, other) = (IndexName::new("i"), IndexName::new("other"));
        let mapping = RawValue::from_string("{}".to_owned()).unwrap();
        let create = async |index: &IndexName| {
            let (settings, aliases) = (Settings::default(), Map::new());
            cluster
                .create_index(index, &settings, &mapping, &aliases)
                .await
                .unwrap();
        };
        let uuid_of = async |index: &IndexName| {
            cluster.index_uuids(std::slice::from_ref(index)).await.unwrap()[index].clone()
        };
        create(&index).await;
        let uuid = uuid_of(&index).await;
        let sightings = Arc::new(Sightings::new(cluster.clone()));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&sightings).run(shutdown.clone()));
        assert!(sightings.is_there(&index, &uuid).await.unwrap());
        let begun = || lock(&sightings.seen).look.as_ref().map(|look| look.begun);
        let another_look = async || {
            let before = begun();
            let looking = async {
                while begun() == before {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(30), looking).await.unwrap();
        };
        // While nothing changes, and after something did.
        another_look().await;
        create(&other).await;
        another_look().await;
        assert!(sightings.has(&index, &uuid));
        cluster.delete_index(&index).await.unwrap();
        assert!(
            !sightings.is_there(&other, &uuid).await.unwrap(),
            "another one of that name"
        );
        assert!(!sightings.is_there(&index, &uuid).await.unwrap());
        create(&index).await;
        assert!(!sightings.is_there(&index, &uuid).await.unwrap(), "made anew");
        let anew = uuid_of(&index).await;
        assert!(sightings.is_there(&index, &anew).await.unwrap());
        shutdown.cancel();
        running.await.unwrap();
        sandbox.stop().await;
    }
}
