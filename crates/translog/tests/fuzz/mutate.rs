//! Damage at random.

use rand::{Rng, RngExt};

/// Bytes at the borders of what lengths, flags and UTF-8 mean by them.
const BORDERS: [u8; 16] = [
    0, 1, 2, 3, 4, 9, 10, 11, 0x7f, 0x80, 0xbf, 0xc0, 0xed, 0xef, 0xf0, 0xff,
];

/// Lengths that are too short, too long, negative, or as large as can be.
const LENGTHS: [i32; 10] = [0, 1, 4, 21, 22, 0xffff, 1 << 24, i32::MAX, i32::MIN, -1];

/// Damages bytes a few times; `other` is what pieces are taken from.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut impl Rng) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            bytes.extend(&other[..random.random_range(0..other.len().min(64))]);
            continue;
        }
        // Most of what has meaning stands at the beginning and at the end.
        let at = match random.random_range(0..4) {
            0 => random.random_range(0..bytes.len().min(32)),
            1 => bytes.len() - 1 - random.random_range(0..bytes.len().min(40)),
            _ => random.random_range(0..bytes.len()),
        };
        match random.random_range(0..9) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at] = BORDERS[random.random_range(0..BORDERS.len())],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + random.random_range(1..20)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let from = random.random_range(0..other.len());
                let to = (from + random.random_range(1..60)).min(other.len());
                let end = (at + random.random_range(0..60)).min(bytes.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            6 => {
                let length = LENGTHS[random.random_range(0..LENGTHS.len())].to_be_bytes();
                for (byte, value) in bytes[at..].iter_mut().zip(length) {
                    *byte = value;
                }
            }
            // A number of several bytes with a random end.
            7 => {
                for byte in bytes[at..].iter_mut().take(random.random_range(1..6)) {
                    *byte |= 0x80;
                }
            }
            // Surrogates, paired or not.
            _ => {
                let unit: u16 = random.random_range(0xd700..0xe100);
                let unit = [
                    0xe0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3f) as u8,
                    0x80 | (unit & 0x3f) as u8,
                ];
                let end = (at + 3).min(bytes.len());
                bytes.splice(at..end, unit);
            }
        }
    }
}
