//! `[observe]`: where a leader agent shows metrics and health; without it, nowhere.

use super::document::ConfigError;
use super::section::{Given, Section};

pub(super) fn read(mut section: Section) -> Result<Option<String>, ConfigError> {
    let address = section.text("address")?.map(Given::address).transpose()?;
    section.finish()?;
    Ok(address)
}
