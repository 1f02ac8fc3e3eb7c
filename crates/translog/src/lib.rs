//! Reads the transaction logs that Elasticsearch 7.x and 8.x and OpenSearch 1.x to 3.x keep on disk.
//!
//! Bytes in, operations out: nothing here opens a file. Sources and nearly all strings are slices of the input. No
//! operation comes out of bytes whose checksum is wrong; no input makes a function panic or allocate more than the
//! input itself; and what is unknown (another format, another type of operation) is an error of its own kind
//! instead of a guess.
//!
//! A folder of a shard holds a [`Checkpoint`] and generations: files of a [`Header`] and [`Frame`]s, one operation
//! each. How far a generation may be read is the checkpoint's to say: bytes behind its offset may be half-written,
//! left over from a crash, or no frames at all.
//!
//! ```
//! use slipstream_translog::{Checkpoint, FormatError, Frame, Header};
//!
//! /// Tells the sequence numbers that a generation holds for good.
//! fn seq_nos(checkpoint: &Checkpoint, generation: &[u8]) -> Result<Vec<u64>, FormatError> {
//!     let mut found = Vec::new();
//!     let mut at = Header::parse(generation)?.length;
//!     let end = generation.len().min(checkpoint.offset as usize);
//!     while at < end {
//!         let frame = Frame::parse(&generation[at..end])?;
//!         at += frame.length;
//!         found.push(frame.op.seq_no());
//!     }
//!     Ok(found)
//! }
//! ```

pub mod checkpoint;
mod cursor;
#[cfg(feature = "encode")]
pub mod encode;
pub mod error;
pub mod header;
pub mod names;
pub mod op;

pub use checkpoint::{CHECKPOINT_LENGTH, Checkpoint};
pub use error::{Damage, FormatError, Part};
pub use header::Header;
pub use op::{Frame, Op, Place};
