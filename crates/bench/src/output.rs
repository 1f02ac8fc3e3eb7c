//! The two streams: the report on stdout, what goes on meanwhile on stderr. A reader that went away is not an error.

use std::io::Write;

/// Prints the report.
pub(crate) fn data(text: &str) {
    _ = write!(std::io::stdout().lock(), "{text}");
}

/// Prints a line about what is going on.
pub(crate) fn aside(line: &str) {
    _ = writeln!(std::io::stderr().lock(), "{line}");
}
