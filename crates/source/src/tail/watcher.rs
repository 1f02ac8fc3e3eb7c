//! Woken by the kernel: one inotify descriptor for all the translog folders that an agent tails.
//!
//! It has a thread of its own, which does two things and waits for nobody in between: it opens generations the moment they
//! appear, so that a flush cannot take what is not read yet, and it wakes the tail of the shard. A task among others would
//! be late where the runtime is busy, and late means lost here. Where the kernel has no watches left, or the folder is of a kind
//! that does not tell (a network file system), tails look by themselves, on timers.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use slipstream_translog::names;

use super::folder::Folder;

/// Watches translog folders. Its thread ends with it.
pub(super) struct Watcher {
    shared: Option<Arc<Shared>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inotify: OwnedFd,
    /// Becomes readable when the thread is to end.
    end: OwnedFd,
    /// Folders by watch descriptor: two followers of one shard share a watch.
    folders: Mutex<HashMap<i32, Vec<Weak<Folder>>>>,
}

/// A folder that is watched for as long as this lives.
pub(super) struct Watched {
    folder: Arc<Folder>,
    watch: Option<(Arc<Shared>, i32)>,
}

impl Deref for Watched {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Watched {
    /// Whether the kernel tells of changes.
    pub(super) fn is_told(&self) -> bool {
        self.watch.is_some()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some((shared, watch)) = self.watch.take() else {
            return;
        };
        let mut folders = shared.folders();
        if let Some(same) = folders.get_mut(&watch) {
            same.retain(|other| {
                other
                    .upgrade()
                    .is_some_and(|other| !Arc::ptr_eq(&other, &self.folder))
            });
            if same.is_empty() {
                folders.remove(&watch);
                // The kernel has dropped it already if the folder is gone.
                let _ = inotify::remove_watch(&shared.inotify, watch);
            }
        }
    }
}

impl Watcher {
    /// A watcher of nothing yet.
    pub(super) fn new() -> Watcher {
        match Self::begin() {
            Ok((shared, thread)) => Watcher {
                shared: Some(shared),
                thread: Some(thread),
            },
            Err(error) => {
                tracing::warn!(%error, "no inotify here, translogs are looked at on timers");
                Watcher {
                    shared: None,
                    thread: None,
                }
            }
        }
    }

    fn begin() -> std::io::Result<(Arc<Shared>, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            folders: Mutex::default(),
        });
        let watching = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("translog-watcher".to_owned())
            .spawn(move || run(&watching))?;
        Ok((shared, thread))
    }

    /// Watches a folder. What is in it already is not taken hold of.
    pub(super) fn watch(&self, path: PathBuf) -> Watched {
        let folder = Arc::new(Folder::new(path));
        let watch = self.shared.as_ref().and_then(|shared| {
            let mask = WatchFlags::CREATE
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            // Under the lock, so that no event of the new watch comes before the folder is in the table.
            let mut folders = shared.folders();
            match inotify::add_watch(&shared.inotify, folder.path(), mask) {
                Ok(watch) => {
                    folders.entry(watch).or_default().push(Arc::downgrade(&folder));
                    Some((Arc::clone(shared), watch))
                }
                Err(error) => {
                    let path = folder.path().display();
                    tracing::warn!(%path, %error, "the kernel does not watch a translog folder, it is looked at on a timer");
                    None
                }
            }
        });
        Watched { folder, watch }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let (Some(shared), Some(thread)) = (&self.shared, self.thread.take()) else {
            return;
        };
        // It waits for nothing but events, so it ends at once; a panic of it has been printed.
        if rustix::io::write(&shared.end, &1_u64.to_ne_bytes()).is_ok() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn folders(&self) -> MutexGuard<'_, HashMap<i32, Vec<Weak<Folder>>>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, watch: i32) -> Vec<Arc<Folder>> {
        let folders = self.folders();
        folders
            .get(&watch)
            .into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Events were lost: everybody has to look for themselves.
    fn overflowed(&self) {
        let all: Vec<_> = self
            .folders()
            .values()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect();
        for folder in all {
            let _ = folder.hold_all();
            folder.changed.notify_one();
        }
    }

    fn tell(&self, watch: i32, events: ReadFlags, name: Option<&str>) {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.overflowed();
            return;
        }
        for folder in self.of(watch) {
            match name {
                // Data is synced before the checkpoint that names it, so the checkpoint's change is the news. That it is closed
                // behind that is none: engines that open it for each write would have every shard look twice.
                Some(names::CHECKPOINT) if events == ReadFlags::CLOSE_WRITE => {}
                Some(names::CHECKPOINT) | None => folder.changed.notify_one(),
                Some(name) => {
                    if events.intersects(ReadFlags::CREATE | ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
                        folder.appeared(name);
                    }
                }
            }
        }
        if events.contains(ReadFlags::IGNORED) {
            self.folders().remove(&watch);
        }
    }
}

fn run(shared: &Shared) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    loop {
        let mut ready = [
            PollFd::new(&shared.inotify, PollFlags::IN),
            PollFd::new(&shared.end, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Ok(_) if !ready[1].revents().is_empty() => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "waiting for inotify events failed, translogs are looked at on timers only");
                return;
            }
        }
        let mut events = inotify::Reader::new(&shared.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok());
                    shared.tell(event.wd(), event.events(), name);
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "reading inotify events failed, translogs are looked at on timers only");
                    return;
                }
            }
        }
    }
}
