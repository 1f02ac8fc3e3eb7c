//! The two streams: data on stdout, everything about it on stderr. A reader that went away is not an error. Colours only
//! mark what the words say already, on a terminal whose user has not said `NO_COLOR`.

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

/// Sends a terminal what it is to do.
pub(crate) fn raw(text: &str) {
    let mut out = std::io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether what goes to stdout may be coloured.
pub(crate) fn coloured() -> bool {
    std::io::stdout().is_terminal() && wanted()
}

/// Whether what goes to stderr may be.
pub(crate) fn coloured_aside() -> bool {
    std::io::stderr().is_terminal() && wanted()
}

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colours the states of indices in a text.
pub(crate) fn paint(text: &str, coloured: bool) -> String {
    const STATES: [(&str, &str); 4] = [
        (" SYNCING", "32"),
        (" BOOTSTRAPPING", "36"),
        (" PAUSED", "33"),
        (" FAILED", "31"),
    ];
    if !coloured {
        return text.to_owned();
    }
    let mut painted = text.to_owned();
    for (state, colour) in STATES {
        let word = state.trim_start();
        painted = painted.replace(state, &format!(" \x1b[{colour}m{word}\x1b[0m"));
    }
    painted
}

/// A red word, if it may be one.
pub(crate) fn red(word: &str, coloured: bool) -> String {
    if coloured {
        format!("\x1b[31m{word}\x1b[0m")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_coloured_and_nothing_else_changes() {
        assert_eq!(paint("f  SYNCING  1 s", false), "f  SYNCING  1 s");
        assert_eq!(paint("f  SYNCING  1 s", true), "f  \x1b[32mSYNCING\x1b[0m  1 s");
    }
}
