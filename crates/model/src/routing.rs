//! Which shard a document belongs to: the engines' own hash, so that any document can be reached by any routing value
//! that lands on its shard.
//!
//! Source of the format: Elasticsearch and OpenSearch hash the UTF-16LE bytes of the routing (the id where there is
//! none) with 32-bit murmur3, seed 0, and map the result onto `routing_num_shards` slots.

/// Murmur3 (x86, 32 bit, seed 0) of a string's UTF-16LE bytes, as the engines hash routing values.
pub fn murmur3(text: &str) -> i32 {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut hash: u32 = 0;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        hash = (hash ^ scramble(word))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    // UTF-16 leaves either nothing or two bytes over.
    if let [low, high] = *chunks.remainder() {
        hash ^= scramble(u32::from(u16::from_le_bytes([low, high])));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    (hash ^ (hash >> 16)) as i32
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}

/// How an index spreads documents over its shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRouting {
    /// `index.number_of_shards`.
    pub shards: u32,
    /// `routing_num_shards` of the cluster state: a multiple of `shards`, fixed when the index was first created.
    pub routing_shards: u32,
    /// `index.routing_partition_size`; 1 unless routing is partitioned.
    pub partition_size: u32,
}

impl ShardRouting {
    /// The shard of the document with this id and routing.
    pub fn shard_of(self, id: &str, routing: Option<&str>) -> u32 {
        let base = i64::from(murmur3(routing.unwrap_or(id)));
        let offset = if self.partition_size > 1 {
            i64::from(murmur3(id)).rem_euclid(i64::from(self.partition_size))
        } else {
            0
        };
        // The engines add in 32 bits before the floor modulo.
        let hash = i64::from((base as i32).wrapping_add(offset as i32));
        (hash.rem_euclid(i64::from(self.routing_shards)) / i64::from(self.routing_shards / self.shards))
            as u32
    }

    /// A routing value that leads to `shard` for the document with this id: what a delete is sent with when nobody knows
    /// the routing that the document was indexed with. `None` only if `shard` is not one of the index's.
    pub fn leading_to(self, shard: u32, id: &str) -> Option<String> {
        if shard >= self.shards {
            return None;
        }
        // Each try hits one shard in `shards` at random, so the bound is never met.
        (0..self.shards.saturating_mul(1_000))
            .map(|number| number.to_string())
            .find(|routing| self.shard_of(id, Some(routing)) == shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shard_can_be_reached_whatever_the_id() {
        for (shards, routing_shards, partition_size) in
            [(1, 1024, 1), (5, 640, 1), (7, 896, 3), (128, 1024, 1)]
        {
            let index = ShardRouting {
                shards,
                routing_shards,
                partition_size,
            };
            for shard in 0..shards {
                let id = format!("document {shard}");
                let routing = index.leading_to(shard, &id).unwrap();
                assert_eq!(index.shard_of(&id, Some(&routing)), shard);
            }
            assert_eq!(index.leading_to(shards, "1"), None);
        }
    }

    #[test]
    fn murmur3_matches_the_engines() {
        // From Elasticsearch's Murmur3HashFunctionTests.
        assert_eq!(murmur3("hell"), 0x5a0c_b7c3);
        assert_eq!(murmur3("hello"), 0xd7c3_1989_u32 as i32);
        assert_eq!(murmur3("hello w"), 0x22ab_2984);
        assert_eq!(murmur3("hello wo"), 0xdf0c_a123_u32 as i32);
        assert_eq!(murmur3("hello wor"), 0xe774_4d61_u32 as i32);
        assert_eq!(
            murmur3("The quick brown fox jumps over the lazy dog"),
            0xe07d_b09c_u32 as i32
        );
        assert_eq!(
            murmur3("The quick brown fox jumps over the lazy cog"),
            0x4e63_d2ad
        );
    }

    #[test]
    fn shards_partition_the_slots() {
        let routing = ShardRouting {
            shards: 5,
            routing_shards: 640,
            partition_size: 1,
        };
        for n in 0..200 {
            assert!(routing.shard_of(&n.to_string(), None) < 5);
        }
        assert_eq!(routing.shard_of("x", Some("r")), routing.shard_of("y", Some("r")));
    }
}
