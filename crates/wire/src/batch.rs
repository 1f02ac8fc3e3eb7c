//! Operations packed for the way: encoded, checksummed, compressed.
//!
//! The checksum is made over the block before compression, where the operations were read, and checked where they are
//! about to be applied: whatever happens to a batch in between, memory and compression included, it arrives as it was
//! or it is refused. Decompression never makes more than the sender announced, nor more than [`MAX_BLOCK_BYTES`].

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use prost::Message;
use slipstream_model::Op;
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use crate::convert::ConvertError;
use crate::protocol::MAX_BLOCK_BYTES;
use crate::v1;

/// Level 1 compresses pages of documents nearly as well as the default at a third more speed.
const LEVEL: i32 = 1;

/// Buffers that grew beyond this for a rare huge document are given back after it, in bytes.
const KEEP_BYTES: usize = 8 * 1024 * 1024;

thread_local! {
    /// Making one takes longer than a small batch does.
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
}

/// Why a batch could not be packed or must not be applied.
#[derive(Debug, Error)]
pub enum BatchError {
    /// The operations make a larger block than a follower accepts.
    #[error(
        "{ops} operations of {bytes} bytes do not fit into one batch of at most {MAX_BLOCK_BYTES} bytes; the largest \
         is operation {seq_no} on document `{id}`: a document of this size cannot be replicated"
    )]
    TooLarge {
        /// How many operations there are.
        ops: usize,
        /// Size of their block.
        bytes: usize,
        /// The largest operation.
        seq_no: u64,
        /// Its document.
        id: String,
    },
    /// The sender announces a block that no agent makes.
    #[error(
        "a batch announces a block of {0} bytes, and at most {MAX_BLOCK_BYTES} are allowed: the \
         leader agent is not working correctly"
    )]
    Oversized(u64),
    /// zstd could not compress, which only a lack of memory can explain.
    #[error("cannot compress a batch of {bytes} bytes: look for a lack of memory on this host")]
    Compress {
        /// Size of the block.
        bytes: usize,
        /// What zstd says.
        #[source]
        source: io::Error,
    },
    /// The batch does not decompress to what was announced.
    #[error(
        "a batch was damaged between being read on the leader and being applied here: it does not \
         decompress; it must be read again, and if this repeats, look for faulty memory or a faulty \
         network device"
    )]
    Decompress(#[source] io::Error),
    /// The batch decompressed to something else than was read on the leader.
    #[error(
        "a batch was damaged between being read on the leader and being applied here: its checksum is \
         {found:08x} and should be {expected:08x}; it must be read again, and if this repeats, look \
         for faulty memory or a faulty network device"
    )]
    Checksum {
        /// Checksum made by the leader agent.
        expected: u32,
        /// Checksum of what arrived.
        found: u32,
    },
    /// The block is intact and still not understood.
    #[error("a batch arrived intact but cannot be understood: the agents' releases do not fit together")]
    Decode(#[source] prost::DecodeError),
    /// An operation is not one that an agent sends.
    #[error("a batch holds an operation that must not be applied")]
    Operation(#[source] ConvertError),
}

/// Packs operations into batches, keeping the compressor and its buffers from one batch to the next.
#[derive(Default)]
pub struct BatchEncoder {
    compressor: Compressor<'static>,
    block: Vec<u8>,
    compressed: Vec<u8>,
}

impl BatchEncoder {
    /// An encoder; it takes memory with its first batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Packs `ops`, which were indexed under `metadata`, in their order.
    ///
    /// # Errors
    /// [`BatchError::TooLarge`] where they do not fit into [`MAX_BLOCK_BYTES`]; the caller cuts batches well below
    /// that, so a single document is beyond it. [`BatchError::Compress`] for lack of memory.
    pub fn encode(&mut self, ops: &[Op], metadata: v1::MetadataVersions) -> Result<v1::Batch, BatchError> {
        let block = v1::Block {
            ops: ops.iter().map(v1::Op::from).collect(),
        };
        let bytes = block.encoded_len();
        if bytes as u64 > MAX_BLOCK_BYTES {
            let largest = ops.iter().max_by_key(|op| op.weight());
            return Err(BatchError::TooLarge {
                ops: ops.len(),
                bytes,
                seq_no: largest.map_or(0, |op| op.seq_no.get()),
                id: largest.map_or_else(String::new, |op| op.doc.id.clone()),
            });
        }
        self.block.clear();
        self.block.reserve(bytes);
        block.encode_raw(&mut self.block);
        let crc32 = crc32fast::hash(&self.block);
        self.compress()
            .map_err(|source| BatchError::Compress { bytes, source })?;
        // Copied out at its exact size: batches wait in queues, and a buffer sized for the worst case would wait with
        // them.
        let block_zstd = Bytes::copy_from_slice(&self.compressed);
        self.give_back();
        Ok(v1::Batch {
            block_zstd,
            crc32,
            block_bytes: bytes as u64,
            metadata: Some(metadata),
        })
    }

    fn compress(&mut self) -> io::Result<()> {
        self.compressor
            .set_parameter(CParameter::CompressionLevel(LEVEL))?;
        self.compressed.clear();
        self.compressed
            .reserve(zstd::zstd_safe::compress_bound(self.block.len()));
        self.compressor
            .compress_to_buffer(&self.block, &mut self.compressed)?;
        Ok(())
    }

    fn give_back(&mut self) {
        for buffer in [&mut self.block, &mut self.compressed] {
            buffer.clear();
            buffer.shrink_to(KEEP_BYTES);
        }
    }
}

/// Packs one batch; [`BatchEncoder`] does the same with less work for many.
///
/// # Errors
/// As [`BatchEncoder::encode`].
pub fn encode_batch(ops: &[Op], metadata: v1::MetadataVersions) -> Result<v1::Batch, BatchError> {
    BatchEncoder::new().encode(ops, metadata)
}

/// Unpacks a batch after checking that it is what the leader agent read.
///
/// Sources are slices of one buffer of `block_bytes` bytes, which lives until the last of them is dropped.
///
/// # Errors
/// Any but [`BatchError::TooLarge`] and [`BatchError::Compress`]. None of the operations may be applied then.
pub fn decode_batch(batch: v1::Batch) -> Result<Vec<Op>, BatchError> {
    let v1::Batch {
        block_zstd,
        crc32: expected,
        block_bytes,
        metadata: _,
    } = batch;
    if block_bytes > MAX_BLOCK_BYTES {
        return Err(BatchError::Oversized(block_bytes));
    }
    let announced = block_bytes as usize;
    let block = DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.decompress(&block_zstd, announced))
        .map_err(BatchError::Decompress)?;
    drop(block_zstd);
    if block.len() != announced {
        let short = format!("{} bytes instead of {announced}", block.len());
        return Err(BatchError::Decompress(io::Error::new(
            io::ErrorKind::InvalidData,
            short,
        )));
    }
    let found = crc32fast::hash(&block);
    if found != expected {
        return Err(BatchError::Checksum { expected, found });
    }
    let block = v1::Block::decode(Bytes::from(block)).map_err(BatchError::Decode)?;
    block
        .ops
        .into_iter()
        .map(|op| Op::try_from(op).map_err(BatchError::Operation))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slipstream_model::{Change, DocRef, PrimaryTerm, SeqNo, Version};

    use super::*;

    fn op(seq_no: u64, id: &str, source: &[u8]) -> Op {
        Op {
            seq_no: SeqNo::new(seq_no),
            term: PrimaryTerm(1),
            version: Version(3),
            doc: DocRef {
                id: id.to_owned(),
                routing: None,
            },
            change: Change::Index {
                source: Bytes::copy_from_slice(source),
            },
        }
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let change = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|s| Change::Index { source: s.into() }),
            Just(Change::Delete),
            Just(Change::Noop),
        ];
        let doc = (".{1,12}", prop::option::of(".{0,12}"));
        let one = (0..=i64::MAX as u64, 1u64..9, any::<i64>(), doc, change).prop_map(
            |(seq_no, term, version, (id, routing), change)| Op {
                seq_no: SeqNo::new(seq_no),
                term: PrimaryTerm(term),
                version: Version(version),
                doc: DocRef {
                    id: if change == Change::Noop { String::new() } else { id },
                    routing,
                },
                change,
            },
        );
        prop::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(first in ops(), second in ops()) {
            let mut encoder = BatchEncoder::new();
            let metadata = v1::MetadataVersions { mapping: 1, settings: 2, aliases: 3 };
            for ops in [first, second] {
                let batch = encoder.encode(&ops, metadata).unwrap();
                prop_assert_eq!(&batch.metadata, &Some(metadata));
                prop_assert_eq!(decode_batch(batch).unwrap(), ops);
            }
        }

        #[test]
        fn a_damaged_batch_never_gives_other_operations(
            ops in ops(),
            place in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let batch = encode_batch(&ops, v1::MetadataVersions::default()).unwrap();
            let mut bytes = batch.block_zstd.to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            // A bit of the frame that means nothing may flip without harm; anything else must be noticed.
            if let Ok(found) = decode_batch(v1::Batch { block_zstd: bytes.into(), ..batch }) {
                prop_assert_eq!(found, ops);
            }
        }
    }

    #[test]
    fn sources_are_slices_of_the_block() {
        let ops = [op(1, "a", br#"{"v":1}"#), op(2, "b", br#"{"v":2}"#)];
        let found = decode_batch(encode_batch(&ops, v1::MetadataVersions::default()).unwrap()).unwrap();
        let at = |op: &Op| match &op.change {
            Change::Index { source } => source.as_ptr() as usize,
            other => panic!("{other:?}"),
        };
        let apart = at(&found[1]) - at(&found[0]);
        assert!(
            apart < 40,
            "{apart} bytes between two sources that lie side by side in the block"
        );
    }

    #[test]
    fn a_wrong_checksum_says_where_the_damage_happened() {
        let batch = encode_batch(&[op(1, "a", b"{}")], v1::MetadataVersions::default()).unwrap();
        let error = decode_batch(v1::Batch {
            crc32: !batch.crc32,
            ..batch
        })
        .unwrap_err();
        assert!(matches!(error, BatchError::Checksum { .. }));
        assert!(
            error
                .to_string()
                .contains("damaged between being read on the leader and being applied"),
            "{error}"
        );
    }

    #[test]
    fn more_than_announced_is_not_decompressed() {
        let batch = encode_batch(
            &[op(1, "a", &vec![b' '; 1 << 20])],
            v1::MetadataVersions::default(),
        )
        .unwrap();
        assert!(batch.block_zstd.len() < 4096, "spaces compress well");
        let fewer = v1::Batch {
            block_bytes: 1000,
            ..batch.clone()
        };
        assert!(matches!(decode_batch(fewer), Err(BatchError::Decompress(_))));
        let more = v1::Batch {
            block_bytes: batch.block_bytes + 1,
            ..batch.clone()
        };
        assert!(matches!(decode_batch(more), Err(BatchError::Decompress(_))));
        let absurd = v1::Batch {
            block_bytes: u64::MAX,
            ..batch
        };
        assert!(matches!(
            decode_batch(absurd),
            Err(BatchError::Oversized(u64::MAX))
        ));
    }

    #[test]
    fn a_document_beyond_the_limit_is_named() {
        let huge = Bytes::from(vec![b'x'; MAX_BLOCK_BYTES as usize]);
        let huge = Op {
            change: Change::Index { source: huge },
            ..op(7, "whale", b"")
        };
        let error =
            encode_batch(&[op(6, "minnow", b"{}"), huge], v1::MetadataVersions::default()).unwrap_err();
        assert!(
            error.to_string().contains("operation 7 on document `whale`"),
            "{error}"
        );
    }
}
