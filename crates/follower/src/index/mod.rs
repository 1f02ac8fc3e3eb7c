//! One following index: its state machine, the making of the follower index, and its metadata.
//!
//! [`task`] walks the states, [`handle`] is how the agent speaks with it, [`prepare`] makes the follower index, [`metadata`] keeps mapping, settings and aliases ahead
//! of the operations (I7), [`settings`] gets settings past a target of another engine or version, [`release`] turns a
//! follower index into an ordinary one.

mod describe;
mod handle;
mod metadata;
mod prepare;
mod release;
mod settings;
mod task;

pub(crate) use describe::{check, describe};
pub(crate) use handle::{Command, IndexHandle};
pub(crate) use metadata::MetadataSync;
pub(crate) use task::{IndexTask, TaskContext};
