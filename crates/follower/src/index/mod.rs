//! One following index: its state machine, the making of the follower index, and its metadata.
//!
//! [`task`] walks the states, [`handle`] is how the agent speaks with it, [`making`] has the follower index made by [`prepare`] behind
//! [`shield`],
//! [`metadata`] keeps mapping, settings and aliases ahead of the operations (I7), [`settings`] gets settings past a
//! target of another engine or version, [`sightings`] tells whether the follower index is still the one that was made,
//! [`opened`] waits for a leader index that is closed, [`restore`] and [`restoring`] begin with the leader's files where that is faster, [`ending`] ends it, [`release`] turns it into
//! an ordinary one or deletes it.

mod describe;
mod ending;
mod handle;
mod making;
mod metadata;
mod opened;
mod prepare;
mod release;
mod restore;
mod restoring;
mod settings;
mod shield;
mod sightings;
mod task;

pub(crate) use describe::{check, describe};
pub(crate) use handle::{Command, IndexHandle};
pub(crate) use metadata::MetadataSync;
pub use restore::{FileServer, NoWay, check_folder};
pub(crate) use restore::{Throttle, Transfers};
pub(crate) use sightings::Sightings;
pub(crate) use task::{IndexTask, TaskContext};
