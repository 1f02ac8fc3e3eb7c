//! How keys are laid out, so that they sort by index, shard, and then sequence number or id.
//!
//! ```text
//! of a shard     length of the index name u32 BE | index name | shard u32 BE
//! of `live`      … | sequence number u64 BE | id
//! of `ids`       … | id
//! of a rule      leader's alias | U+0001 | name
//! ```
//! The length in front keeps one index's keys from beginning like another's: without it `logs`, shard 0x31…, could meet
//! `logs1`. The id stands in the key of `live` because a sequence number alone does not name a document: after a
//! history was rewritten it may be given once more, while the document that had it is still with the follower.

use slipstream_model::{IndexName, SeqNo, ShardId};

/// What every key of an index begins with.
pub(crate) fn index_prefix(index: &IndexName) -> Vec<u8> {
    let name = index.as_str().as_bytes();
    let mut key = Vec::with_capacity(name.len() + 16);
    key.extend_from_slice(&(name.len() as u32).to_be_bytes());
    key.extend_from_slice(name);
    key
}

/// The key of an auto-follow rule.
pub(crate) fn rule(leader_alias: &str, name: &str) -> String {
    // An alias has no control characters, so none of them can be told apart wrongly.
    format!("{leader_alias}\u{1}{name}")
}

/// What every key of a shard begins with.
pub(crate) fn shard_prefix(index: &IndexName, shard: ShardId) -> Vec<u8> {
    let mut key = index_prefix(index);
    key.extend_from_slice(&shard.0.to_be_bytes());
    key
}

/// The key under `live` of a document at a sequence number, within the shard of `prefix`.
pub(crate) fn live(prefix: &[u8], seq_no: SeqNo, id: &str) -> Vec<u8> {
    join(&live_from(prefix, seq_no), id.as_bytes())
}

/// At or below all keys under `live` of a sequence number, and above those of the one before.
pub(crate) fn live_from(prefix: &[u8], seq_no: SeqNo) -> Vec<u8> {
    join(prefix, &seq_no.get().to_be_bytes())
}

/// The key under `ids` of an id, within the shard of `prefix`.
pub(crate) fn id(prefix: &[u8], id: &str) -> Vec<u8> {
    join(prefix, id.as_bytes())
}

/// A key above everything that begins with `prefix`, be it of an index or of a shard, and below everything that comes
/// after. At most 12 bytes of shard and sequence number follow a prefix, and then an id, which is UTF-8 and so without
/// 0xFF.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    join(prefix, &[0xFF; 16])
}

/// The sequence number and the bytes of the id in a key that [`live`] made under `prefix`.
pub(crate) fn split_live<'k>(prefix: &[u8], key: &'k [u8]) -> Option<(SeqNo, &'k [u8])> {
    let (seq_no, id) = key.strip_prefix(prefix)?.split_at_checked(size_of::<u64>())?;
    Some((seq_from(seq_no)?, id))
}

/// A sequence number from its eight bytes.
pub(crate) fn seq_from(bytes: &[u8]) -> Option<SeqNo> {
    bytes
        .try_into()
        .ok()
        .map(|bytes| SeqNo::new(u64::from_be_bytes(bytes)))
}

fn join(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + rest.len());
    key.extend_from_slice(prefix);
    key.extend_from_slice(rest);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Place {
        index: String,
        shard: u32,
        seq: u64,
        id: String,
    }

    fn place() -> impl Strategy<Value = Place> {
        let name = || prop_oneof!["[a-c]{0,3}", "[a-z0-9._-]{1,20}", any::<String>()];
        let shard = prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
        let seq = prop_oneof![0u64..3, Just(u64::MAX), any::<u64>()];
        (name(), shard, seq, name()).prop_map(|(index, shard, seq, id)| Place {
            index,
            shard,
            seq,
            id,
        })
    }

    proptest! {
        #[test]
        fn keys_sort_by_shard_and_sequence_number_and_never_leave_their_prefix(a in place(), b in place()) {
            let prefix = |p: &Place| shard_prefix(&IndexName::new(p.index.as_str()), ShardId(p.shard));
            let key = |p: &Place| live(&prefix(p), SeqNo::new(p.seq), &p.id);
            let (pa, ka, kb) = (prefix(&a), key(&a), key(&b));
            prop_assert_eq!(split_live(&pa, &ka), Some((SeqNo::new(a.seq), a.id.as_bytes())));

            let same_shard = a.index == b.index && a.shard == b.shard;
            prop_assert_eq!(pa <= kb && kb < end_of(&pa), same_shard);
            prop_assert_eq!(split_live(&pa, &kb).is_some(), same_shard);
            let id_key = id(&prefix(&b), &b.id);
            prop_assert_eq!(pa <= id_key && id_key < end_of(&pa), same_shard);
            let index = index_prefix(&IndexName::new(a.index.as_str()));
            prop_assert_eq!(index <= kb && kb < end_of(&index), a.index == b.index);
            if same_shard {
                prop_assert_eq!(ka.cmp(&kb), (a.seq, &a.id).cmp(&(b.seq, &b.id)));
                prop_assert_eq!(live_from(&pa, SeqNo::new(a.seq)) <= kb, a.seq <= b.seq);
            }
        }
    }
}
