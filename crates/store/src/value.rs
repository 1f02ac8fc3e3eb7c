//! The value of a document under `live`: its routing, for id and sequence number stand in the key. As few bytes as it
//! takes, for there is one for every document that the follower holds.
//!
//! ```text
//! version 1 | nothing, or 1 and the routing up to the end
//! ```

use crate::error::Malformed;

/// The only layout so far.
const VERSION: u8 = 1;

/// Stands before a routing, so that an empty one is not taken for none.
const ROUTED: u8 = 1;

/// The value for a document with this routing.
pub(crate) fn encode(routing: Option<&str>) -> Vec<u8> {
    let mut value = Vec::with_capacity(2 + routing.map_or(0, str::len));
    value.push(VERSION);
    if let Some(routing) = routing {
        value.push(ROUTED);
        value.extend_from_slice(routing.as_bytes());
    }
    value
}

/// The routing in a value.
pub(crate) fn decode(value: &[u8]) -> Result<Option<String>, Malformed> {
    match value {
        [VERSION] => Ok(None),
        [VERSION, ROUTED, routing @ ..] => text(routing).map(Some),
        _ => Err(Malformed("a remembered document has an unknown layout")),
    }
}

/// An id or a routing from its bytes.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Malformed> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Malformed(
            "the id or routing of a remembered document is not UTF-8",
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_routing_comes_back_as_it_was(routing in prop::option::of(".{0,40}")) {
            prop_assert_eq!(decode(&encode(routing.as_deref())).unwrap(), routing);
        }

        #[test]
        fn any_bytes_are_a_routing_or_an_error(bytes in prop::collection::vec(0u8..4, 0..6)) {
            if let Ok(routing) = decode(&bytes) {
                prop_assert_eq!(encode(routing.as_deref()), bytes);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        assert!(decode(&[VERSION, ROUTED, 0xFF]).is_err());
    }
}
