//! `[listen]`: where a leader agent takes follower agents.

use super::document::ConfigError;
use super::section::Section;

pub(super) fn read(mut section: Section) -> Result<String, ConfigError> {
    let address = section.required("address")?.address()?;
    section.finish()?;
    Ok(address)
}
