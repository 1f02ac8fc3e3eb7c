//! Frames and the operations in them.
//!
//! A frame is a length, a body and the checksum of the body. The length itself is covered by no checksum; a wrong one
//! shows in that the checksum of the bytes it spans is wrong, or in that it asks for more bytes than there are.

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::error::{Damage, FormatError, Part};

/// The type of an operation, its first byte. What only Elasticsearch 5 and older wrote for creations is laid out like
/// an index operation.
pub(crate) const CREATE: u8 = 1;
pub(crate) const INDEX: u8 = 2;
pub(crate) const DELETE: u8 = 3;
pub(crate) const NOOP: u8 = 4;

/// The field that holds the id, named in old delete operations.
pub(crate) const ID_FIELD: &str = "_id";

/// The formats of index operations that releases from 7.0 on write.
mod index_format {
    /// Has a type of version.
    pub(super) const OLDEST: u32 = 9;
    /// Has a mapping type, but no type of version: Elasticsearch 7, OpenSearch 1.
    pub(super) const NO_VERSION_TYPE: u32 = 10;
    /// Has no mapping type: Elasticsearch 8, OpenSearch 2 and later.
    pub(super) const NO_DOC_TYPE: u32 = 11;
}

/// The formats of delete operations that releases from 7.0 on write.
mod delete_format {
    /// Has a type of version.
    pub(super) const OLDEST: u32 = 5;
    /// Has a mapping type and a uid, but no type of version: Elasticsearch 7, OpenSearch 1.
    pub(super) const NO_VERSION_TYPE: u32 = 6;
    /// Has no mapping type: Elasticsearch 8, OpenSearch 2 and later.
    pub(super) const NO_DOC_TYPE: u32 = 7;
}

const SIZE_LENGTH: usize = 4;
const CHECKSUM_LENGTH: usize = 4;
/// The shortest body: a no-op with an empty reason.
const SHORTEST_BODY: usize = 1 + 8 + 8 + 1;

/// A frame: one operation and how many bytes it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The operation.
    pub op: Op<'a>,
    /// The length of the frame in bytes, with its size field and its checksum: the next frame begins there.
    pub length: usize,
}

/// Which operation it is: the sequence number, and the term of the primary that gave it away. After a failover a
/// number may be given away once more; the higher term is then the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The sequence number.
    pub seq_no: u64,
    /// The primary term.
    pub primary_term: u64,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// A document was written.
    Index {
        /// Its id.
        id: Cow<'a, str>,
        /// Its routing, if it was given one.
        routing: Option<Cow<'a, str>>,
        /// Its version.
        version: i64,
        /// The sequence number.
        seq_no: u64,
        /// The primary term.
        primary_term: u64,
        /// The source as the client sent it: JSON, CBOR, SMILE or YAML, and empty if there was none.
        source: &'a [u8],
    },
    /// A document was deleted, or one that did not exist was asked to be. The routing that came with it is not in the
    /// log.
    Delete {
        /// Its id.
        id: Cow<'a, str>,
        /// The version of the deletion.
        version: i64,
        /// The sequence number.
        seq_no: u64,
        /// The primary term.
        primary_term: u64,
    },
    /// Nothing: a sequence number that was given away, and that no document came of.
    Noop {
        /// The sequence number.
        seq_no: u64,
        /// The primary term.
        primary_term: u64,
        /// Why, in the engine's words.
        reason: Cow<'a, str>,
    },
}

impl Op<'_> {
    /// The sequence number.
    pub fn seq_no(&self) -> u64 {
        match self {
            Op::Index { seq_no, .. } | Op::Delete { seq_no, .. } | Op::Noop { seq_no, .. } => *seq_no,
        }
    }

    /// The primary term.
    pub fn primary_term(&self) -> u64 {
        match self {
            Op::Index { primary_term, .. }
            | Op::Delete { primary_term, .. }
            | Op::Noop { primary_term, .. } => *primary_term,
        }
    }
}

impl Frame<'_> {
    /// Reads the frame at the beginning of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// [`FormatError::Incomplete`] if the frame goes on behind `bytes`: below the checkpoint's offset that is damage
    /// too, because the length asked for is then not one that was written. [`FormatError::Damaged`] if the checksum
    /// is wrong or the fields are not what an engine writes, [`FormatError::Unsupported`] for types and formats of
    /// operations that releases outside of the supported range write, and for unpaired surrogates in a string (see
    /// [`place`](Frame::place)).
    pub fn parse(bytes: &[u8]) -> Result<Frame<'_>, FormatError> {
        let body = body(bytes)?;
        Ok(Frame {
            op: operation(Cursor::new(Part::Frame, body))?,
            length: length(body),
        })
    }

    /// Tells which operation is at the beginning of `bytes`, and the length of its frame in bytes. It is read as
    /// thoroughly as [`parse`](Frame::parse) does, but for one thing: an unpaired surrogate in an id or a routing, which
    /// a client can write by an escape in JSON and which no string here can hold, does not keep it from being placed.
    /// So a reader can go on behind an operation that it has to get elsewhere.
    ///
    /// # Errors
    /// Those of [`parse`](Frame::parse).
    pub fn place(bytes: &[u8]) -> Result<(Place, usize), FormatError> {
        let body = body(bytes)?;
        let op = operation(Cursor::skimming(Part::Frame, body))?;
        let place = Place {
            seq_no: op.seq_no(),
            primary_term: op.primary_term(),
        };
        Ok((place, length(body)))
    }
}

fn length(body: &[u8]) -> usize {
    SIZE_LENGTH + body.len() + CHECKSUM_LENGTH
}

/// The body of the frame at the beginning of `bytes`, if its checksum is right.
fn body(bytes: &[u8]) -> Result<&[u8], FormatError> {
    let damaged = |what| FormatError::Damaged {
        part: Part::Frame,
        what,
    };
    let Some((size, rest)) = bytes.split_first_chunk() else {
        return Err(FormatError::Incomplete { needed: SIZE_LENGTH });
    };
    let found = i32::from_be_bytes(*size);
    let size = usize::try_from(found)
        .ok()
        .filter(|size| *size >= SHORTEST_BODY + CHECKSUM_LENGTH)
        .ok_or_else(|| {
            damaged(Damage::Number {
                what: "its length",
                found: i64::from(found),
            })
        })?;
    let Some((body, checksum)) = rest
        .get(..size)
        .and_then(<[u8]>::split_last_chunk::<CHECKSUM_LENGTH>)
    else {
        return Err(FormatError::Incomplete {
            needed: SIZE_LENGTH + size,
        });
    };
    let stored = u32::from_be_bytes(*checksum);
    let computed = crc32fast::hash(body);
    if stored == computed {
        Ok(body)
    } else {
        Err(damaged(Damage::Checksum {
            stored: u64::from(stored),
            computed,
        }))
    }
}

fn operation(mut fields: Cursor<'_>) -> Result<Op<'_>, FormatError> {
    let op = match fields.byte("its type")? {
        CREATE | INDEX => index(&mut fields)?,
        DELETE => delete(&mut fields)?,
        NOOP => Op::Noop {
            seq_no: fields.unsigned("the sequence number")?,
            primary_term: fields.unsigned("the primary term")?,
            reason: fields.string("the reason")?,
        },
        other => return Err(fields.unsupported("the type", i64::from(other))),
    };
    fields.end()?;
    Ok(op)
}

fn index<'a>(fields: &mut Cursor<'a>) -> Result<Op<'a>, FormatError> {
    use index_format::{NO_DOC_TYPE, NO_VERSION_TYPE, OLDEST};

    let format = fields.vint("the format of an index operation")?;
    if !(OLDEST..=NO_DOC_TYPE).contains(&format) {
        return Err(fields.unsupported("an index operation of the format", i64::from(format)));
    }
    let id = fields.string("the id")?;
    if format < NO_DOC_TYPE {
        fields.string("the mapping type")?;
    }
    let source = fields.bytes("the source")?;
    let routing = if fields.flag("the mark of a routing")? {
        Some(fields.string("the routing")?)
    } else {
        None
    };
    let version = fields.long("the version")?;
    if format < NO_VERSION_TYPE {
        fields.byte("the type of version")?;
    }
    // When an id was made, which matters to the engine alone.
    fields.long("the time of the id")?;
    Ok(Op::Index {
        id,
        routing,
        version,
        seq_no: fields.unsigned("the sequence number")?,
        primary_term: fields.unsigned("the primary term")?,
        source,
    })
}

fn delete<'a>(fields: &mut Cursor<'a>) -> Result<Op<'a>, FormatError> {
    use delete_format::{NO_DOC_TYPE, NO_VERSION_TYPE, OLDEST};

    let format = fields.vint("the format of a delete operation")?;
    if !(OLDEST..=NO_DOC_TYPE).contains(&format) {
        return Err(fields.unsupported("a delete operation of the format", i64::from(format)));
    }
    if format < NO_DOC_TYPE {
        fields.string("the mapping type")?;
    }
    let id = fields.string("the id")?;
    if format < NO_DOC_TYPE {
        if fields.string("the name of the id's field")? != ID_FIELD {
            return Err(fields.damaged(Damage::Mark("the name of the id's field")));
        }
        // The id once more, in the form of the index.
        fields.bytes("the indexed id")?;
    }
    let version = fields.long("the version")?;
    if format < NO_VERSION_TYPE {
        fields.byte("the type of version")?;
    }
    Ok(Op::Delete {
        id,
        version,
        seq_no: fields.unsigned("the sequence number")?,
        primary_term: fields.unsigned("the primary term")?,
    })
}

#[cfg(test)]
mod tests;
