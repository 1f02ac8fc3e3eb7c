use super::*;
use crate::encode::seal;

/// An index operation of format 9 or 10 on Elasticsearch 7: the id `1`, the mapping type `t`, the source `{}`.
fn typed_index(kind: u8, format: u8) -> Vec<u8> {
    let mut body = vec![kind, format, 1, b'1', 1, b't', 2, b'{', b'}', 1, 1, b'r'];
    body.extend(5i64.to_be_bytes());
    if format == 9 {
        body.push(1);
    }
    body.extend(1_600_000_000_000i64.to_be_bytes());
    body.extend(7i64.to_be_bytes());
    body.extend(3i64.to_be_bytes());
    body
}

fn typed_delete(format: u8) -> Vec<u8> {
    let mut body = vec![
        DELETE, format, 1, b't', 1, b'1', 3, b'_', b'i', b'd', 2, 0xfe, 0x1f,
    ];
    body.extend(5i64.to_be_bytes());
    if format == 5 {
        body.push(1);
    }
    body.extend(7i64.to_be_bytes());
    body.extend(3i64.to_be_bytes());
    body
}

fn parse(body: &[u8]) -> Result<Frame<'static>, FormatError> {
    Frame::parse(seal(body).leak())
}

#[test]
fn mapping_types_and_types_of_versions_are_skipped() {
    let expected = Op::Index {
        id: "1".into(),
        routing: Some("r".into()),
        version: 5,
        seq_no: 7,
        primary_term: 3,
        source: b"{}",
    };
    for (kind, format) in [(INDEX, 9), (INDEX, 10), (CREATE, 10)] {
        assert_eq!(
            parse(&typed_index(kind, format)).unwrap().op,
            expected,
            "format {format}"
        );
    }
    let expected = Op::Delete {
        id: "1".into(),
        version: 5,
        seq_no: 7,
        primary_term: 3,
    };
    for format in [5, 6] {
        assert_eq!(
            parse(&typed_delete(format)).unwrap().op,
            expected,
            "format {format}"
        );
    }
}

#[test]
fn the_length_is_that_of_the_whole_frame() {
    let body = typed_index(INDEX, 10);
    let mut bytes = seal(&body);
    let length = bytes.len();
    bytes.extend(seal(&typed_delete(6)));
    assert_eq!(Frame::parse(&bytes).unwrap().length, length);
    let place = Place {
        seq_no: 7,
        primary_term: 3,
    };
    assert_eq!(Frame::place(&bytes).unwrap(), (place, length));
    assert_eq!(
        Frame::place(&bytes[length..]).unwrap(),
        (place, bytes.len() - length)
    );
}

#[test]
fn unknown_types_and_formats_are_named() {
    let unsupported = |body: &[u8]| match parse(body) {
        Err(FormatError::Unsupported { what, found, .. }) => (what, found),
        other => panic!("{other:?}"),
    };
    for format in [0, 8, 12, 127] {
        let mut body = typed_index(INDEX, 10);
        body[1] = format;
        let found = ("an index operation of the format", i64::from(format));
        assert_eq!(unsupported(&body), found);
    }
    for format in [0, 4, 8, 127] {
        let mut body = typed_delete(6);
        body[1] = format;
        let found = ("a delete operation of the format", i64::from(format));
        assert_eq!(unsupported(&body), found);
    }
    for kind in [0, 5, 255] {
        let mut body = typed_delete(6);
        body[0] = kind;
        assert_eq!(unsupported(&body), ("the type", i64::from(kind)));
    }
}

#[test]
fn what_no_engine_writes_is_damaged_although_its_checksum_is_right() {
    let damage = |body: &[u8]| match parse(body) {
        Err(FormatError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let index = typed_index(INDEX, 10);
    let end = index.len();

    let mut negative = index.clone();
    negative[end - 16..end - 8].copy_from_slice(&(-2i64).to_be_bytes());
    let what = "the sequence number";
    assert_eq!(damage(&negative), Damage::Number { what, found: -2 });

    let mut negative = index.clone();
    negative[end - 8..].copy_from_slice(&(-1i64).to_be_bytes());
    let what = "the primary term";
    assert_eq!(damage(&negative), Damage::Number { what, found: -1 });

    let mut longer = index.clone();
    longer.extend(b"xy");
    assert_eq!(damage(&longer), Damage::Trailing(2));
    assert_eq!(damage(&index[..end - 1]), Damage::Short("the primary term"));

    let mut routed = index.clone();
    routed[9] = 2;
    let what = "the mark of a routing";
    assert_eq!(damage(&routed), Damage::Number { what, found: 2 });

    let mut field = typed_delete(6);
    field[8] = b'x';
    assert_eq!(damage(&field), Damage::Mark("the name of the id's field"));

    // A source that claims to be longer than all that follows.
    let mut source = index;
    source.splice(6..7, [0xff, 0xff, 0xff, 0xff, 0x07]);
    let what = "the source";
    let found = i64::from(i32::MAX);
    assert_eq!(damage(&source), Damage::Number { what, found });
}

#[test]
fn lengths_are_refused_or_waited_for_but_never_believed() {
    assert_eq!(Frame::parse(&[]), Err(FormatError::Incomplete { needed: 4 }));
    assert_eq!(
        Frame::parse(&[0, 0, 1]),
        Err(FormatError::Incomplete { needed: 4 })
    );
    assert_eq!(
        Frame::parse(&[0x7f, 0xff, 0xff, 0xff]),
        Err(FormatError::Incomplete {
            needed: (1 << 31) + 3
        })
    );
    for size in [0, 1, 4, 21, -1, i32::MIN] {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.resize(64, 0);
        let what = Damage::Number {
            what: "its length",
            found: i64::from(size),
        };
        let part = Part::Frame;
        assert_eq!(Frame::parse(&bytes), Err(FormatError::Damaged { part, what }));
    }
    // What a file holds that was made longer before it was written to.
    assert!(matches!(Frame::parse(&[0; 64]), Err(FormatError::Damaged { .. })));
}

/// As OpenSearch 2.19.1 and Elasticsearch 8.19.21 write it for the id `"lone \\ud83e id"` in a bulk request; a search
/// then shows U+FFFD instead.
#[test]
fn an_operation_with_an_unpaired_surrogate_has_a_place_but_no_strings() {
    let mut body = vec![DELETE, 7, 9];
    body.extend(b"lone \xed\xa0\xbe id");
    body.extend(2i64.to_be_bytes());
    body.extend(7i64.to_be_bytes());
    body.extend(3i64.to_be_bytes());
    let bytes = seal(&body);
    let error = Frame::parse(&bytes).unwrap_err();
    assert!(
        matches!(error, FormatError::Unsupported { found: 0xd83e, .. }),
        "{error}"
    );
    let place = Place {
        seq_no: 7,
        primary_term: 3,
    };
    assert_eq!(Frame::place(&bytes), Ok((place, bytes.len())));
}
