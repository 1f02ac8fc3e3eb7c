//! Pieces of files on their way: with a checksum from where they were read to where they are written, and compressed where that
//! makes them smaller.

use bytes::Bytes;
use crc32fast::Hasher;
use thiserror::Error;

use crate::v1;

/// Bytes in a chunk, at most.
pub const CHUNK_BYTES: u64 = 512 * 1024;
/// The fastest: what it is for are links that are slower than it.
const LEVEL: i32 = 1;

/// A chunk is not what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// It cannot be decompressed.
    #[error("a chunk cannot be decompressed")]
    Compressed,
    /// Its checksum is another one.
    #[error("the checksum of a chunk is not that of its data")]
    Checksum,
}

/// A chunk of these bytes as they are.
pub fn plain(data: Bytes) -> v1::Chunk {
    v1::Chunk {
        crc32: crc32fast::hash(&data),
        data,
        file_crc32: None,
        uncompressed: None,
    }
}

/// A chunk of these bytes, whose checksum is `crc32`, compressed; `None` where that saves less than a tenth.
pub fn compressed(data: &[u8], crc32: u32) -> Option<v1::Chunk> {
    let smaller = zstd::bulk::compress(data, LEVEL).ok()?;
    (smaller.len() < data.len() / 10 * 9).then(|| v1::Chunk {
        data: smaller.into(),
        crc32,
        file_crc32: None,
        uncompressed: Some(data.len() as u32),
    })
}

/// The bytes in a chunk.
///
/// # Errors
/// Where they are not those that were sent.
pub fn open(chunk: v1::Chunk) -> Result<Bytes, ChunkError> {
    let data = match chunk.uncompressed {
        None => chunk.data,
        Some(length) if u64::from(length) <= CHUNK_BYTES => {
            let data = zstd::bulk::decompress(&chunk.data, length as usize);
            data.map_err(|_| ChunkError::Compressed)?.into()
        }
        Some(_) => return Err(ChunkError::Compressed),
    };
    if crc32fast::hash(&data) == chunk.crc32 {
        Ok(data)
    } else {
        Err(ChunkError::Checksum)
    }
}

/// The checksum of what has `before` for its own with `length` bytes behind it whose checksum is `crc32`: no byte is read for it.
pub fn joined(before: u32, crc32: u32, length: u64) -> u32 {
    let mut whole = Hasher::new_with_initial(before);
    whole.combine(&Hasher::new_with_initial_len(crc32, length));
    whole.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_parts_make_that_of_the_whole() {
        let whole: Vec<u8> = (0..10_000_u32).map(|n| (n * 7 / 3) as u8).collect();
        for cut in [0, 1, 4_096, 9_999, 10_000] {
            let (front, back) = whole.split_at(cut);
            let (before, crc32) = (crc32fast::hash(front), crc32fast::hash(back));
            assert_eq!(
                joined(before, crc32, back.len() as u64),
                crc32fast::hash(&whole),
                "{cut}"
            );
        }
    }

    #[test]
    fn chunks_arrive_as_they_were_or_not_at_all() {
        let text = "the same words again and again ".repeat(1_000).into_bytes();
        let crc = crc32fast::hash(&text);
        let small = compressed(&text, crc).unwrap();
        assert!(small.data.len() < text.len() / 2);
        assert_eq!(open(small.clone()).unwrap(), text);
        let plainly = plain(text.clone().into());
        assert_eq!(open(plainly.clone()).unwrap(), text);
        for good in [small, plainly] {
            for place in [0, good.data.len() / 2, good.data.len() - 1] {
                let mut data = good.data.to_vec();
                data[place] ^= 4;
                let bad = v1::Chunk {
                    data: data.into(),
                    ..good.clone()
                };
                assert!(open(bad).is_err(), "{place}");
            }
        }
        let mut state = 1_u64;
        let dense: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(10_000)
        .collect();
        assert!(compressed(&dense, 0).is_none(), "what is dense stays as it is");
        let huge = v1::Chunk {
            uncompressed: Some(u32::MAX),
            ..plain(Bytes::from_static(b"x"))
        };
        assert_eq!(open(huge), Err(ChunkError::Compressed));
    }
}
