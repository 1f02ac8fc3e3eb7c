//! The two streams: data on stdout, everything about it on stderr. A reader that went away is not an error.

use std::io::{IsTerminal, Write};

/// Prints a line of data.
pub(crate) fn data(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to be told.
    _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line beside the data.
pub(crate) fn aside(line: &str) {
    _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Puts what follows in the place of what a watching person saw; in a file or pipe, below it.
pub(crate) fn renew() {
    if std::io::stdout().is_terminal() {
        _ = write!(std::io::stdout().lock(), "\x1b[2J\x1b[H");
    }
}
