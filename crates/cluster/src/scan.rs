//! A scanner over the JSON that engines answer, which finds where values begin and end without understanding them.
//!
//! It is as tolerant as the engines' own parser (Jackson with comments on): whatever a document may be stored as,
//! blanks, comments and odd numbers included, is passed over and can be cut out byte for byte. What could be read in
//! two ways is an error, never a guess, so that a document cannot make its reader see an end where there is none.

mod source;

use memchr::{memchr2, memmem};

/// Why scanning stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(crate) struct ScanError {
    at: usize,
    what: &'static str,
    in_source: bool,
}

impl ScanError {
    /// Whether it was a source that could not be delimited: a page asked for with a [seal](Scan::source) can be cut
    /// whatever its sources hold.
    pub(crate) fn wants_seal(&self) -> bool {
        self.in_source
    }
}

pub(crate) type ScanResult<T> = Result<T, ScanError>;

/// A string as it stands in the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// With its quotes.
    quoted: &'a [u8],
    escaped: bool,
}

impl Text<'_> {
    /// The bytes between the quotes, escapes left as they are. Enough to compare with names that need none.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.quoted[1..self.quoted.len() - 1]
    }

    /// The text that it stands for.
    pub(crate) fn unescape(&self) -> Option<String> {
        if self.escaped {
            serde_json::from_slice(self.quoted).ok()
        } else {
            std::str::from_utf8(self.raw()).ok().map(str::to_owned)
        }
    }
}

/// Whether a byte outside of strings needs a closer look. Brackets do not: where braces are balanced, so are they.
const MARKS: [bool; 256] = {
    let mut marks = [false; 256];
    marks[b'"' as usize] = true;
    marks[b'{' as usize] = true;
    marks[b'}' as usize] = true;
    marks[b'/' as usize] = true;
    marks
};

/// A place in an answer.
pub(crate) struct Scan<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Scan { body, at: 0 }
    }

    pub(crate) fn malformed<T>(&self, what: &'static str) -> ScanResult<T> {
        Err(ScanError {
            at: self.at,
            what,
            in_source: false,
        })
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes `byte` and blanks before it.
    fn expect(&mut self, byte: u8, what: &'static str) -> ScanResult<()> {
        self.blanks();
        if self.peek() != Some(byte) {
            return self.malformed(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes a string, blanks before it included.
    pub(crate) fn text(&mut self) -> ScanResult<Text<'a>> {
        self.blanks();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.malformed("a string is missing");
        }
        let escaped = self.string()?;
        Ok(Text {
            quoted: &self.body[start..self.at],
            escaped,
        })
    }

    /// Passes the string that begins here; says whether it has escapes.
    #[inline]
    fn string(&mut self) -> ScanResult<bool> {
        match string_end(self.body, self.at + 1) {
            Some((end, escaped)) => {
                self.at = end;
                Ok(escaped)
            }
            None => self.malformed("a string does not end"),
        }
    }

    /// Passes an integer, blanks before it included.
    pub(crate) fn integer(&mut self) -> ScanResult<i64> {
        self.blanks();
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = std::str::from_utf8(&self.body[start..self.at]).ok();
        match digits.and_then(|d| d.parse().ok()) {
            Some(value) => Ok(value),
            None => self.malformed("an integer is missing"),
        }
    }

    /// Passes `true` or `false`, blanks before it included.
    pub(crate) fn boolean(&mut self) -> ScanResult<bool> {
        self.blanks();
        for (word, value) in [(&b"true"[..], true), (b"false", false)] {
            if self.body[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.malformed("true or false is missing")
    }

    /// Passes an object, giving each member's name to `member`, which passes its value.
    pub(crate) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> ScanResult<()>,
    ) -> ScanResult<()> {
        self.expect(b'{', "an object is missing")?;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.text()?;
            self.expect(b':', "a colon is missing")?;
            member(self, name)?;
            if self.goes_on(b'}')? {
                continue;
            }
            return Ok(());
        }
    }

    /// Passes an array, letting `element` pass each element.
    pub(crate) fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> ScanResult<()>,
    ) -> ScanResult<()> {
        self.expect(b'[', "an array is missing")?;
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            if self.goes_on(b']')? {
                continue;
            }
            return Ok(());
        }
    }

    fn goes_on(&mut self, end: u8) -> ScanResult<bool> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => self.malformed("a comma or the end is missing"),
        }
    }

    /// Passes any value, blanks before it included.
    pub(crate) fn value(&mut self) -> ScanResult<()> {
        self.blanks();
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(),
            Some(b'[') => self.elements(Self::value),
            Some(b',' | b'}' | b']' | b':') | None => self.malformed("a value is missing"),
            Some(_) => {
                while !matches!(
                    self.peek(),
                    Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') | None
                ) {
                    self.at += 1;
                }
                Ok(())
            }
        }
    }

    /// Passes the object that begins here.
    fn object(&mut self) -> ScanResult<()> {
        let mut depth = 0usize;
        loop {
            let Some(byte) = self.peek() else {
                return self.malformed("the answer ends in an object");
            };
            if !MARKS[usize::from(byte)] {
                self.at += 1;
                continue;
            }
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' => {
                    self.at += 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.comment()?,
            }
        }
    }

    /// Passes the comment that begins here. A line comment ends with the line, for Jackson by `\n` or `\r`.
    fn comment(&mut self) -> ScanResult<()> {
        let rest = &self.body[self.at..];
        let length = match rest.get(1) {
            Some(b'*') => memmem::find(&rest[2..], b"*/").map(|end| 2 + end + 2),
            Some(b'/') => memchr2(b'\n', b'\r', rest).map(|end| end + 1),
            _ => return self.malformed("a slash outside of strings"),
        };
        match length {
            Some(length) => {
                self.at += length;
                Ok(())
            }
            None => self.malformed("a comment does not end"),
        }
    }

    /// Requires that nothing but blanks is left.
    pub(crate) fn end(&mut self) -> ScanResult<()> {
        self.blanks();
        if self.at == self.body.len() {
            Ok(())
        } else {
            self.malformed("something follows the answer")
        }
    }
}

/// Where the string ends whose first character is at `at`, and whether it has escapes.
#[inline]
fn string_end(body: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut escaped = false;
    loop {
        at += run_of_plain(&body[at..])?;
        if body[at] == b'"' {
            return Some((at + 1, escaped));
        }
        escaped = true;
        at += 2;
        if at > body.len() {
            return None;
        }
    }
}

/// How many bytes come before the next quote or backslash.
#[inline]
fn run_of_plain(bytes: &[u8]) -> Option<usize> {
    /// Words to look at before a vectorised search pays: most strings are shorter than starting one costs.
    const WORDS: usize = 4;
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, _) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().take(WORDS).enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        // A byte that is zero sets its high bit; the lowest bit set is exact.
        let found = ((quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash)) & HIGH;
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let from = words.len().min(WORDS) * 8;
    memchr2(b'"', b'\\', &bytes[from..]).map(|more| from + more)
}
