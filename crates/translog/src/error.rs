//! Why bytes of a translog were not understood: too few of them, damaged, or of a kind unknown here.
//!
//! The three ask for three different answers (wait and read again, leave the file to another reader and tell someone,
//! upgrade), so that a caller can match on them. Which file it was, and where in it, is the caller's to add.

use std::fmt;

use thiserror::Error;

/// Why bytes of a translog were not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// More bytes are needed than were given.
    #[error(
        "{needed} bytes are needed from here on, and fewer are there: they are not written yet, or the file was cut off"
    )]
    Incomplete {
        /// How many bytes have to be there, counted from the beginning of those given. For a frame whose length is
        /// not there yet this is the 4 bytes of the length, and never more than 2 GiB + 3.
        needed: usize,
    },
    /// The bytes cannot be what an engine wrote.
    #[error(
        "the {part} is damaged: {what}; if it stays so, check the disk, and let the engine check the shard"
    )]
    Damaged {
        /// What was being read.
        part: Part,
        /// What is wrong with it.
        what: Damage,
    },
    /// The bytes are intact as far as one can tell, but of a kind that this release does not know.
    #[error(
        "the {part} has {what} {found}, which this release cannot read: read the shard over REST instead"
    )]
    Unsupported {
        /// What was being read.
        part: Part,
        /// Which property of it is unknown.
        what: &'static str,
        /// The value that was found.
        found: i64,
    },
}

/// What was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A checkpoint file.
    Checkpoint,
    /// The header of a generation.
    Header,
    /// A frame of a generation: one operation.
    Frame,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoint => "translog checkpoint",
            Self::Header => "header of the translog generation",
            Self::Frame => "translog operation",
        })
    }
}

/// What is wrong with damaged bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// The stored checksum is not that of the bytes.
    #[error("its checksum is {stored:#010x} but its bytes make {computed:#010x}")]
    Checksum {
        /// The checksum that is stored beside the bytes.
        stored: u64,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Another value stands where a fixed one has to.
    #[error("{0} is not there")]
    Mark(&'static str),
    /// A length, count or number is out of its range.
    #[error("{what} is {found}")]
    Number {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: i64,
    },
    /// A string is not in the engines' encoding.
    #[error("{0} is not a string")]
    Text(&'static str),
    /// Fields end behind the end of what holds them.
    #[error("it ends within {0}")]
    Short(&'static str),
    /// Bytes are left over behind the last field.
    #[error("{0} bytes are left over at its end")]
    Trailing(usize),
}
