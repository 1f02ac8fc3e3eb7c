//! Who shares a snapshot, what there is of it for each, and how long it is needed.
//!
//! Followers that ask at about the same time share a snapshot, for a cluster takes one at a time and each costs the same whatever
//! is in it. Only those of one identity do: the files in common name all indices of the snapshot.
//!
//! A snapshot is needed as long as one of its streams is open, and for [`LINGER`] after a stream that broke off: who comes
//! again within it gets the very same files and places, so that nothing is sent twice. After a release it is not waited for anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slipstream_cluster::{IndexSeqStats, IndexState};
use slipstream_model::{IndexName, IndexUuid};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long a snapshot waits for followers that went away without a word.
const LINGER: Duration = Duration::from_mins(10);

/// How far a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// More may join.
    Asked,
    /// It is being taken.
    Running,
    /// All of it is in the repository.
    Complete,
    /// It will not be.
    Failed(String),
}

/// What a shard must still be when the snapshot is handed out.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) state: IndexState,
    pub(super) stats: IndexSeqStats,
}

/// Path → length.
pub(super) type Blobs = BTreeMap<String, u64>;

/// A snapshot of some indices.
#[derive(Debug)]
pub(super) struct Group {
    /// In the repository.
    pub(super) name: String,
    /// The identity of those who share it.
    caller: String,
    members: Mutex<BTreeMap<IndexName, Member>>,
    stage: watch::Sender<Stage>,
}

#[derive(Debug)]
struct Member {
    uuid: IndexUuid,
    /// What was read before the snapshot was begun.
    before: Option<Arc<Survey>>,
    blobs: Arc<Blobs>,
    /// Files that the next snapshot writes anew, as they are now.
    kept: Arc<BTreeMap<String, Bytes>>,
    failed: Option<String>,
    acknowledged: bool,
    users: usize,
    /// When the last of them went.
    left: Instant,
    released: bool,
}

/// What a member knows at a moment.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) stage: Stage,
    pub(super) blobs: Arc<Blobs>,
    pub(super) kept: Arc<BTreeMap<String, Bytes>>,
    pub(super) before: Option<Arc<Survey>>,
    pub(super) acknowledged: bool,
}

/// One stream's part in a group.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) group: Arc<Group>,
    pub(super) index: IndexName,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.change(&self.index, |member| {
            member.users -= 1;
            member.left = Instant::now();
        });
    }
}

impl Group {
    pub(super) fn new(name: String, caller: String) -> Self {
        Group {
            name,
            caller,
            members: Mutex::default(),
            stage: watch::Sender::new(Stage::Asked),
        }
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<IndexName, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part, if the group has the index already, or still takes more.
    pub(super) fn join(
        self: &Arc<Self>,
        caller: &str,
        index: &IndexName,
        uuid: &IndexUuid,
    ) -> Option<Membership> {
        if caller != self.caller {
            return None;
        }
        let mut members = self.members();
        let stage = self.stage.borrow().clone();
        if stage == Stage::Asked && !members.contains_key(index) {
            members.insert(index.clone(), Member::new(uuid.clone()));
        }
        let member = members.get_mut(index)?;
        let good = member.uuid == *uuid && member.failed.is_none();
        if !good || matches!(stage, Stage::Failed(_)) {
            return None;
        }
        member.users += 1;
        member.released = false;
        Some(Membership {
            group: Arc::clone(self),
            index: index.clone(),
        })
    }

    /// Nobody joins from now on who is not in it: the members. Who has gone again is none.
    pub(super) fn begin(&self) -> Vec<(IndexName, IndexUuid)> {
        let mut members = self.members();
        self.stage.send_replace(Stage::Running);
        let now = Instant::now();
        for member in members.values_mut() {
            if member.needed_until().is_some_and(|until| until <= now) {
                member.failed = Some("nobody waited for it when it was begun".to_owned());
            }
        }
        members
            .iter()
            .filter(|(_, member)| member.failed.is_none())
            .map(|(index, member)| (index.clone(), member.uuid.clone()))
            .collect()
    }

    /// What was found of a member before the snapshot.
    pub(super) fn surveyed(&self, index: &IndexName, found: Result<Survey, String>) {
        self.change(index, |member| match found {
            Ok(survey) => member.before = Some(Arc::new(survey)),
            Err(why) => member.failed = Some(why),
        });
    }

    /// There is more of a member's files.
    pub(super) fn grown(&self, index: &IndexName, blobs: Blobs) {
        self.change(index, |member| member.blobs = Arc::new(blobs));
    }

    /// These are all of a member's files.
    pub(super) fn listed(&self, index: &IndexName, blobs: Blobs, kept: BTreeMap<String, Bytes>) {
        self.change(index, |member| {
            member.blobs = Arc::new(blobs);
            member.kept = Arc::new(kept);
        });
    }

    /// It has come so far.
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Everything in a member's files is acknowledged history.
    pub(super) fn acknowledge(&self, index: &IndexName) {
        self.change(index, |member| member.acknowledged = true);
    }

    /// A follower has no more use for an index's files: they are there for those who listen, and for nobody else.
    pub(super) fn release(&self, caller: &str, index: &IndexName, uuid: &IndexUuid) {
        if caller == self.caller {
            self.change(index, |member| member.released |= member.uuid == *uuid);
        }
    }

    /// What there is for a member; `Failed` if there will be nothing.
    pub(super) fn view(&self, index: &IndexName) -> Option<View> {
        let members = self.members();
        let member = members.get(index)?;
        let stage = match &member.failed {
            Some(why) => Stage::Failed(why.clone()),
            None => self.stage.borrow().clone(),
        };
        Some(View {
            stage,
            blobs: Arc::clone(&member.blobs),
            kept: Arc::clone(&member.kept),
            before: member.before.clone(),
            acknowledged: member.acknowledged,
        })
    }

    /// Tells of each change.
    pub(super) fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Whether a file belongs to it.
    pub(super) fn has(&self, path: &str) -> bool {
        self.members()
            .values()
            .any(|member| member.blobs.contains_key(path))
    }

    /// Waits until nobody needs it.
    pub(super) async fn unused(&self) {
        let mut changes = self.watch();
        loop {
            let failed = matches!(*changes.borrow_and_update(), Stage::Failed(_));
            let needed: Vec<Option<Instant>> = self
                .members()
                .values()
                .map(|member| {
                    member
                        .needed_until()
                        .map(|until| if failed { member.left } else { until })
                })
                .collect();
            let last = needed.iter().flatten().max().copied();
            let in_use = needed.iter().any(Option::is_none);
            let lapse = async {
                match last {
                    Some(until) if !in_use => sleep_until(until).await,
                    None if !in_use => {}
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender lives as long as `self`.
                _ = changes.changed() => {}
                () = lapse => return,
            }
        }
    }

    fn change(&self, index: &IndexName, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members().get_mut(index) {
            change(member);
        }
        self.stage.send_modify(|_| {});
    }
}

impl Member {
    fn new(uuid: IndexUuid) -> Self {
        Member {
            uuid,
            before: None,
            blobs: Arc::default(),
            kept: Arc::default(),
            failed: None,
            acknowledged: false,
            users: 0,
            left: Instant::now(),
            released: false,
        }
    }

    /// `None` while somebody listens.
    fn needed_until(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return Some(self.left);
        }
        let lingers = if self.released { Duration::ZERO } else { LINGER };
        (self.users == 0).then(|| self.left + lingers)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    fn group() -> Arc<Group> {
        Arc::new(Group::new("s".to_owned(), "one".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_gets_the_same_snapshot_and_who_is_another_does_not() {
        let (group, index, uuid) = (group(), IndexName::from("a"), IndexUuid::from("u"));
        assert!(group.join("two", &index, &uuid).is_none());
        let member = group.join("one", &index, &uuid).unwrap();
        assert_eq!(group.begin().len(), 1);
        assert!(
            group.join("one", &"b".into(), &uuid).is_none(),
            "it is being taken"
        );
        drop(member);
        advance(LINGER / 2).await;
        let again = group.join("one", &index, &uuid).unwrap();
        assert!(group.join("one", &index, &"other".into()).is_none());
        assert!(
            timeout(LINGER * 2, group.unused()).await.is_err(),
            "a stream is open"
        );
        drop(again);
        let begun = Instant::now();
        group.unused().await;
        assert!(begun.elapsed() >= LINGER / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_released_or_failed_is_kept_for_those_only_who_listen() {
        let (group, uuid) = (group(), IndexUuid::from("u"));
        let (a, b) = (IndexName::from("a"), IndexName::from("b"));
        let [first, second, third] = [&a, &a, &b].map(|name| group.join("one", name, &uuid).unwrap());
        group.begin();
        group.surveyed(&b, Err("no primary".to_owned()));
        assert!(matches!(group.view(&b).unwrap().stage, Stage::Failed(_)));
        assert!(group.join("one", &b, &uuid).is_none());
        group.release("one", &a, &uuid);
        drop((first, third));
        assert!(
            timeout(LINGER * 2, group.unused()).await.is_err(),
            "another listens"
        );
        drop(second);
        timeout(Duration::from_secs(1), group.unused()).await.unwrap();
    }
}
