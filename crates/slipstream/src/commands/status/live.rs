//! The live table: drawn over itself, as wide and high as the terminal is, and left standing at the end.

use std::fmt::Write;

use console::Term;

use super::pace::Paces;
use super::table;
use crate::client::{Gateway, Index};
use crate::output;

/// A terminal that is watched.
pub(super) struct Screen {
    term: Term,
    coloured: bool,
    /// The rows of the last look, kept in sight while nothing answers.
    last: String,
}

/// What one look has found.
pub(super) struct Looked<'a> {
    pub(super) gateway: &'a Gateway,
    /// Whether a single index was asked for.
    pub(super) one: bool,
    pub(super) found: &'a [Index],
    pub(super) paces: &'a Paces,
}

impl Screen {
    /// The terminal that stdout is, if it is one.
    pub(super) fn open() -> Option<Screen> {
        let term = Term::stdout();
        term.is_term().then(|| {
            output::raw("\x1b[2J");
            Screen {
                term,
                coloured: output::coloured(),
                last: String::new(),
            }
        })
    }

    /// Draws a look.
    pub(super) fn show(&mut self, looked: &Looked<'_>) {
        self.last = match looked.found {
            [index] if looked.one => table::one(index, Some(looked.paces)),
            found => format!(
                "{}\n\n{}",
                summary(looked.gateway, found),
                table::all(found, Some(looked.paces))
            ),
        };
        self.draw(None);
    }

    /// Draws what was seen last below what is wrong.
    pub(super) fn trouble(&mut self, what: &str) {
        self.draw(Some(what));
    }

    fn draw(&self, trouble: Option<&str>) {
        let text = match trouble {
            Some(what) => format!("{what}\n\n{}", self.last),
            None => self.last.clone(),
        };
        let (height, width) = self.term.size();
        let cut = cut(&text, usize::from(height), usize::from(width));
        output::raw(&over(&output::paint(&cut, self.coloured)));
    }
}

fn summary(gateway: &Gateway, found: &[Index]) -> String {
    let mut text = format!("{} indices at {}", found.len(), gateway.shown());
    for phase in ["FAILED", "PAUSED", "BOOTSTRAPPING", "SYNCING"] {
        let count = found.iter().filter(|index| index.phase == phase).count();
        if count > 0 {
            // Writing to a `String` cannot fail.
            _ = write!(text, ", {count} {phase}");
        }
    }
    text
}

/// As much of a text as there is room for, with a line that says how much is left out.
fn cut(text: &str, height: usize, width: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The last line stays free for the cursor.
    let room = height.saturating_sub(1).max(2);
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    let fits = |line: &&str| -> String { line.chars().take(width.max(20)).collect() };
    let mut kept: Vec<String> = lines[..shown].iter().map(fits).collect();
    if shown < lines.len() {
        kept.push(format!("… {} more lines", lines.len() - shown));
    }
    kept.join("\n")
}

/// Draws over what is there without clearing it first, which would flicker.
fn over(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{}\x1b[J", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_to_the_terminal() {
        assert_eq!(cut("a\nb\nc", 10, 80), "a\nb\nc");
        assert_eq!(cut("a\nb\nc\nd\ne", 4, 80), "a\nb\n… 3 more lines");
        assert_eq!(cut(&"ü".repeat(100), 10, 30), "ü".repeat(30));
    }

    #[test]
    fn each_line_is_drawn_over_the_one_before() {
        assert_eq!(over("a\nb"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
