//! `[store]`: the folder in which a follower agent keeps its place.

use std::path::PathBuf;

use super::document::ConfigError;
use super::section::Section;

/// The store's folder; made when it is not there.
#[derive(Debug)]
pub(crate) struct StorePath(pub(crate) PathBuf);

pub(super) fn read(mut section: Section) -> Result<StorePath, ConfigError> {
    let path = section.required_path("path")?.value;
    section.finish()?;
    Ok(StorePath(path))
}
