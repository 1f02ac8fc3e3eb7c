//! Writes what the engines write, so that tests and the sandbox can build translog folders.
//!
//! Not for production: nothing checks that what is asked for makes sense. Numbers above `i64::MAX` become negative
//! ones, which the parser refuses.

use crate::checkpoint::{
    self, BIG_ENDIAN, CHECKPOINT_LENGTH, CODEC_MAGIC, Checkpoint, FOOTER_MAGIC, LITTLE_ENDIAN,
};
use crate::header;
use crate::op::{DELETE, ID_FIELD, INDEX, NOOP, Op};

/// Which generation of formats to write, by the version of their checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Elasticsearch 7 and OpenSearch 1: index operations of format 10, delete operations of format 6, both with a
    /// mapping type.
    V3,
    /// Elasticsearch 8 and OpenSearch 2 and later: formats 11 and 7.
    V4,
}

/// A checkpoint file.
pub fn checkpoint(checkpoint: &Checkpoint, version: Version) -> Vec<u8> {
    let number = match version {
        Version::V3 => BIG_ENDIAN,
        Version::V4 => LITTLE_ENDIAN,
    };
    let mut out = codec_header(checkpoint::CODEC, number);
    let before = [checkpoint.offset as i64];
    let after = [
        checkpoint.generation as i64,
        checkpoint.min_seq_no,
        checkpoint.max_seq_no,
        checkpoint.global_checkpoint,
        checkpoint.min_generation as i64,
        checkpoint.trimmed_above,
    ];
    let long = |value: &i64| match version {
        Version::V3 => value.to_be_bytes(),
        Version::V4 => value.to_le_bytes(),
    };
    out.extend(before.iter().flat_map(long));
    out.extend(match version {
        Version::V3 => checkpoint.ops.to_be_bytes(),
        Version::V4 => checkpoint.ops.to_le_bytes(),
    });
    out.extend(after.iter().flat_map(long));
    out.extend(FOOTER_MAGIC.to_be_bytes());
    out.extend([0; 4]);
    out.extend(u64::from(crc32fast::hash(&out)).to_be_bytes());
    debug_assert_eq!(out.len(), CHECKPOINT_LENGTH);
    out
}

/// The header of a generation, alike in both versions.
pub fn header(uuid: &str, primary_term: u64) -> Vec<u8> {
    let mut out = codec_header(header::CODEC, header::VERSION);
    out.extend((uuid.len() as u32).to_be_bytes());
    out.extend(uuid.as_bytes());
    out.extend(primary_term.to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

/// A frame with its length and checksum. Version 3 gets the mapping type `_doc`.
pub fn frame(op: &Op<'_>, version: Version) -> Vec<u8> {
    seal(&body(op, version))
}

/// Puts length and checksum around the body of a frame, whatever it holds.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 8);
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out.extend(crc32fast::hash(body).to_be_bytes());
    out
}

fn body(op: &Op<'_>, version: Version) -> Vec<u8> {
    const TYPE: &str = "_doc";

    let typed = version == Version::V3;
    let mut out = Vec::new();
    match op {
        Op::Index {
            id,
            routing,
            version,
            seq_no,
            primary_term,
            source,
        } => {
            out.push(INDEX);
            vint(&mut out, if typed { 10 } else { 11 });
            string(&mut out, id);
            if typed {
                string(&mut out, TYPE);
            }
            bytes(&mut out, source);
            out.push(u8::from(routing.is_some()));
            if let Some(routing) = routing {
                string(&mut out, routing);
            }
            out.extend(version.to_be_bytes());
            out.extend((-1i64).to_be_bytes());
            out.extend(seq_no.to_be_bytes());
            out.extend(primary_term.to_be_bytes());
        }
        Op::Delete {
            id,
            version,
            seq_no,
            primary_term,
        } => {
            out.push(DELETE);
            vint(&mut out, if typed { 6 } else { 7 });
            if typed {
                string(&mut out, TYPE);
            }
            string(&mut out, id);
            if typed {
                string(&mut out, ID_FIELD);
                // The engines have shorter forms for ids that are numbers or base64, and read this one for all.
                bytes(&mut out, &[&[0xff], id.as_bytes()].concat());
            }
            out.extend(version.to_be_bytes());
            out.extend(seq_no.to_be_bytes());
            out.extend(primary_term.to_be_bytes());
        }
        Op::Noop {
            seq_no,
            primary_term,
            reason,
        } => {
            out.push(NOOP);
            out.extend(seq_no.to_be_bytes());
            out.extend(primary_term.to_be_bytes());
            string(&mut out, reason);
        }
    }
    out
}

fn codec_header(codec: &str, version: i32) -> Vec<u8> {
    let mut out = CODEC_MAGIC.to_be_bytes().to_vec();
    bytes(&mut out, codec.as_bytes());
    out.extend(version.to_be_bytes());
    out
}

fn vint(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    vint(out, value.len());
    out.extend(value);
}

fn string(out: &mut Vec<u8>, value: &str) {
    vint(out, value.encode_utf16().count());
    for unit in value.encode_utf16() {
        match unit {
            0..=0x7f => out.push(unit as u8),
            0x80..=0x7ff => out.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
            _ => out.extend([
                0xe0 | (unit >> 12) as u8,
                0x80 | (unit >> 6 & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
}
