//! Takes fields off the front of a body whose checksum was found right.
//!
//! Every read is checked against what is left, and counts are compared with it before anything is made of them: a
//! string takes at least one byte for each unit, so none is made that is longer than the bytes that it came from.

use std::borrow::Cow;

use crate::error::{Damage, FormatError, Part};

/// The rest of a body.
pub(crate) struct Cursor<'a> {
    part: Part,
    rest: &'a [u8],
    joins: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(part: Part, rest: &'a [u8]) -> Self {
        let joins = true;
        Self { part, rest, joins }
    }

    /// A cursor over a body of which only the numbers are wanted: a string that would have to be joined of surrogates
    /// is looked at, unpaired ones are let pass, and an empty one is given instead.
    pub(crate) fn skimming(part: Part, rest: &'a [u8]) -> Self {
        let joins = false;
        Self { part, rest, joins }
    }

    pub(crate) fn damaged(&self, what: Damage) -> FormatError {
        FormatError::Damaged {
            part: self.part,
            what,
        }
    }

    pub(crate) fn unsupported(&self, what: &'static str, found: i64) -> FormatError {
        FormatError::Unsupported {
            part: self.part,
            what,
            found,
        }
    }

    fn out_of_range(&self, what: &'static str, found: i64) -> FormatError {
        self.damaged(Damage::Number { what, found })
    }

    /// Takes that many bytes.
    pub(crate) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], FormatError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.damaged(Damage::Short(what))),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormatError> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.damaged(Damage::Short(what))),
        }
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, FormatError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn int(&mut self, what: &'static str) -> Result<i32, FormatError> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn long(&mut self, what: &'static str) -> Result<i64, FormatError> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// Takes a long that must not be negative.
    pub(crate) fn unsigned(&mut self, what: &'static str) -> Result<u64, FormatError> {
        let found = self.long(what)?;
        u64::try_from(found).map_err(|_| self.out_of_range(what, found))
    }

    /// Takes a number of seven bits to a byte, lowest first, up to 2^31 - 1. The engines write the shortest form, and
    /// no other is accepted.
    pub(crate) fn vint(&mut self, what: &'static str) -> Result<u32, FormatError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte(what)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && shift > 0;
                let negative = shift == 28 && byte > 0x07;
                if padded || negative {
                    break;
                }
                return Ok(value);
            }
        }
        Err(self.out_of_range(what, i64::from(value)))
    }

    /// Takes a count of things that take at least a byte each.
    fn count(&mut self, what: &'static str) -> Result<usize, FormatError> {
        let count = self.vint(what)?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or_else(|| self.out_of_range(what, i64::from(count)))
    }

    /// Takes bytes behind their length.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], FormatError> {
        let length = self.count(what)?;
        self.take(length, what)
    }

    /// Takes a byte that says yes or no.
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, FormatError> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.out_of_range(what, i64::from(other))),
        }
    }

    /// Takes a string: a count of UTF-16 units, then each unit in one to three bytes, as UTF-8 would write a character
    /// of that number. What holds no surrogates thus is UTF-8, and borrowed.
    pub(crate) fn string(&mut self, what: &'static str) -> Result<Cow<'a, str>, FormatError> {
        let units = self.count(what)?;
        if let Some(head) = self.rest.get(..units)
            && head.is_ascii()
        {
            self.rest = &self.rest[units..];
            return self.utf8(head, what).map(Cow::Borrowed);
        }
        let start = self.rest;
        let mut surrogates = false;
        for _ in 0..units {
            let unit = self.unit(what)?;
            surrogates |= (0xd800..0xe000).contains(&unit);
        }
        let span = &start[..start.len() - self.rest.len()];
        if !surrogates {
            self.utf8(span, what).map(Cow::Borrowed)
        } else if self.joins {
            self.with_surrogates(span, what).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(""))
        }
    }

    fn utf8(&self, bytes: &'a [u8], what: &'static str) -> Result<&'a str, FormatError> {
        std::str::from_utf8(bytes).map_err(|_| self.damaged(Damage::Text(what)))
    }

    /// Takes one UTF-16 unit.
    fn unit(&mut self, what: &'static str) -> Result<u16, FormatError> {
        let (first, length) = match self.rest.first() {
            Some(byte @ 0..=0x7f) => (*byte, 1),
            Some(byte @ 0xc0..=0xdf) => (byte & 0x1f, 2),
            Some(byte @ 0xe0..=0xef) => (byte & 0x0f, 3),
            Some(_) => return Err(self.damaged(Damage::Text(what))),
            None => return Err(self.damaged(Damage::Short(what))),
        };
        let mut unit = u16::from(first);
        for byte in &self.take(length, what)?[1..] {
            if byte & 0xc0 != 0x80 {
                return Err(self.damaged(Damage::Text(what)));
            }
            unit = unit << 6 | u16::from(byte & 0x3f);
        }
        let shortest = match unit {
            0..=0x7f => 1,
            0x80..=0x7ff => 2,
            _ => 3,
        };
        if length == shortest {
            Ok(unit)
        } else {
            Err(self.damaged(Damage::Text(what)))
        }
    }

    /// Joins surrogates; `span` is known to hold whole units.
    fn with_surrogates(&self, span: &'a [u8], what: &'static str) -> Result<String, FormatError> {
        let mut units = Cursor::new(self.part, span);
        // Two surrogates of three bytes each become four bytes, everything else stays as long as it is.
        let mut text = String::with_capacity(span.len());
        let units = std::iter::from_fn(|| {
            if units.rest.is_empty() {
                None
            } else {
                units.unit(what).ok()
            }
        });
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => text.push(character),
                Err(lone) => {
                    return Err(self.unsupported(
                        "in one of its strings the unpaired surrogate",
                        i64::from(lone.unpaired_surrogate()),
                    ));
                }
            }
        }
        Ok(text)
    }

    /// Makes sure that nothing is left.
    pub(crate) fn end(self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.damaged(Damage::Trailing(left))),
        }
    }
}

#[cfg(test)]
mod tests;
