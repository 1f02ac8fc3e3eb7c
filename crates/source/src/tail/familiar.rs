//! Which fields were seen in documents that went out under the index's present mapping.
//!
//! A document that has values in such fields only cannot have needed a newer mapping: the leader had mapped each of them
//! when the earlier document was indexed, and the target had that mapping before it got it. So it may leave at once, while any other
//! waits until the leader's metadata was asked for again (I7). Fields are kept as hashes of their paths; whatever is not
//! plain JSON, or has too many fields to remember, is unfamiliar.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use slipstream_model::{Change, Op};

/// Most fields that are remembered of an index: what an index may have by default, many times over.
const MOST: usize = 1 << 14;

/// The fields seen under one version of the mapping.
#[derive(Debug, Default)]
pub(crate) struct Familiar {
    mapping: u64,
    fields: HashSet<u64>,
}

impl Familiar {
    /// Whether all operations have values only in fields that were seen under this version.
    pub(super) fn knows(&self, mapping: u64, ops: &[Op]) -> bool {
        self.mapping == mapping
            && ops.iter().all(|op| match &op.change {
                Change::Index { source } => {
                    let mut all = true;
                    each_field(source, &mut |field| all = all && self.fields.contains(&field)).is_ok() && all
                }
                Change::Delete | Change::Noop => true,
            })
    }

    /// These operations go out under this version.
    pub(super) fn learn(&mut self, mapping: u64, ops: &[Op]) {
        if self.mapping != mapping {
            self.fields.clear();
            self.mapping = mapping;
        }
        for op in ops {
            if let Change::Index { source } = &op.change {
                // What could be read of a source that is not JSON to its end was in it all the same.
                let _ = each_field(source, &mut |field| {
                    if self.fields.len() < MOST {
                        self.fields.insert(field);
                    }
                });
            }
        }
    }
}

/// Calls back with each path that has a value other than null: only such a value makes the engine map a field.
fn each_field(source: &[u8], found: &mut dyn FnMut(u64)) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(source);
    Fields { path: 0, found }.deserialize(&mut json)?;
    json.end()
}

struct Fields<'a> {
    path: u64,
    found: &'a mut dyn FnMut(u64),
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        (self.found)(self.path);
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        (self.found)(self.path);
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        (self.found)(self.path);
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        (self.found)(self.path);
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        (self.found)(self.path);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Fields { path, found } = self;
        while items
            .next_element_seed(Fields {
                path,
                found: &mut *found,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Fields { path, found } = self;
        while let Some(path) = fields.next_key_seed(Key(path))? {
            fields.next_value_seed(Fields {
                path,
                found: &mut *found,
            })?;
        }
        Ok(())
    }
}

/// A key, as the hash of the path that it ends.
struct Key(u64);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u64, E> {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        name.hash(&mut hasher);
        Ok(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::{DocRef, PrimaryTerm, SeqNo, Version};

    use super::*;

    fn op(source: &str) -> Op {
        Op {
            seq_no: SeqNo::new(0),
            term: PrimaryTerm(1),
            version: Version(1),
            doc: DocRef {
                id: "1".to_owned(),
                routing: None,
            },
            change: Change::Index {
                source: source.to_owned().into(),
            },
        }
    }

    #[test]
    fn i7_only_documents_without_a_new_field_are_familiar() {
        let mut familiar = Familiar::default();
        assert!(!familiar.knows(0, &[op(r#"{"a": 1}"#)]));
        familiar.learn(
            3,
            &[op(
                r#"{"a": 1, "b": {"c": ["x"], "d": null}, "e": [{"f": true}]}"#,
            )],
        );
        for known in [
            r#"{"a": "other type"}"#,
            r#"{"b": {"c": 1}}"#,
            r#"{"e": {"f": 0.5}}"#,
            r#"{"new": null, "newer": [], "newest": {}}"#,
            "{}",
        ] {
            assert!(familiar.knows(3, &[op(known)]), "{known}");
        }
        for unknown in [
            r#"{"a": 1, "z": 2}"#,
            r#"{"b": 1}"#,
            // Was null before, so nobody mapped it.
            r#"{"b": {"d": 1}}"#,
            r#"{"a": {"a": 1}}"#,
            r#"{"b.c": 1}"#,
            "// a comment, which engines take\n{\"a\": 1}",
            "{\"a\": 1} x",
            "\u{1}not json",
        ] {
            assert!(!familiar.knows(3, &[op(unknown)]), "{unknown}");
        }
        assert!(!familiar.knows(4, &[op(r#"{"a": 1}"#)]), "another mapping");
        familiar.learn(4, &[op("{}")]);
        assert!(!familiar.knows(4, &[op(r#"{"a": 1}"#)]));
    }
}
