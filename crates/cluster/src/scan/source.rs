//! Where a stored document begins and ends within an answer.
//!
//! This is the one place where bytes of a document decide what counts as part of it, so everything that could be read
//! in two ways is refused here, and asked for again in a form that cannot.

use std::ops::Range;

use memchr::memmem;

use super::{Scan, ScanError, ScanResult};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Scan<'_> {
    /// Passes a stored document and what was stored around it: everything from here, right after the colon, to the
    /// comma or brace behind it.
    ///
    /// `seal` is a text that no stored document can hold and that the engine prints in the same hit, in
    /// `matched_queries` behind `sort`. With it any source can be cut out, whatever it holds. Without, two kinds cannot,
    /// which engines accept and store all the same: an object with a line comment behind it, whose end cannot be told
    /// from what follows the source; and UTF-16 or UTF-32, where half a character can look like a brace.
    ///
    /// # Errors
    /// [`ScanError::wants_seal`] tells whether a seal would help.
    pub(crate) fn source(&mut self, seal: Option<&str>) -> ScanResult<Range<usize>> {
        let start = self.at;
        match seal {
            Some(seal) => self.at = self.sealed_end(seal)?,
            None => self.plain_source().map_err(|error| ScanError {
                in_source: true,
                ..error
            })?,
        }
        Ok(start..self.at)
    }

    fn plain_source(&mut self) -> ScanResult<()> {
        let rest = &self.body[self.at..];
        // As parsers tell encodings apart: in the wider ones a blank or brace brings zeros along.
        if rest.iter().take(4).any(|byte| *byte == 0) {
            return self.malformed("a source is not UTF-8");
        }
        if rest.starts_with(BYTE_ORDER_MARK) {
            self.at += BYTE_ORDER_MARK.len();
        }
        loop {
            self.blanks();
            match self.peek() {
                Some(b'{') => break,
                Some(b'/') => self.comment()?,
                _ => return self.malformed("a source is no object"),
            }
        }
        self.object()?;
        loop {
            self.blanks();
            match self.peek() {
                Some(b',' | b'}') => return Ok(()),
                Some(b'/') if self.body.get(self.at + 1) == Some(&b'/') => {
                    return self.malformed("a line comment stands behind a source");
                }
                Some(b'/') => self.comment()?,
                _ => return self.malformed("a source is followed by something else"),
            }
        }
    }

    /// Where the source that begins here ends: before `,"sort":[…],"matched_queries":["SEAL"`.
    fn sealed_end(&self, seal: &str) -> ScanResult<usize> {
        const SORT: &[u8] = b",\"sort\":[";
        let rest = &self.body[self.at..];
        let mark = format!("],\"matched_queries\":[\"{seal}\"");
        let end = memmem::find(rest, mark.as_bytes())
            .and_then(|marked| Some((memmem::rfind(&rest[..marked], SORT)?, marked)))
            .filter(|(sort, marked)| {
                rest[sort + SORT.len()..*marked]
                    .iter()
                    .all(|b| matches!(b, b'-' | b',' | b'0'..=b'9'))
            });
        match end {
            Some((sort, _)) => Ok(self.at + sort),
            None => self.malformed("the hit of a source has no seal"),
        }
    }
}
