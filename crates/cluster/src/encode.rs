//! Writes bulk bodies: action lines and the sources between them, in one buffer of the right size from the start.

use bytes::{BufMut, Bytes, BytesMut};
use slipstream_model::{Change, DocRef, IndexName, Op};

/// The fixed parts of an action line, numbers included, are shorter than this.
const ACTION: usize = 112;

/// One line of a bulk.
#[derive(Debug, Clone, Copy)]
pub enum BulkItem<'a> {
    /// Index the operation's document under its own version, unless the target has a higher one. Its source must
    /// [fit](fits_bulk).
    Index {
        /// An operation with [`Change::Index`].
        op: &'a Op,
    },
    /// Delete the document, whatever its version.
    Delete {
        /// The document.
        doc: &'a DocRef,
    },
}

/// Whether a source survives a bulk as it is. Bulks are lines, and a line loses its trailing carriage return; UTF-16 and
/// UTF-32, which show by a zero among the first bytes, are not recognised in the middle of a body by all releases.
pub fn fits_bulk(source: &[u8]) -> bool {
    memchr::memchr(b'\n', source).is_none()
        && source.last() != Some(&b'\r')
        && !source.iter().take(4).any(|b| *b == 0)
}

/// The body for `items`, or the place of the first one that a bulk cannot carry. Each names `index`, if the request does not.
pub(crate) fn body(items: &[BulkItem<'_>], index: Option<&IndexName>) -> Result<Bytes, usize> {
    let name = index.map_or(0, |index| index.as_str().len());
    let size = items
        .iter()
        .map(|item| ACTION + name + text_size(doc(item)) + source(item).map_or(0, <[u8]>::len));
    let mut out = BytesMut::with_capacity(size.sum());
    for (at, item) in items.iter().enumerate() {
        match *item {
            BulkItem::Index { op } => {
                let source = source(item).filter(|source| fits_bulk(source)).ok_or(at)?;
                out.put_slice(br#"{"index":{"_id":"#);
                string(&mut out, &op.doc.id);
                within(&mut out, index);
                out.put_slice(br#","version":"#);
                out.put_slice(op.version.0.to_string().as_bytes());
                out.put_slice(br#","version_type":"external_gte""#);
                routing(&mut out, &op.doc);
                out.put_slice(b"}}\n");
                out.put_slice(source);
                out.put_u8(b'\n');
            }
            BulkItem::Delete { doc } => {
                out.put_slice(br#"{"delete":{"_id":"#);
                string(&mut out, &doc.id);
                within(&mut out, index);
                routing(&mut out, doc);
                out.put_slice(b"}}\n");
            }
        }
    }
    Ok(out.freeze())
}

fn doc<'a>(item: &BulkItem<'a>) -> &'a DocRef {
    match *item {
        BulkItem::Index { op } => &op.doc,
        BulkItem::Delete { doc } => doc,
    }
}

fn source<'a>(item: &BulkItem<'a>) -> Option<&'a [u8]> {
    match *item {
        BulkItem::Index {
            op: Op {
                change: Change::Index { source },
                ..
            },
        } => Some(source),
        _ => None,
    }
}

/// Room for id and routing as JSON strings, without their quotes.
fn text_size(doc: &DocRef) -> usize {
    let escaped = |text: &str| {
        text.bytes()
            .map(|b| {
                if b < 0x20 {
                    6
                } else {
                    1 + usize::from(matches!(b, b'"' | b'\\'))
                }
            })
            .sum::<usize>()
    };
    escaped(&doc.id) + doc.routing.as_deref().map_or(0, escaped)
}

fn within(out: &mut BytesMut, index: Option<&IndexName>) {
    if let Some(index) = index {
        out.put_slice(br#","_index":"#);
        string(out, index.as_str());
    }
}

fn routing(out: &mut BytesMut, doc: &DocRef) {
    if let Some(routing) = &doc.routing {
        out.put_slice(br#","routing":"#);
        string(out, routing);
    }
}

/// A JSON string.
fn string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.put_slice(&bytes[from..at]);
        from = at + 1;
        if *byte < 0x20 {
            out.put_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.put_slice(&[b'\\', *byte]);
        }
    }
    out.put_slice(&bytes[from..]);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use slipstream_model::{PrimaryTerm, SeqNo, Version};

    use super::*;

    fn op(id: &str, routing: Option<&str>, version: i64, source: &[u8]) -> Op {
        Op {
            seq_no: SeqNo::ZERO,
            term: PrimaryTerm(1),
            version: Version(version),
            doc: DocRef {
                id: id.into(),
                routing: routing.map(str::to_owned),
            },
            change: Change::Index {
                source: Bytes::copy_from_slice(source),
            },
        }
    }

    #[test]
    fn a_body_is_lines_as_the_engines_want_them() {
        let op = op("a\"\\\u{1}é", Some("r"), i64::MAX, b" {\"x\":1} ");
        let gone = DocRef {
            id: "b".into(),
            routing: None,
        };
        let body = body(
            &[BulkItem::Index { op: &op }, BulkItem::Delete { doc: &gone }],
            None,
        )
        .expect("fits");
        let expected = "{\"index\":{\"_id\":\"a\\\"\\\\\\u0001é\",\"version\":9223372036854775807,\
            \"version_type\":\"external_gte\",\"routing\":\"r\"}}\n {\"x\":1} \n{\"delete\":{\"_id\":\"b\"}}\n";
        assert_eq!(std::str::from_utf8(&body).expect("UTF-8"), expected);
    }

    #[test]
    fn what_a_line_cannot_carry_is_named() {
        let good = op("a", None, 1, b"{}");
        for bad in [&b"{\n}"[..], b"{}\r", b"{}\n", b"{\0}\0", b"\xfe\xff\0{\0}"] {
            assert!(!fits_bulk(bad));
            let bad = op("b", None, 1, bad);
            assert_eq!(
                body(
                    &[BulkItem::Index { op: &good }, BulkItem::Index { op: &bad }],
                    None
                ),
                Err(1)
            );
        }
        assert!(fits_bulk(b"\r{}") && fits_bulk(b""));
        let noop = Op {
            change: Change::Noop,
            ..good
        };
        assert_eq!(body(&[BulkItem::Index { op: &noop }], None), Err(0));
    }

    proptest! {
        #[test]
        fn ids_and_routing_come_through_and_the_first_allocation_is_enough(
            id in ".{0,40}", routing in prop::option::of(".{0,40}"), version in 0..=i64::MAX,
            named: bool,
        ) {
            let op = op(&id, routing.as_deref(), version, b"{}");
            let items = [BulkItem::Index { op: &op }];
            let index = IndexName::new("an-index");
            let body = body(&items, named.then_some(&index)).expect("fits");
            let room = ACTION + text_size(&op.doc) + if named { index.as_str().len() } else { 0 };
            prop_assert!(body.len() <= room + 2);
            let line = body.split(|b| *b == b'\n').next().expect("a line");
            let action: Value = serde_json::from_slice(line).expect("JSON");
            prop_assert_eq!(action["index"]["_id"].as_str(), Some(id.as_str()));
            prop_assert_eq!(action["index"]["_index"].as_str(), named.then_some("an-index"));
            prop_assert_eq!(action["index"]["routing"].as_str(), routing.as_deref());
            prop_assert_eq!(action["index"]["version"].as_i64(), Some(version));
        }
    }
}
