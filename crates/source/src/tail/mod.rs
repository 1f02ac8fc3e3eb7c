//! The translog reader: an acknowledged operation is on its way a moment after the engine has synced it, with no
//! refresh, no search and no plugin, every version and every delete in its order.
//!
//! It needs a copy of the shard on the same host and leave to read its folder, nothing else; it writes nothing there.
//! [`place`] finds the folder, [`watcher`] holds on to its files, [`files`] applies the rule by which operations are
//! final, [`backlog`] is the rule itself. What the rule does not cover ends the tail with a [`Leave`], and the window
//! reader, which can always go on from the next sequence number, serves ([`crate::relay`]).
//!
//! **Metadata (I7) without asking for each operation.** Asking the leader for its metadata's versions costs it more than a
//! hundredth of an indexing request, and us a millisecond. So an operation whose fields are all [`familiar`] leaves at once under
//! the versions that were asked for last; any other waits for the answer to a new question. A seal always follows a question that
//! was begun after its operations were read, and which shards share ([`sealing`]). If the answer shows that mapping or settings
//! had changed meanwhile, what was sent since the last seal is read and sent again, under the new versions: the follower indexes
//! it anew, and is exact again before the seal says so.

mod backlog;
mod familiar;
mod files;
mod folder;
mod leave;
mod place;
mod sealing;
mod standing;
#[cfg(test)]
mod tests;
mod turn;
mod watcher;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipstream_cluster::{LocalNode, MetadataVersions};
use slipstream_model::{Checkpoint, HistoryUuid, Op, PrimaryTerm};
use tokio::time::{Duration, Instant, sleep};

use self::files::{Files, Seen};
use self::folder::{Folder, Stamp};
use self::place::Places;
use self::sealing::Sealing;
use self::turn::Turn;
use self::watcher::{Watched, Watcher};
use crate::link::{Event, Link, Unlinked};
use crate::nudge::Nudge;
use crate::stir::{self, Stirred, Stirring};
use crate::{ReadError, Start, Watch};

pub(crate) use familiar::Familiar;
pub(crate) use leave::Leave;
pub use place::TailConfig;

/// What all tails of an agent share.
#[derive(Clone)]
pub struct Tails(Arc<Inner>);

struct Inner {
    watch: Watch,
    places: Places,
    watcher: Watcher,
    stirring: Stirring,
    sealing: Sealing,
    /// What turns are counted from.
    begun: Instant,
}

impl Inner {
    /// The version of the cluster state as the node beside this agent has applied it, if it belongs to its cluster.
    async fn version(&self) -> Option<u64> {
        self.watch.state_version_within(standing::BELONGS).await.ok()?;
        self.watch.local_version_within(stir::EVERY).await.ok()
    }
}

impl Tails {
    /// Nothing is tailed yet.
    pub fn new(watch: Watch, config: TailConfig) -> Self {
        Tails(Arc::new(Inner {
            places: Places::new(watch.clone(), config),
            watch,
            watcher: Watcher::new(),
            stirring: Stirring::default(),
            sealing: Sealing::default(),
            begun: Instant::now(),
        }))
    }

    /// Whether the translog folders of the node beside this agent can be read, in words if not.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub async fn check(&self) -> Result<(), String> {
        self.0.places.check().await.map_err(|why| why.to_string())
    }
}

/// The tail of one shard.
pub(crate) struct Tail {
    tails: Tails,
    start: Start,
    folder: Arc<Watched>,
    /// Worked with by one thread at a time; shared only because that thread may wait for the disk.
    files: Arc<Mutex<Files>>,
    /// Which copy it is, in words.
    why: String,
    /// Everything up to here has been sent.
    emitted: Checkpoint,
    /// And up to here under metadata that is known to be new enough.
    sealed: Checkpoint,
    /// When something new was last seen in the files.
    seen: Instant,
    /// When the question was begun whose answer `metadata` is.
    asked: Option<Instant>,
    history: HistoryUuid,
    /// Under this term the copy was known to be of this history.
    vouched: PrimaryTerm,
    nudge: Nudge,
    /// The highest sequence number that the engine told of; `None` once settings have changed since it was asked. An engine
    /// may keep operations back from its files: see [`Tail::raise_if_stuck`].
    told: Option<Checkpoint>,
    metadata: MetadataVersions,
    last_pulse: Option<Instant>,
    /// When the node was last known to belong to its cluster.
    belonged: Instant,
    last_change: Instant,
    /// Whether the last look saw everything that there was.
    complete: bool,
    /// How the checkpoint file looked before the last look.
    stamp: Option<Stamp>,
    /// Changes in a row that a timer found and the kernel had not told of.
    untold: u32,
    stirred: Stirred,
    turn: Turn,
}

/// Operations taken at once, in bytes, while there is credit.
const TAKE_BYTES: u64 = 1024 * 1024;
/// An unchanged shard is looked at this often all the same: the kernel's word may have been lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A shard that has long been quiet looks when it is its index's turn. It is also told of what may concern it ([`Stirring`]).
const LOOK_AGAIN_QUIET: Duration = Duration::from_secs(30);
/// Within this time after that it looks: not all at once, for each index costs the leader a question.
const STIRRED_SPREAD: Duration = Duration::from_secs(5);
/// While operations wait for a global checkpoint that may be asked for.
const LOOK_BEHIND: Duration = Duration::from_millis(250);
/// After this many changes in a row that only a timer found, the kernel is taken for one that does not tell.
const UNTOLD: u32 = 3;
/// Where the kernel tells nothing.
const LOOK_UNTOLD: Duration = Duration::from_millis(5);
const LOOK_UNTOLD_QUIET: Duration = Duration::from_millis(100);
/// After this long without a change a shard is quiet.
const QUIET: Duration = Duration::from_secs(30);
/// Metadata that changes without operations is noticed within this time.
const METADATA_AGE: Duration = Duration::from_secs(1);
/// What was written within this time is still in memory.
const RECENT: Duration = Duration::from_secs(1);

/// Why a tail ended.
pub(crate) enum End {
    /// The session is gone.
    Unlinked,
    /// The window reader has to go on.
    Left(Leave),
    /// Reading cannot go on.
    Read(ReadError),
}

impl From<Unlinked> for End {
    fn from(_: Unlinked) -> Self {
        End::Unlinked
    }
}

impl From<Leave> for End {
    fn from(leave: Leave) -> Self {
        End::Left(leave)
    }
}

impl Tail {
    /// Stands ready to emit everything above `after`, if the copy beside this agent has all of it.
    pub(crate) async fn begin(
        tails: &Tails,
        start: &Start,
        after: Checkpoint,
        history: &HistoryUuid,
    ) -> Result<Tail, Leave> {
        let located = tails.0.places.locate(start).await?;
        if located.history != *history {
            return Err(Leave::Renewed("the copy here is of another history".to_owned()));
        }
        let (path, node) = (located.folder.clone(), located.node.name.clone());
        blocking(move || place::reachable(&path, &node)).await?;
        let folder = Arc::new(tails.0.watcher.watch(located.folder));
        let next = after.next().get();
        let uuid = located.translog_uuid;
        let files = blocking({
            let folder = Arc::clone(&folder);
            move || {
                let mut files = Files::begin(&folder, &uuid, next)?;
                // Taking over makes sense only if the next operation is here, or not given out yet.
                while files.look(&folder)? == Seen::More && !files.has_due() {}
                files.check()?;
                Ok(files)
            }
        })
        .await?;
        Ok(Tail {
            tails: tails.clone(),
            start: start.clone(),
            why: why(located.primary, &located.node),
            folder,
            files: Arc::new(Mutex::new(files)),
            emitted: after,
            sealed: after,
            seen: Instant::now(),
            asked: None,
            history: history.clone(),
            // Nothing is known of any term before the first look after this: the copy was asked about earlier.
            vouched: PrimaryTerm(0),
            nudge: Nudge::default(),
            told: Some(located.max_seq_no),
            metadata: MetadataVersions::default(),
            last_pulse: None,
            belonged: Instant::now(),
            last_change: Instant::now(),
            complete: false,
            stamp: None,
            untold: 0,
            stirred: tails.0.stirring.join(),
            turn: Turn::of(&start.shard.index),
        })
    }

    /// Which copy is read, for status.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// Everything up to here has been emitted for good.
    pub(crate) fn sealed(&self) -> Checkpoint {
        self.sealed
    }

    /// Emits until it has to end.
    pub(crate) async fn run(&mut self, link: &Link) -> End {
        let mut by_timer = false;
        loop {
            match self.step(link, by_timer).await {
                Ok(timer) => by_timer = timer,
                Err(end) => return end,
            }
        }
    }

    /// Looks once, emits what is final, and waits for more. Whether a timer ended the wait, not the kernel.
    async fn step(&mut self, link: &Link, by_timer: bool) -> Result<bool, End> {
        // Asked for where it may spare a look; the kernel's word is never without reason.
        let stamp = if by_timer { self.folder.stamp() } else { None };
        if stamp.is_some() && stamp == self.stamp && self.emitted == self.sealed && !self.is_behind() {
            self.pulse(link).await?;
            return self.wait(link).await;
        }
        self.stamp = stamp;
        let most = link.credit_now().min(TAKE_BYTES) as usize;
        let vouched = self.vouched;
        let place = self.place_to_look(by_timer);
        let (changed, seen, ops) = self
            .with_files(place, move |files, folder| {
                let before = *files.checkpoint();
                let seen = files.look(folder)?;
                let most = if files.term() == vouched { most } else { 0 };
                let ops = files.take(folder, most)?;
                Ok((*files.checkpoint() != before, seen, ops))
            })
            .await?;
        if changed || !self.complete {
            self.seen = Instant::now();
        }
        self.complete = seen == Seen::All;
        self.vouch(link).await?;
        if changed {
            self.last_change = Instant::now();
            self.untold = if by_timer { self.untold + 1 } else { 0 };
        }
        let before = self.emitted;
        self.emit(link, ops).await?;
        self.emit_due(link).await?;
        self.files().check()?;
        if self.emitted > before || seen == Seen::More {
            self.nudge.caught_up();
        }
        if self.emitted > self.sealed && (self.is_covered() || self.tails.0.sealing.may_ask(self.seen)) {
            self.learn_metadata(self.seen.elapsed()).await?;
            // Whatever the answer made due again.
            self.emit_due(link).await?;
            self.seal(link).await?;
        }
        self.pulse(link).await?;
        self.raise_if_stuck().await?;
        if seen == Seen::More || self.files().has_due() {
            return Ok(false);
        }
        self.wait(link).await
    }

    /// Emits everything that is due, as credit allows.
    async fn emit_due(&mut self, link: &Link) -> Result<(), End> {
        while self.files().has_due() {
            let most = link.credit().await?.min(TAKE_BYTES) as usize;
            let ops = self.with_files(Place::Aside, move |files, folder| files.take(folder, most));
            let ops = ops.await?;
            self.emit(link, ops).await?;
        }
        Ok(())
    }

    /// Emits operations under metadata that is new enough for their fields (I7).
    async fn emit(&mut self, link: &Link, ops: Vec<Op>) -> Result<(), End> {
        let Some(last) = ops.last().map(|op| op.seq_no.as_checkpoint()) else {
            return Ok(());
        };
        let mapping = self.metadata.mapping;
        let knows = |fields: &mut Familiar| fields.knows(mapping, &ops);
        let index = &self.start.shard.index;
        let familiar = self.asked.is_some() && self.tails.0.watch.familiar(index, knows);
        if !familiar && !self.is_covered() {
            // Asked for after the operations were seen: whatever mapping they needed, this node had it before it wrote them to
            // its translog.
            let before = self.emitted;
            self.learn_metadata(self.seen.elapsed()).await?;
            if self.emitted < before {
                // These are due again too, after what comes before them.
                return Ok(());
            }
        }
        if !familiar {
            let mapping = self.metadata.mapping;
            let learn = |fields: &mut Familiar| fields.learn(mapping, &ops);
            self.tails.0.watch.familiar(&self.start.shard.index, learn);
        }
        link.send_ops(ops, self.metadata).await?;
        self.emitted = last;
        if self.is_covered() {
            self.seal(link).await?;
        }
        Ok(())
    }

    /// Everything that was emitted is final, and its metadata known.
    async fn seal(&mut self, link: &Link) -> Result<(), End> {
        if self.emitted == self.sealed {
            return Ok(());
        }
        let (checkpoint, term) = (self.emitted, self.files().term());
        link.send(Event::Sealed { checkpoint, term }).await?;
        self.sealed = checkpoint;
        self.files().settle(&self.folder, checkpoint);
        Ok(())
    }

    /// Whether the metadata is from after everything that is due had been seen.
    fn is_covered(&self) -> bool {
        self.asked.is_some_and(|asked| asked >= self.seen)
    }

    /// Whether the kernel can be relied on to tell of changes.
    fn is_told(&self) -> bool {
        self.folder.is_told() && self.untold < UNTOLD
    }

    async fn wait(&mut self, link: &Link) -> Result<bool, End> {
        let tails = Arc::clone(&self.tails.0);
        let quiet = self.last_change.elapsed() > QUIET;
        let again = match (self.is_told(), quiet) {
            _ if self.emitted > self.sealed => tails.sealing.wait(),
            _ if self.is_behind() => LOOK_BEHIND,
            (true, false) => LOOK_AGAIN,
            (true, true) => self.turn.wait(tails.begun, Instant::now(), LOOK_AGAIN_QUIET),
            (false, false) => LOOK_UNTOLD,
            (false, true) => LOOK_UNTOLD_QUIET,
        };
        let sleeps_long = quiet && self.is_told() && self.emitted == self.sealed && !self.is_behind();
        let spread = self.turn.within(STIRRED_SPREAD);
        let stirred = async {
            tails
                .stirring
                .stirred(&mut self.stirred, || tails.version())
                .await;
            sleep(spread).await;
        };
        tokio::select! {
            () = self.folder.changed.notified() => Ok(false),
            () = sleep(again) => Ok(true),
            () = stirred, if sleeps_long => Ok(true),
            () = link.unlinked() => Err(End::Unlinked),
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to look for what is new. What the engine wrote a moment ago is in memory, and going to another thread and back would
    /// take several times as long as reading it.
    fn place_to_look(&self, by_timer: bool) -> Place {
        let recent = !by_timer || self.last_change.elapsed() < RECENT;
        if recent && self.is_told() && self.complete && !self.files().is_behind() {
            Place::Here
        } else {
            Place::Aside
        }
    }

    /// Works with the files.
    async fn with_files<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&mut Files, &Folder) -> Result<T, Leave> + Send + 'static,
    ) -> Result<T, End> {
        if place == Place::Here {
            return Ok(work(&mut self.files(), &self.folder)?);
        }
        let (files, folder) = (Arc::clone(&self.files), Arc::clone(&self.folder));
        let worked =
            blocking(move || work(&mut files.lock().unwrap_or_else(PoisonError::into_inner), &folder));
        Ok(worked.await?)
    }
}

/// Where files are worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On the thread that serves everybody: nothing is waited for.
    Here,
    /// On a thread that may wait for the disk.
    Aside,
}

/// Which copy is read, in words.
fn why(primary: bool, node: &LocalNode) -> String {
    let role = if primary { "primary" } else { "replica" };
    format!("this agent reads the files of the {role} on node [{}]", node.name)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Leave> + Send + 'static,
) -> Result<T, Leave> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending.
            Err(_) => std::future::pending().await,
        },
    }
}
