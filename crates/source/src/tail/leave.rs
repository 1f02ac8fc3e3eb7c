//! Why a shard is not tailed: the text for status and logs, and whether trying again soon makes sense.

use std::io;

use super::folder::Folder;

/// Why the tail cannot begin, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leave {
    /// An acknowledged operation is not in the files: a flush was quicker, or the translog does not reach back that far.
    Gap {
        /// The sequence number that is due.
        next: u64,
        /// This copy's global checkpoint.
        global_checkpoint: i64,
    },
    /// An operation that the log keeps as it came and that only the REST API shows as JSON in Unicode.
    Foreign {
        /// Its sequence number.
        seq_no: u64,
        /// What of it.
        what: &'static str,
    },
    /// It is not the translog that was being read.
    Renewed(String),
    /// More operations wait for acknowledgement than are kept in memory.
    Overflow,
    /// A file cannot be read or makes no sense.
    Unreadable(String),
    /// There is nothing to tail for this shard here.
    Unfit(String),
}

impl Leave {
    pub(super) fn unreadable(folder: &Folder, error: &io::Error) -> Leave {
        let path = folder.path().display();
        match error.kind() {
            io::ErrorKind::NotFound => Leave::Renewed(format!("its translog is gone ({path})")),
            io::ErrorKind::PermissionDenied => Leave::Unreadable(format!(
                "this agent may not read {path}: add its user to the engine's group"
            )),
            _ => Leave::Unreadable(format!("its translog in {path} cannot be read: {error}")),
        }
    }

    /// Whether the next seal may already be a good moment to try again. Otherwise it takes somebody's doing.
    pub(crate) fn may_pass_soon(&self) -> bool {
        match self {
            Leave::Gap { .. } | Leave::Foreign { .. } | Leave::Renewed(_) | Leave::Overflow => true,
            Leave::Unreadable(_) | Leave::Unfit(_) => false,
        }
    }
}

impl std::fmt::Display for Leave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Leave::Gap {
                next,
                global_checkpoint,
            } => write!(
                f,
                "its translog does not hold operation {next} any more (acknowledged up to {global_checkpoint})"
            ),
            Leave::Foreign { seq_no, what } => {
                write!(
                    f,
                    "the {what} of operation {seq_no} can only be had over the REST API as it is shown there"
                )
            }
            Leave::Overflow => f.write_str("too many operations of its copy here wait for acknowledgement"),
            Leave::Renewed(why) | Leave::Unreadable(why) | Leave::Unfit(why) => f.write_str(why),
        }
    }
}
