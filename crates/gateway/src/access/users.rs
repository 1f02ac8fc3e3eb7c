//! Users of the gateway's own: a file with a name and a password's hash a line, `NAME:HASH`.
//!
//! A hash is PBKDF2 with SHA-256, of as many rounds as it says, over a salt of its own; `slipstream password` makes one. Checking costs as
//! much for a name that is not there, so that the time tells nothing.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

/// Rounds of a new hash.
const ROUNDS: u32 = 600_000;
/// Fewest and most rounds that a hash may have: enough to cost a thief something, and not so many that a check costs us seconds.
const BOUNDS: std::ops::RangeInclusive<u32> = 10_000..=10_000_000;
const PREFIX: &str = "$pbkdf2-sha256$i=";

/// Why a file of users cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct UsersError {
    /// Counted from 1.
    pub line: usize,
    problem: &'static str,
}

/// A password's hash.
#[derive(Clone, PartialEq, Eq)]
struct Hash {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    derived: Vec<u8>,
}

/// The users of one file.
#[derive(Clone, Default)]
pub struct Users(BTreeMap<String, Hash>);

/// Shows names only.
impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Users {
    /// Reads a file's text. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is wrong; never what stands in it.
    pub fn parse(text: &str) -> Result<Users, UsersError> {
        let mut users = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem| UsersError {
                line: at + 1,
                problem,
            };
            let (name, hash) = line
                .split_once(':')
                .ok_or_else(|| wrong("expected NAME:HASH, as `slipstream password` prints it"))?;
            if !is_name(name) {
                return Err(wrong(
                    "the name is empty or has blanks or control characters in it",
                ));
            }
            let hash = Hash::read(hash)
                .ok_or_else(|| wrong("the hash is none: make the line with `slipstream password`"))?;
            if users.insert(name.to_owned(), hash).is_some() {
                return Err(wrong("this name was there before"));
            }
        }
        Ok(Users(users))
    }

    /// Whether there is such a user.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether it is his password. Takes as long as the hash's rounds: not for a thread that others wait for.
    pub(crate) fn check(&self, name: &str, password: &str) -> bool {
        let nobody = || Hash {
            rounds: NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN),
            salt: vec![0; 16],
            derived: vec![0; 32],
        };
        let known = self.0.get(name);
        let Hash {
            rounds,
            salt,
            derived,
        } = &known.cloned().unwrap_or_else(nobody);
        let fits = pbkdf2::verify(PBKDF2_HMAC_SHA256, *rounds, salt, password.as_bytes(), derived).is_ok();
        fits && known.is_some()
    }
}

/// Whether a user may be called so.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control())
}

/// A password's hash, for a line of the file; `None` if the system has no random bytes.
pub fn hash_password(password: &str) -> Option<String> {
    hash(password, ROUNDS)
}

/// A hash of so many rounds.
pub(crate) fn hash(password: &str, rounds: u32) -> Option<String> {
    let (mut salt, mut derived) = ([0; 16], [0; 32]);
    SystemRandom::new().fill(&mut salt).ok()?;
    let times = NonZeroU32::new(rounds)?;
    pbkdf2::derive(
        PBKDF2_HMAC_SHA256,
        times,
        &salt,
        password.as_bytes(),
        &mut derived,
    );
    let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    Some(format!("{PREFIX}{rounds}${}${}", text(&salt), text(&derived)))
}

impl Hash {
    fn read(text: &str) -> Option<Hash> {
        let mut parts = text.strip_prefix(PREFIX)?.split('$');
        let rounds: u32 = parts
            .next()?
            .parse()
            .ok()
            .filter(|rounds| BOUNDS.contains(rounds))?;
        let mut bytes = || {
            STANDARD_NO_PAD
                .decode(parts.next()?)
                .ok()
                .filter(|bytes| bytes.len() >= 8)
        };
        let (salt, hash) = (bytes()?, bytes()?);
        parts.next().is_none().then_some(())?;
        Some(Hash {
            rounds: NonZeroU32::new(rounds)?,
            salt,
            derived: Some(hash).filter(|hash| hash.len() >= 16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hashed_is_found_again() {
        let hash = hash_password("s3cret").unwrap();
        assert_ne!(
            hash,
            hash_password("s3cret").unwrap(),
            "the salt is new each time"
        );
        let users = Users::parse(&format!("# operators\n\nanna:{hash}\n")).unwrap();
        assert!(users.check("anna", "s3cret"));
        assert!(!users.check("anna", "S3cret") && !users.check("bob", "s3cret"));
        assert_eq!(format!("{users:?}"), "{\"anna\"}");
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let hash = hash_password("x").unwrap();
        for (text, said) in [
            ("\nanna".to_owned(), "line 2: expected NAME:HASH"),
            ("anna:hunter2".to_owned(), "line 1: the hash is none"),
            (format!("a b:{hash}"), "line 1: the name is empty or has blanks"),
            (
                format!("a:{hash}\na:{hash}"),
                "line 2: this name was there before",
            ),
            (
                format!("a:{}", hash.replace("600000", "1")),
                "line 1: the hash is none",
            ),
        ] {
            let error = Users::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(said) && !error.contains("hunter2"), "{error}");
        }
    }
}
