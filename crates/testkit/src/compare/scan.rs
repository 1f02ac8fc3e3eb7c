//! Cuts JSON into its parts without re-spelling any of them.
//!
//! A parser would turn `1e308`, `2.50` or a key written twice into something equal but not the same; a comparison
//! byte by byte needs the very bytes. Well-formedness is the server's business: this only has to find where things
//! end, and to say so when it cannot.

/// Why the text could not be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed JSON at byte {at}: expected {expected}")]
pub struct Malformed {
    at: usize,
    expected: &'static str,
}

/// The members of an object: decoded keys and the values' bytes, without blanks around them.
pub(super) fn members(object: &[u8]) -> Result<Vec<(String, &[u8])>, Malformed> {
    let mut scanner = Scanner { text: object, at: 0 };
    let mut members = Vec::new();
    scanner.items(b'{', b'}', |scanner| {
        let start = scanner.at;
        let key = serde_json::from_slice(scanner.value()?);
        let key = key.map_err(|_| Malformed {
            at: start,
            expected: "a string as key",
        })?;
        scanner.blanks();
        scanner.expect(b':', "a colon")?;
        scanner.blanks();
        members.push((key, scanner.value()?));
        Ok(())
    })?;
    Ok(members)
}

/// The elements of an array: their bytes, without blanks around them.
pub(super) fn elements(array: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut scanner = Scanner { text: array, at: 0 };
    let mut elements = Vec::new();
    scanner.items(b'[', b']', |scanner| {
        elements.push(scanner.value()?);
        Ok(())
    })?;
    Ok(elements)
}

/// The value of one member, if the object has it.
pub(super) fn member<'a>(object: &'a [u8], key: &str) -> Result<Option<&'a [u8]>, Malformed> {
    Ok(members(object)?
        .into_iter()
        .find_map(|(name, value)| (name == key).then_some(value)))
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn items(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.blanks();
        self.expect(open, "the opening bracket")?;
        self.blanks();
        if self.peek() == Some(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.blanks();
            match self.peek() {
                Some(byte) if byte == close => return Ok(()),
                _ => self.expect(b',', "a comma or the closing bracket")?,
            }
            self.blanks();
        }
    }

    /// Steps over one value and returns its bytes.
    fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(byte) if !b",:}] \t\r\n".contains(&byte) => self.scalar(),
                _ => {
                    return Err(Malformed {
                        at: self.at,
                        expected: "a value",
                    });
                }
            }
            if depth == 0 {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => {
                    return Err(Malformed {
                        at: self.at,
                        expected: "the end of a string",
                    });
                }
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| !b",:}]{[\" \t\r\n".contains(&byte))
        {
            self.at += 1;
        }
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(Malformed {
                at: self.at,
                expected,
            });
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_very_bytes() {
        let text =
            br#" { "a" : {"x": [1, {"y":"}]"}], "z" : "\"\\" } , "b\u0041": 1e308,"c":[ ] , "d" :null} "#;
        let found = members(text).unwrap();
        let found: Vec<(&str, &[u8])> = found.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(
            found,
            [
                ("a", br#"{"x": [1, {"y":"}]"}], "z" : "\"\\" }"#.as_slice()),
                ("bA", b"1e308"),
                ("c", b"[ ]"),
                ("d", b"null"),
            ]
        );
        assert_eq!(member(text, "c").unwrap(), Some(b"[ ]".as_slice()));
        assert_eq!(member(text, "e").unwrap(), None);
    }

    #[test]
    fn arrays_fall_into_elements() {
        assert_eq!(
            elements(b"[1 ,\"a,b\",[2,3],{\n}]").unwrap(),
            [b"1".as_slice(), b"\"a,b\"", b"[2,3]", b"{\n}"]
        );
        assert!(elements(b" [ ] ").unwrap().is_empty());
    }

    #[test]
    fn cut_off_text_is_refused() {
        let whole = br#"{"a":{"b":[1,"x"]},"c":2}"#;
        for length in 0..whole.len() {
            assert!(
                members(&whole[..length]).is_err(),
                "{}",
                String::from_utf8_lossy(&whole[..length])
            );
        }
        assert!(members(whole).is_ok());
    }
}
