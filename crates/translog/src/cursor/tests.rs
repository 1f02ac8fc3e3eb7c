use super::*;

const WHAT: &str = "the field";

fn cursor(bytes: &[u8]) -> Cursor<'_> {
    Cursor::new(Part::Frame, bytes)
}

fn string(bytes: &[u8]) -> Result<Cow<'_, str>, FormatError> {
    let mut cursor = cursor(bytes);
    let text = cursor.string(WHAT)?;
    cursor.end()?;
    Ok(text)
}

fn damage<T: std::fmt::Debug>(result: Result<T, FormatError>) -> Damage {
    match result {
        Err(FormatError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_are_read_in_their_shortest_form_only() {
    let vint = |bytes: &[u8]| cursor(bytes).vint(WHAT);
    for (bytes, value) in [
        (&[0][..], 0),
        (&[0x7f], 127),
        (&[0x80, 1], 128),
        (&[0xff, 0x7f], 16_383),
        (&[0x80, 0x80, 0x80, 0x80, 0x01], 1 << 28),
        (&[0xff, 0xff, 0xff, 0xff, 0x07], (1 << 31) - 1),
    ] {
        assert_eq!(vint(bytes), Ok(value), "{bytes:x?}");
    }
    for bytes in [
        &[0x80, 0][..],
        &[0xff, 0x80, 0],
        &[0x80, 0x80, 0x80, 0x80, 0x08],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ] {
        assert!(matches!(damage(vint(bytes)), Damage::Number { .. }), "{bytes:x?}");
    }
    assert_eq!(damage(vint(&[0x80])), Damage::Short(WHAT));
    assert_eq!(damage(vint(&[])), Damage::Short(WHAT));
}

#[test]
fn strings_without_surrogates_are_borrowed() {
    for text in [
        "",
        "a",
        "a\0b",
        "\0",
        "é",
        "漢字",
        "\u{fffd}",
        "\u{ffff}",
        "x\u{7ff}\u{800}",
    ] {
        let mut bytes = vec![text.chars().count() as u8];
        bytes.extend(text.as_bytes());
        assert!(
            matches!(string(&bytes), Ok(Cow::Borrowed(found)) if found == text),
            "{text:?}"
        );
    }
}

#[test]
fn surrogates_are_joined() {
    let crab = [0xed, 0xa0, 0xbe, 0xed, 0xb6, 0x80];
    let mut bytes = vec![4, b'a'];
    bytes.extend(crab);
    bytes.push(b'b');
    assert_eq!(string(&bytes).unwrap(), "a🦀b");
    assert!(matches!(string(&bytes), Ok(Cow::Owned(_))));
}

#[test]
fn unpaired_surrogates_are_not_replaced() {
    let unpaired = |bytes: &[u8]| match string(bytes) {
        Err(FormatError::Unsupported { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(unpaired(&[1, 0xed, 0xa0, 0xbe]), 0xd83e);
    assert_eq!(unpaired(&[2, 0xed, 0xa0, 0xbe, b'a']), 0xd83e);
    assert_eq!(unpaired(&[2, 0xed, 0xb6, 0x80, b'a']), 0xdd80);
    // The right two the wrong way round.
    assert_eq!(unpaired(&[2, 0xed, 0xb6, 0x80, 0xed, 0xa0, 0xbe]), 0xdd80);
}

#[test]
fn bytes_that_are_no_units_are_no_string() {
    for bytes in [
        // A continuation without a beginning, and beginnings without one.
        &[1, 0x80][..],
        &[1, 0xc3, 0x28],
        &[1, 0xe2, 0x82, 0x28],
        // Longer than need be, among them the NUL that Java writes elsewhere.
        &[1, 0xc0, 0x80],
        &[1, 0xc1, 0xbf],
        &[1, 0xe0, 0x80, 0x80],
        &[1, 0xe0, 0x9f, 0xbf],
        // UTF-8's own form of an emoji.
        &[2, 0xf0, 0x9f, 0xa6, 0x80],
        &[1, 0xff],
    ] {
        assert_eq!(damage(string(bytes)), Damage::Text(WHAT), "{bytes:x?}");
    }
}

#[test]
fn strings_do_not_reach_beyond_the_end() {
    // More units than there are bytes.
    assert!(matches!(
        damage(string(&[3, b'a', b'b'])),
        Damage::Number { found: 3, .. }
    ));
    assert!(matches!(
        damage(string(&[0xff, 0xff, 0xff, 0xff, 0x07, b'a'])),
        Damage::Number { .. }
    ));
    // As many, but longer ones.
    assert_eq!(damage(string(&[2, 0xc3, 0xa9])), Damage::Short(WHAT));
    assert_eq!(damage(string(&[2, 0xe6, 0xbc])), Damage::Short(WHAT));
    assert_eq!(damage(string(&[1, b'a', b'b'])), Damage::Trailing(1));
}
