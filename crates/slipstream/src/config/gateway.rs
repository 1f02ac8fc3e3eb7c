//! `[gateway]`: where a follower agent is controlled, and whether it passes other requests on.

use super::document::ConfigError;
use super::section::Section;

/// The REST surface.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it listens.
    pub(crate) address: String,
    /// Whether requests that are not its own go to the target.
    pub(crate) proxy: bool,
}

pub(super) fn read(mut section: Section) -> Result<Gateway, ConfigError> {
    let gateway = Gateway {
        address: section.required("address")?.address()?,
        proxy: section.flag("proxy")?,
    };
    section.finish()?;
    Ok(gateway)
}
