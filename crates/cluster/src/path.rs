//! Paths and parameters of requests: everything that comes from outside is percent-encoded, and a name that the engine
//! would read as a pattern, a list or another cluster's index never gets into a path.

use std::fmt::Write;

use slipstream_model::IndexName;

/// Percent-encodes all but the unreserved characters, so that the text is one path segment or parameter value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Whether the engine takes the name for that of one index, not for a pattern, a list, an option or a remote index.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.starts_with(['_', '-', '+'])
        && !name.contains(|c: char| " \"*\\<|,>/?#:".contains(c) || c.is_control())
}

/// The encoded name, or `None` if it is not [plain](is_plain).
pub(crate) fn segment(index: &IndexName) -> Option<String> {
    is_plain(index.as_str()).then(|| encode(index.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_reserved_is_encoded() {
        assert_eq!(encode("a/b?c=d&é %+"), "a%2Fb%3Fc%3Dd%26%C3%A9%20%25%2B");
        assert_eq!(encode("logs-2026.01_x~"), "logs-2026.01_x~");
    }

    #[test]
    fn names_that_mean_more_than_one_index_are_refused() {
        for name in [
            "",
            "*",
            "a*",
            "_all",
            "a,b",
            "-a",
            "+a",
            ".",
            "..",
            "other:index",
            "<a-{now}>",
            "a/b",
        ] {
            assert_eq!(segment(&IndexName::from(name)), None, "{name}");
        }
        assert_eq!(
            segment(&IndexName::from(".ds-logs-é")).as_deref(),
            Some(".ds-logs-%C3%A9")
        );
    }
}
