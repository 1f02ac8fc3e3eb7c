//! Documents as trees, read as leniently as the engines read them: comments are fine, numbers of any size keep their
//! spelling, names keep their order; a name twice in one object is refused.
//!
//! `serde_json` is no substitute on this path: it refuses comments and `1e400`, both of which real indices contain.

use std::collections::HashSet;

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As spelt.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Nesting beyond this is refused, so that a hostile document cannot exhaust the stack.
const MAX_DEPTH: usize = 500;

impl Json {
    /// Reads one value with nothing but blanks and comments around it. The error says what is wrong and where.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Json, String> {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| format!("Invalid UTF-8 after byte {}", e.valid_up_to()))?;
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks()?;
        if reader.at < text.len() {
            Err(reader.wrong("extra data after the document"))
        } else {
            Ok(value)
        }
    }

    /// The member `name` of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Writes the value without blanks.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
            Json::Number(n) => out.extend_from_slice(n.as_bytes()),
            Json::String(s) => write_string(out, s),
            Json::Array(items) => {
                out.push(b'[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (n, (name, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_string(out, name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// Merges a partial document into this one, objects member by member; says whether anything changed.
    pub(crate) fn merge(&mut self, partial: &Json) -> bool {
        let (Json::Object(mine), Json::Object(theirs)) = (&mut *self, partial) else {
            let changed = self != partial;
            *self = partial.clone();
            return changed;
        };
        let mut changed = false;
        for (name, value) in theirs {
            if let Some((_, old)) = mine.iter_mut().find(|(n, _)| n == name) {
                changed |= old.merge(value);
            } else {
                mine.push((name.clone(), value.clone()));
                changed = true;
            }
        }
        changed
    }

    /// All scalar values at a dotted path, through objects, arrays and names that contain dots themselves.
    pub(crate) fn at_path<'a>(&'a self, path: &str, found: &mut Vec<&'a Json>) {
        match self {
            Json::Array(items) => items.iter().for_each(|item| item.at_path(path, found)),
            Json::Object(members) => {
                for (name, value) in members {
                    match path.strip_prefix(name.as_str()) {
                        Some("") => value.leaves(found),
                        Some(rest) => {
                            if let Some(rest) = rest.strip_prefix('.') {
                                value.at_path(rest, found);
                            }
                        }
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn leaves<'a>(&'a self, found: &mut Vec<&'a Json>) {
        match self {
            Json::Array(items) => items.iter().for_each(|item| item.leaves(found)),
            Json::Null | Json::Object(_) => {}
            scalar => found.push(scalar),
        }
    }
}

/// Writes a JSON string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> String {
        let before = &self.text.as_bytes()[..self.at.min(self.text.len())];
        let line = before.split(|b| *b == b'\n').count();
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        format!("{what}\n at [line: {line}, column: {column}]")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) -> Result<(), String> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') => {
                    let rest = &self.text[self.at..];
                    if rest.starts_with("/*") {
                        let end = rest
                            .find("*/")
                            .ok_or_else(|| self.wrong("unexpected end within a comment"))?;
                        self.at += end + 2;
                    } else if rest.starts_with("//") {
                        self.at += rest.find('\n').unwrap_or(rest.len());
                    } else {
                        return Err(self.wrong("Unexpected character ('/')"));
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        self.blanks()?;
        if depth > MAX_DEPTH {
            return Err(self.wrong("Document nesting depth exceeds the maximum allowed"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                for (word, value) in [
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                    ("null", Json::Null),
                ] {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.wrong("Unrecognized token"))
            }
            None => Err(self.wrong("Unexpected end-of-input")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen = HashSet::new();
        self.blanks()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks()?;
            if self.peek() != Some(b'"') {
                return Err(self.wrong("was expecting double-quote to start field name"));
            }
            let name = self.string()?;
            if is_twice(&members, &mut seen, &name) {
                return Err(self.wrong(&format!("Duplicate field '{name}'")));
            }
            self.blanks()?;
            if self.peek() != Some(b':') {
                return Err(self.wrong("was expecting a colon to separate field name and value"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            members.push((name, value));
            if self.more(b'}')? {
                return Ok(Json::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.more(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    /// Steps over a comma (false) or the closing bracket (true).
    fn more(&mut self, close: u8) -> Result<bool, String> {
        self.blanks()?;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(b) if b == close => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(self.wrong("was expecting comma to separate entries")),
            None => Err(self.wrong("Unexpected end-of-input within/between entries")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        let mut escaped = false;
        loop {
            match bytes.get(end) {
                None => return Err(self.wrong("Unexpected end-of-input in a string")),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(0..=0x1f) => {
                    self.at = end;
                    return Err(self.wrong("Illegal unquoted control character"));
                }
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        if !escaped {
            return Ok(self.text[start + 1..end].to_owned());
        }
        serde_json::from_str(&self.text[start..=end])
            .or_else(|_| Ok(lone_surrogates(&self.text[start + 1..end])))
            .map_err(|_: String| self.wrong("Unrecognized character escape"))
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        let mut fine = whole == 1 || (whole > 1 && self.text.as_bytes()[self.at - whole] != b'0');
        if self.peek() == Some(b'.') {
            self.at += 1;
            fine &= self.digits() > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            fine &= self.digits() > 0;
        }
        if fine {
            Ok(Json::Number(self.text[start..self.at].to_owned()))
        } else {
            Err(self.wrong("Invalid number"))
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - from
    }
}

/// Whether an object has a member of this name already. Objects are mostly small: only large ones pay for a set.
fn is_twice(members: &[(String, Json)], seen: &mut HashSet<String>, name: &str) -> bool {
    const SMALL: usize = 24;
    if members.len() < SMALL {
        return members.iter().any(|(n, _)| n == name);
    }
    if seen.is_empty() {
        seen.extend(members.iter().map(|(n, _)| n.clone()));
    }
    !seen.insert(name.to_owned())
}

/// A string whose escapes hold half a surrogate pair, which Java's strings can and Rust's cannot: the half is replaced.
fn lone_surrogates(raw: &str) -> String {
    let mut fixed = String::with_capacity(raw.len() + 2);
    fixed.push('"');
    let mut rest = raw;
    while let Some(at) = rest.find("\\u") {
        let (before, escape) = rest.split_at(at);
        fixed.push_str(before);
        let pair = escape
            .get(..12)
            .filter(|e| serde_json::from_str::<String>(&format!("\"{e}\"")).is_ok());
        let single = escape
            .get(..6)
            .filter(|e| serde_json::from_str::<String>(&format!("\"{e}\"")).is_ok());
        let (kept, step) = match (single, pair) {
            (Some(one), _) => (one, 6),
            (None, Some(two)) => (two, 12),
            (None, None) => ("\u{fffd}", escape.len().min(6)),
        };
        fixed.push_str(kept);
        rest = escape.get(step..).unwrap_or("");
    }
    fixed.push_str(rest);
    fixed.push('"');
    serde_json::from_str(&fixed).unwrap_or_else(|_| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_big_numbers_and_order_survive() {
        let text = br#" { /* c */ "b": 1e400, "a": [123456789012345678901234567890, -0.10] } // end"#;
        let value = Json::parse(text).unwrap();
        let mut out = Vec::new();
        value.write(&mut out);
        assert_eq!(out, br#"{"b":1e400,"a":[123456789012345678901234567890,-0.10]}"#);
    }

    #[test]
    fn what_the_engines_refuse_is_refused() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":1} x"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"#,
            "{'a':1}",
        ] {
            assert!(Json::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_twice_is_noticed_in_large_objects_too() {
        let member = |n: usize| format!("\"k{n}\":{n}");
        let mut members: Vec<String> = (0..60).map(member).collect();
        assert!(Json::parse(format!("{{{}}}", members.join(",")).as_bytes()).is_ok());
        members.push(member(30));
        assert!(Json::parse(format!("{{{}}}", members.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn paths_reach_through_arrays_and_dotted_names() {
        let value = Json::parse(br#"{"a":[{"b":1},{"b":[2,3]}],"a.b":4}"#).unwrap();
        let mut found = Vec::new();
        value.at_path("a.b", &mut found);
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn merging_says_whether_anything_changed() {
        let mut doc = Json::parse(br#"{"a":{"x":1},"b":2}"#).unwrap();
        assert!(!doc.merge(&Json::parse(br#"{"a":{"x":1}}"#).unwrap()));
        assert!(doc.merge(&Json::parse(br#"{"a":{"y":1}}"#).unwrap()));
    }

    #[test]
    fn half_a_surrogate_pair_does_not_stop_a_document() {
        assert_eq!(
            Json::parse(br#""a\ud83db""#).unwrap(),
            Json::String("a\u{fffd}b".into())
        );
        assert_eq!(
            Json::parse(br#""\ud83d\ude00""#).unwrap(),
            Json::String("😀".into())
        );
    }
}
