//! A TOML file and the variables over it, as sections that remember where each value was written.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::{Entry, Origin, Raw, Section};
use crate::failure::{Failure, chain};

/// What all overriding variables begin with; after it come section, for repeated ones the number, and key.
const PREFIX: &str = "SLIPSTREAM_";

/// Why a configuration cannot be used: where, what, and what to do.
#[derive(Debug)]
pub(crate) struct ConfigError {
    place: String,
    problem: String,
    remedy: Option<String>,
}

impl ConfigError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError {
            place: place.into(),
            problem: problem.into(),
            remedy: None,
        }
    }

    /// The problem is an error that something else reports.
    pub(crate) fn of(place: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        ConfigError::new(place, chain(error))
    }

    pub(crate) fn advise(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        self.remedy
            .as_ref()
            .map_or(Ok(()), |remedy| write!(f, " → {remedy}"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Failure::usage(format!("{}: {}", error.place, error.problem));
        match error.remedy {
            Some(remedy) => failure.advise(remedy),
            None => failure,
        }
    }
}

/// A file's sections that nobody has taken yet.
pub(crate) struct Document {
    file: Arc<Path>,
    single: BTreeMap<String, Section>,
    repeated: BTreeMap<String, Vec<Section>>,
    asked: Vec<&'static str>,
}

impl Document {
    /// Reads a file and lays the variables over it.
    pub(crate) fn load(
        path: &Path,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Document, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::of(path.display().to_string(), &error).advise("name an existing file by --config")
        })?;
        Document::parse(path, &text, env)
    }

    /// As [`Document::load`], with the file's text given.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Document, ConfigError> {
        let mut document = Document {
            file: path.into(),
            single: BTreeMap::new(),
            repeated: BTreeMap::new(),
            asked: Vec::new(),
        };
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let root = DeTable::parse(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => format!("{}:{}", path.display(), line(span.start)),
                None => path.display().to_string(),
            };
            ConfigError::new(place, error.message().replace('\n', " "))
        })?;
        for (name, value) in root.into_inner() {
            let at = line(name.span().start);
            document.add(name.into_inner().into_owned(), at, value, &line)?;
        }
        for (name, value) in env {
            document.lay_over(&name, value)?;
        }
        Ok(document)
    }

    /// Whether there is a section of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.single.contains_key(name) || self.repeated.contains_key(name)
    }

    fn add(
        &mut self,
        name: String,
        at: usize,
        value: Spanned<DeValue<'_>>,
        line: &impl Fn(usize) -> usize,
    ) -> Result<(), ConfigError> {
        let no_section = |name: &str| {
            ConfigError::new(
                format!("{}:{at}: {name}", self.file.display()),
                "this key stands outside of any section",
            )
            .advise("put it below the header of its section, such as [cluster]")
        };
        match value.into_inner() {
            DeValue::Table(table) => {
                let section = self.filled(&name, Some(at), table, line);
                self.single.insert(name, section);
            }
            DeValue::Array(items) => {
                let mut sections = Vec::new();
                for (number, item) in items.into_iter().enumerate() {
                    let at = line(item.span().start);
                    let DeValue::Table(table) = item.into_inner() else {
                        return Err(no_section(&name));
                    };
                    sections.push(self.filled(&format!("{name}.{number}"), Some(at), table, line));
                }
                self.repeated.insert(name, sections);
            }
            _ => return Err(no_section(&name)),
        }
        Ok(())
    }

    fn filled(
        &self,
        name: &str,
        at: Option<usize>,
        table: DeTable<'_>,
        line: &impl Fn(usize) -> usize,
    ) -> Section {
        let mut section = Section::new(name, Arc::clone(&self.file), at);
        for (key, value) in table {
            let origin = Origin::File(line(key.span().start));
            section.put(
                key.into_inner().into_owned(),
                Entry {
                    value: raw(value.into_inner()),
                    origin,
                },
            );
        }
        section
    }

    /// Lays one variable over the file, if it is meant for it: `SLIPSTREAM_SECTION__KEY` or, where a section can be there
    /// several times, `SLIPSTREAM_SECTION__N__KEY` with N from 0.
    fn lay_over(&mut self, variable: &str, value: String) -> Result<(), ConfigError> {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            return Ok(());
        };
        let parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let entry = Entry {
            value: Raw::Loose(value),
            origin: Origin::Env(variable.to_owned()),
        };
        match parts.as_slice() {
            [_] => {}
            [name, key] => self.single_mut(name).put(key.clone(), entry),
            [name, number, key] => {
                let file = Arc::clone(&self.file);
                let sections = self.repeated.entry(name.clone()).or_default();
                let number: usize = match number.parse() {
                    Ok(number) if number <= sections.len() => number,
                    _ => {
                        let problem = format!("there is no [[{name}]] number {number}, counted from 0");
                        return Err(ConfigError::new(variable, problem));
                    }
                };
                if number == sections.len() {
                    sections.push(Section::new(&format!("{name}.{number}"), file, None));
                }
                sections[number].put(key.clone(), entry);
            }
            _ => {
                return Err(ConfigError::new(
                    variable,
                    "this variable names no key: it has too many parts",
                ));
            }
        }
        Ok(())
    }

    fn single_mut(&mut self, name: &str) -> &mut Section {
        let file = &self.file;
        self.single
            .entry(name.to_owned())
            .or_insert_with(|| Section::new(name, Arc::clone(file), None))
    }

    /// Takes a section that is there at most once; an empty one if it is not.
    pub(crate) fn section(&mut self, name: &'static str) -> Result<Section, ConfigError> {
        self.asked.push(name);
        if let Some(section) = self.repeated.get(name).and_then(|sections| sections.first()) {
            return Err(
                ConfigError::new(section.place(), format!("there is only one [{name}]"))
                    .advise(format!("write [{name}] instead of [[{name}]]")),
            );
        }
        Ok(self
            .single
            .remove(name)
            .unwrap_or_else(|| Section::new(name, Arc::clone(&self.file), None)))
    }

    /// Takes a section that can be there several times.
    pub(crate) fn sections(&mut self, name: &'static str) -> Result<Vec<Section>, ConfigError> {
        self.asked.push(name);
        if let Some(section) = self.single.get(name) {
            return Err(ConfigError::new(section.place(), format!("there can be several [[{name}]]"))
                .advise(format!("write [[{name}]] instead of [{name}]; a variable needs the number: {PREFIX}{}__0__KEY", name.to_uppercase())));
        }
        Ok(self.repeated.remove(name).unwrap_or_default())
    }

    /// Refuses sections that nobody took.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let left = self
            .single
            .values()
            .chain(self.repeated.values().flatten())
            .next();
        match left {
            None => Ok(()),
            Some(section) => Err(ConfigError::new(section.place(), "unknown section")
                .advise(format!("the sections of this file are {}", self.asked.join(", ")))),
        }
    }
}

fn raw(value: DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.into_owned()),
        DeValue::Boolean(flag) => Raw::Flag(flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number out of range"), Raw::Integer),
        DeValue::Array(items) => Raw::List(items.into_iter().map(|item| raw(item.into_inner())).collect()),
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a section"),
    }
}

/// A path as the file means it: relative to the file's own folder.
pub(crate) fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}
