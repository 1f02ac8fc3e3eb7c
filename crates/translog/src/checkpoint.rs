//! The checkpoint: up to where a generation is on disk for good, and which operations are acknowledged.
//!
//! The engines write it in place, 88 bytes at once, after the operations that it covers were synced. Whoever reads at
//! that moment may see half of it; the checksum tells, and the next read sees all of it.

use crate::cursor::Cursor;
use crate::error::{Damage, FormatError, Part};

/// The length of a checkpoint file of version 3 or 4, in bytes.
pub const CHECKPOINT_LENGTH: usize = 88;

/// What Lucene begins its files with.
pub(crate) const CODEC_MAGIC: u32 = 0x3fd7_6c17;
/// What Lucene ends its files with, before the checksum.
pub(crate) const FOOTER_MAGIC: u32 = 0xc028_93e8;
/// The name of checkpoints in their header.
pub(crate) const CODEC: &str = "ckp";
/// Big-endian fields: Elasticsearch 7, OpenSearch 1.
pub(crate) const BIG_ENDIAN: i32 = 3;
/// Little-endian fields: Elasticsearch 8, OpenSearch 2 and later.
pub(crate) const LITTLE_ENDIAN: i32 = 4;

const HEADER_LENGTH: usize = 12;
const FOOTER_LENGTH: usize = 16;

/// No operation, where a sequence number stands.
const NONE: i64 = -1;
/// No value at all, where a sequence number stands.
const UNASSIGNED: i64 = -2;

/// A checkpoint, of [`CHECKPOINT`](crate::names::CHECKPOINT) or of a closed generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The length of the generation's file up to which it is synced, header included, in bytes.
    pub offset: u64,
    /// The number of operations before `offset`.
    pub ops: u32,
    /// The generation that `offset` and `ops` are about.
    pub generation: u64,
    /// The lowest sequence number in the generation; -1 while it has no operations.
    pub min_seq_no: i64,
    /// The highest sequence number in the generation; -1 while it has no operations.
    pub max_seq_no: i64,
    /// The global checkpoint that this copy of the shard knew; -1 or -2 while there is none.
    pub global_checkpoint: i64,
    /// The oldest generation that the engine still needs.
    pub min_generation: u64,
    /// Operations of the generation above this sequence number are void; -2, as the engines write it, if all are
    /// valid.
    pub trimmed_above: i64,
}

impl Checkpoint {
    /// Reads the whole content of a checkpoint file.
    ///
    /// # Errors
    /// [`FormatError::Incomplete`] if the file is still shorter than a checkpoint, [`FormatError::Damaged`] if its
    /// checksum is wrong (which is also how a read looks that fell into a write) or its values contradict each
    /// other, [`FormatError::Unsupported`] for versions other than 3 and 4.
    pub fn parse(bytes: &[u8]) -> Result<Checkpoint, FormatError> {
        if bytes.len() < HEADER_LENGTH + FOOTER_LENGTH {
            return Err(FormatError::Incomplete {
                needed: CHECKPOINT_LENGTH,
            });
        }
        let mut head = Cursor::new(Part::Checkpoint, bytes);
        let version = codec_version(&mut head, CODEC)?;
        let known = version == BIG_ENDIAN || version == LITTLE_ENDIAN;
        if known && bytes.len() < CHECKPOINT_LENGTH {
            return Err(FormatError::Incomplete {
                needed: CHECKPOINT_LENGTH,
            });
        }
        // The footer of every version is alike: a damaged version is found to be damaged, not unsupported.
        verify_footer(bytes)?;
        if !known {
            return Err(head.unsupported("the version", i64::from(version)));
        }
        let body = head.take(CHECKPOINT_LENGTH - HEADER_LENGTH - FOOTER_LENGTH, "its fields")?;
        head.take(FOOTER_LENGTH, "its footer")?;
        head.end()?;
        let mut fields = Fields {
            cursor: Cursor::new(Part::Checkpoint, body),
            little_endian: version == LITTLE_ENDIAN,
        };
        let checkpoint = Checkpoint {
            offset: fields.unsigned("the offset")?,
            ops: fields.count("the number of operations")?,
            generation: fields.unsigned("the generation")?,
            min_seq_no: fields.at_least(NONE, "the lowest sequence number")?,
            max_seq_no: fields.at_least(NONE, "the highest sequence number")?,
            global_checkpoint: fields.at_least(UNASSIGNED, "the global checkpoint")?,
            min_generation: fields.unsigned("the oldest generation")?,
            trimmed_above: fields.at_least(UNASSIGNED, "the sequence number to trim above")?,
        };
        checkpoint.plausible()?;
        Ok(checkpoint)
    }

    /// What the engines themselves hold to be true of every checkpoint.
    fn plausible(&self) -> Result<(), FormatError> {
        let excess = [
            (
                self.min_seq_no > self.max_seq_no,
                "the lowest sequence number, above the highest,",
                self.min_seq_no,
            ),
            (
                self.trimmed_above > self.max_seq_no,
                "the sequence number to trim above, itself above the highest,",
                self.trimmed_above,
            ),
            (
                self.min_generation > self.generation,
                "the oldest generation, above the current one,",
                self.min_generation as i64,
            ),
        ];
        match excess.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, what, found)) => Err(FormatError::Damaged {
                part: Part::Checkpoint,
                what: Damage::Number { what, found },
            }),
            None => Ok(()),
        }
    }
}

/// Takes the header that Lucene writes and gives its version.
pub(crate) fn codec_version(cursor: &mut Cursor<'_>, codec: &'static str) -> Result<i32, FormatError> {
    if cursor.int("the mark of its beginning")? as u32 != CODEC_MAGIC {
        return Err(cursor.damaged(Damage::Mark("the mark of its beginning")));
    }
    // The name is ASCII and short, so that its length is one byte.
    if cursor.bytes("its name")? != codec.as_bytes() {
        return Err(cursor.damaged(Damage::Mark("its name")));
    }
    cursor.int("its version")
}

fn verify_footer(bytes: &[u8]) -> Result<(), FormatError> {
    let damaged = |what| FormatError::Damaged {
        part: Part::Checkpoint,
        what,
    };
    let (content, footer) = bytes.split_at(bytes.len().saturating_sub(FOOTER_LENGTH));
    let mut footer = Cursor::new(Part::Checkpoint, footer);
    if footer.int("the mark of its end")? as u32 != FOOTER_MAGIC {
        return Err(damaged(Damage::Mark("the mark of its end")));
    }
    if footer.int("the kind of checksum")? != 0 {
        return Err(damaged(Damage::Mark("the kind of checksum")));
    }
    // The checksum covers everything before it, the two marks above included.
    let covered = &bytes[..content.len() + 8];
    let stored = footer.long("the checksum")? as u64;
    let computed = crc32fast::hash(covered);
    if stored == u64::from(computed) {
        Ok(())
    } else {
        Err(damaged(Damage::Checksum { stored, computed }))
    }
}

/// The fields in the byte order of their version.
struct Fields<'a> {
    cursor: Cursor<'a>,
    little_endian: bool,
}

impl Fields<'_> {
    fn long(&mut self, what: &'static str) -> Result<i64, FormatError> {
        let value = self.cursor.long(what)?;
        Ok(if self.little_endian {
            value.swap_bytes()
        } else {
            value
        })
    }

    fn at_least(&mut self, least: i64, what: &'static str) -> Result<i64, FormatError> {
        let found = self.long(what)?;
        if found >= least {
            Ok(found)
        } else {
            Err(self.cursor.damaged(Damage::Number { what, found }))
        }
    }

    fn unsigned(&mut self, what: &'static str) -> Result<u64, FormatError> {
        Ok(self.at_least(0, what)? as u64)
    }

    fn count(&mut self, what: &'static str) -> Result<u32, FormatError> {
        let value = self.cursor.int(what)?;
        let found = if self.little_endian {
            value.swap_bytes()
        } else {
            value
        };
        u32::try_from(found).map_err(|_| {
            self.cursor.damaged(Damage::Number {
                what,
                found: i64::from(found),
            })
        })
    }
}

#[cfg(test)]
mod tests;
