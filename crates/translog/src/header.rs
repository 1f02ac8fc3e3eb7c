//! The header of a generation: which history its operations belong to.

use crate::checkpoint::codec_version;
use crate::cursor::Cursor;
use crate::error::{Damage, FormatError, Part};

/// The name of generations in their header.
pub(crate) const CODEC: &str = "translog";
/// The version since Elasticsearch 6.4: with a primary term and a checksum.
pub(crate) const VERSION: i32 = 3;

/// Magic, length of the name, name, version, length of the UUID.
const BEFORE_UUID: usize = 4 + 1 + CODEC.len() + 4 + 4;
/// Primary term and checksum.
const AFTER_UUID: usize = 8 + 4;

/// The header of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The UUID of the translog. Another one means another history of the shard on this disk: operations of the two
    /// do not go together.
    pub uuid: &'a str,
    /// The shard's primary term when the generation was begun. No operation in it has a higher one.
    pub primary_term: u64,
    /// The length of the header in bytes: where the first frame begins.
    pub length: usize,
}

impl Header<'_> {
    /// No header that is accepted is longer, in bytes. The engines' are 55.
    pub const MAX_LENGTH: usize = 512;

    /// Reads the header at the beginning of a generation's file; what follows it is not looked at.
    ///
    /// # Errors
    /// [`FormatError::Incomplete`] if it goes on behind `bytes` (never if those are at least
    /// [`MAX_LENGTH`](Self::MAX_LENGTH)), [`FormatError::Damaged`] if its checksum is wrong, and
    /// [`FormatError::Unsupported`] for versions other than 3.
    pub fn parse(bytes: &[u8]) -> Result<Header<'_>, FormatError> {
        let Some(head) = bytes.get(..BEFORE_UUID) else {
            return Err(FormatError::Incomplete { needed: BEFORE_UUID });
        };
        let mut head = Cursor::new(Part::Header, head);
        let version = codec_version(&mut head, CODEC)?;
        if version != VERSION {
            return Err(head.unsupported("the version", i64::from(version)));
        }
        let found = head.int("the length of the UUID")?;
        let uuid_length = usize::try_from(found)
            .ok()
            .filter(|length| (1..=Self::MAX_LENGTH - BEFORE_UUID - AFTER_UUID).contains(length))
            .ok_or_else(|| {
                head.damaged(Damage::Number {
                    what: "the length of the UUID",
                    found: i64::from(found),
                })
            })?;
        let length = BEFORE_UUID + uuid_length + AFTER_UUID;
        let Some(bytes) = bytes.get(..length) else {
            return Err(FormatError::Incomplete { needed: length });
        };
        let mut rest = Cursor::new(Part::Header, &bytes[BEFORE_UUID..]);
        let uuid = rest.take(uuid_length, "the UUID")?;
        let term = rest.long("the primary term")?;
        let stored = rest.int("the checksum")? as u32;
        let computed = crc32fast::hash(&bytes[..length - 4]);
        if stored != computed {
            return Err(rest.damaged(Damage::Checksum {
                stored: u64::from(stored),
                computed,
            }));
        }
        let uuid = std::str::from_utf8(uuid).map_err(|_| rest.damaged(Damage::Text("the UUID")))?;
        let primary_term = u64::try_from(term).map_err(|_| {
            rest.damaged(Damage::Number {
                what: "the primary term",
                found: term,
            })
        })?;
        Ok(Header {
            uuid,
            primary_term,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    const UUID: &str = "uJ2mQ1RrTbSx3oQh0nV5_g";

    #[test]
    fn a_header_is_read_and_what_follows_is_not() {
        let mut bytes = encode::header(UUID, 12);
        let length = bytes.len();
        assert_eq!(length, 55);
        for _ in 0..2 {
            let expected = Header {
                uuid: UUID,
                primary_term: 12,
                length,
            };
            assert_eq!(Header::parse(&bytes), Ok(expected));
            bytes.extend([0xff; 100]);
        }
    }

    #[test]
    fn a_header_in_the_making_is_waited_for() {
        let bytes = encode::header(UUID, 12);
        for length in 0..bytes.len() {
            match Header::parse(&bytes[..length]) {
                Err(FormatError::Incomplete { needed }) => {
                    assert!(length < needed && needed <= bytes.len(), "{length} bytes");
                }
                other => panic!("{length} bytes: {other:?}"),
            }
        }
    }

    #[test]
    fn no_header_is_longer_than_its_bound() {
        let longest = "u".repeat(Header::MAX_LENGTH - BEFORE_UUID - AFTER_UUID);
        let bytes = encode::header(&longest, 1);
        assert_eq!(Header::parse(&bytes).unwrap().length, Header::MAX_LENGTH);
        let longer = encode::header(&format!("{longest}u"), 1);
        assert!(matches!(Header::parse(&longer), Err(FormatError::Damaged { .. })));
        for length in [0u32, 1 << 31, u32::MAX, i32::MAX as u32] {
            let mut bytes = encode::header(UUID, 1);
            bytes[BEFORE_UUID - 4..BEFORE_UUID].copy_from_slice(&length.to_be_bytes());
            assert!(
                matches!(Header::parse(&bytes), Err(FormatError::Damaged { .. })),
                "{length}"
            );
        }
    }

    #[test]
    fn other_versions_and_other_files_are_told_apart() {
        let mut bytes = encode::header(UUID, 1);
        bytes[BEFORE_UUID - 5] = 2;
        assert!(matches!(
            Header::parse(&bytes),
            Err(FormatError::Unsupported { found: 2, .. })
        ));
        let mut bytes = encode::header(UUID, 1);
        bytes[5] = b'T';
        let what = Damage::Mark("its name");
        let part = Part::Header;
        assert_eq!(Header::parse(&bytes), Err(FormatError::Damaged { part, what }));
        let what = Damage::Mark("the mark of its beginning");
        assert_eq!(Header::parse(&[0; 64]), Err(FormatError::Damaged { part, what }));
    }

    #[test]
    fn no_term_is_negative() {
        let bytes = encode::header(UUID, 1 << 63);
        assert!(matches!(Header::parse(&bytes), Err(FormatError::Damaged { .. })));
    }
}
