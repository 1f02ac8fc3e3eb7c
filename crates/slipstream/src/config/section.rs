//! One section: each key is taken once, as what it should be; what is left over is unknown.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slipstream_cluster::Secret;

use super::document::{ConfigError, beside};

/// Where a value was written.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// On this line of the file.
    File(usize),
    /// In this variable.
    Env(String),
}

/// A value before anybody knows what it should be.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Raw>),
    /// From the environment, where everything is text.
    Loose(String),
    /// Something that no key takes.
    Other(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) value: Raw,
    pub(crate) origin: Origin,
}

/// The keys of a section that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Section {
    name: String,
    file: Arc<Path>,
    line: Option<usize>,
    entries: BTreeMap<String, Entry>,
    asked: Vec<String>,
}

impl Section {
    pub(crate) fn new(name: &str, file: Arc<Path>, line: Option<usize>) -> Self {
        Section {
            name: name.to_owned(),
            file,
            line,
            entries: BTreeMap::new(),
            asked: Vec::new(),
        }
    }

    pub(crate) fn put(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Where the section stands.
    pub(crate) fn place(&self) -> String {
        if let (
            None,
            Some(Entry {
                origin: Origin::Env(variable),
                ..
            }),
        ) = (self.line, self.entries.values().next())
        {
            return variable.clone();
        }
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line}: [{}]", self.file.display(), self.name)
    }

    fn place_of(&self, key: &str, origin: &Origin) -> String {
        match origin {
            Origin::File(line) => format!("{}:{line}: [{}] {key}", self.file.display(), self.name),
            Origin::Env(variable) => variable.clone(),
        }
    }

    fn take(&mut self, key: &str) -> Option<Entry> {
        self.asked.push(key.to_owned());
        self.entries.remove(key)
    }

    fn wrong(&self, key: &str, entry: &Entry, expected: &str) -> ConfigError {
        let found = match &entry.value {
            Raw::Text(_) => "a text",
            Raw::Integer(_) => "a number",
            Raw::Flag(_) => "true or false",
            Raw::List(_) => "a list",
            Raw::Loose(_) => "something else",
            Raw::Other(what) => what,
        };
        ConfigError::new(
            self.place_of(key, &entry.origin),
            format!("expected {expected}, found {found}"),
        )
    }

    /// The key is needed and not there.
    pub(crate) fn missing(&self, key: &str) -> ConfigError {
        let section = self.name.split('.').next().unwrap_or_default();
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        ConfigError::new(
            format!("{}{line}: [{}] {key}", self.file.display(), self.name),
            "missing",
        )
        .advise(format!("add `{key}` to [{section}]"))
    }

    /// A text; empty ones are refused.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<Given<String>>, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let place = self.place_of(key, &entry.origin);
        match entry.value {
            Raw::Text(text) | Raw::Loose(text) if text.trim().is_empty() => {
                Err(ConfigError::new(place, "is empty"))
            }
            Raw::Text(value) | Raw::Loose(value) => Ok(Some(Given { value, place })),
            _ => Err(self.wrong(key, &entry, "a text in quotes")),
        }
    }

    /// A text that has to be there.
    pub(crate) fn required(&mut self, key: &str) -> Result<Given<String>, ConfigError> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    /// `true` or `false`; false if it is not there.
    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(false);
        };
        match &entry.value {
            Raw::Flag(flag) => Ok(*flag),
            Raw::Loose(text) if text == "true" => Ok(true),
            Raw::Loose(text) if text == "false" => Ok(false),
            _ => Err(self.wrong(key, &entry, "true or false")),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer(
        &mut self,
        key: &str,
        bounds: RangeInclusive<i64>,
        default: i64,
    ) -> Result<i64, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(default);
        };
        let number = match &entry.value {
            Raw::Integer(number) => Some(*number),
            Raw::Loose(text) => text.parse().ok(),
            _ => None,
        };
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        match number {
            Some(number) if bounds.contains(&number) => Ok(number),
            Some(number) => {
                let place = self.place_of(key, &entry.origin);
                Err(ConfigError::new(
                    place,
                    format!("expected {expected}, found {number}"),
                ))
            }
            None => Err(self.wrong(key, &entry, &expected)),
        }
    }

    /// A list that has to be there.
    pub(crate) fn list(&mut self, key: &str) -> Result<Given<Vec<String>>, ConfigError> {
        self.optional_list(key)?.ok_or_else(|| self.missing(key))
    }

    /// A list of texts with at least one; in a variable separated by commas.
    pub(crate) fn optional_list(&mut self, key: &str) -> Result<Option<Given<Vec<String>>>, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let texts: Option<Vec<String>> = match &entry.value {
            Raw::List(items) => items
                .iter()
                .map(|item| match item {
                    Raw::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            Raw::Loose(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
            _ => None,
        };
        let Some(value) = texts else {
            return Err(self.wrong(key, &entry, "a list of texts, [\"…\", \"…\"]"));
        };
        let place = self.place_of(key, &entry.origin);
        if value.is_empty() || value.iter().any(|text| text.trim().is_empty()) {
            return Err(ConfigError::new(place, "is empty or has an empty text in it"));
        }
        Ok(Some(Given { value, place }))
    }

    /// A path, relative to the file's folder.
    pub(crate) fn path(&mut self, key: &str) -> Result<Option<Given<PathBuf>>, ConfigError> {
        let given = self.text(key)?;
        Ok(given.map(|Given { value, place }| Given {
            value: beside(&self.file, &value),
            place,
        }))
    }

    /// A path that has to be there.
    pub(crate) fn required_path(&mut self, key: &str) -> Result<Given<PathBuf>, ConfigError> {
        self.path(key)?.ok_or_else(|| self.missing(key))
    }

    /// What a file holds that is named by a key.
    pub(crate) fn file(&mut self, key: &str) -> Result<Option<Given<Vec<u8>>>, ConfigError> {
        let Some(Given { value: path, place }) = self.path(key)? else {
            return Ok(None);
        };
        match std::fs::read(&path) {
            Ok(value) => Ok(Some(Given { value, place })),
            Err(error) => Err(ConfigError::of(
                format!("{place}: cannot read `{}`", path.display()),
                &error,
            )),
        }
    }

    /// A secret: in a file of its own that `KEY_file` names, or in the variable of `KEY`; never in the configuration.
    pub(crate) fn secret(&mut self, key: &str) -> Result<Option<Given<Secret>>, ConfigError> {
        let file_key = format!("{key}_file");
        let direct = self.entries.remove(key);
        let from_file = self.file(&file_key)?;
        match (direct, from_file) {
            (
                Some(Entry {
                    origin: Origin::File(line),
                    ..
                }),
                _,
            ) => {
                let place = self.place_of(key, &Origin::File(line));
                Err(ConfigError::new(place, "a secret must not stand in the configuration file").advise(format!(
                    "put it into a file of its own and name that by `{file_key}`, or into SLIPSTREAM_{}__{}",
                    self.name.to_uppercase(),
                    key.to_uppercase()
                )))
            }
            // The environment overrides.
            (
                Some(Entry {
                    value: Raw::Loose(text),
                    origin: Origin::Env(variable),
                }),
                _,
            ) => {
                let given = Given {
                    value: Secret::new(text),
                    place: variable,
                };
                if given.value.expose().is_empty() {
                    Err(given.wrong("is empty"))
                } else {
                    Ok(Some(given))
                }
            }
            (_, None) => Ok(None),
            (_, Some(Given { value, place })) => match String::from_utf8(value) {
                Ok(text) if !text.trim().is_empty() => {
                    let text = text.trim_end_matches(['\r', '\n']);
                    Ok(Some(Given {
                        value: Secret::new(text),
                        place,
                    }))
                }
                _ => Err(ConfigError::new(place, "this file is empty or not text")),
            },
        }
    }

    /// Refuses keys that nobody took.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        match self.entries.iter().next() {
            None => Ok(()),
            Some((key, entry)) => Err(ConfigError::new(self.place_of(key, &entry.origin), "unknown key")
                .advise(format!("the keys of this section are {}", self.asked.join(", ")))),
        }
    }
}

/// A value and where it was written.
#[derive(Debug)]
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) place: String,
}

impl<T> Given<T> {
    /// The value cannot be.
    pub(crate) fn wrong(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(self.place.clone(), problem)
    }
}

impl Given<String> {
    /// What stands behind `http://` or `https://`: the text must be the URL of `whom`, without credentials in it.
    pub(crate) fn behind_scheme(&self, whom: &str, credentials: &str) -> Result<&str, ConfigError> {
        let rest = self
            .value
            .strip_prefix("http://")
            .or_else(|| self.value.strip_prefix("https://"));
        match rest {
            // The value may hold a password, so it is not shown.
            Some(rest) if rest.contains('@') => Err(self.wrong("has credentials in it").advise(credentials)),
            Some(rest) if !rest.trim_start_matches('/').is_empty() => Ok(rest),
            _ => Err(self.no_url_of(whom)),
        }
    }

    /// The text is not the URL of `whom`.
    pub(crate) fn no_url_of(&self, whom: &str) -> ConfigError {
        self.wrong(format!("`{}` is not the address of {whom}", self.value))
            .advise("write http://HOST:PORT or https://HOST:PORT")
    }

    /// The text as `HOST:PORT`; port 0 lets the system choose one.
    pub(crate) fn address(self) -> Result<String, ConfigError> {
        let good = self.value.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@".contains(c));
            plain && (!host.contains(':') || host.starts_with('[')) && port.parse::<u16>().is_ok()
        });
        if good {
            return Ok(self.value);
        }
        Err(self
            .wrong(format!("`{}` is not an address", self.value))
            .advise("write HOST:PORT, as in 127.0.0.1:9700"))
    }
}
