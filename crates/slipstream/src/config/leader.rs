//! `[[leader]]`: leaders known from the start; more can be registered over REST.

use slipstream_follower::Leaders;
use slipstream_wire::connect::check_address;

use super::document::ConfigError;
use super::section::Section;

pub(super) fn read(sections: Vec<Section>) -> Result<Leaders, ConfigError> {
    let mut leaders = Leaders::new();
    for mut section in sections {
        let alias = section.required("alias")?;
        if !alias
            .value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err(alias
                .wrong(format!("`{}` cannot name a leader", alias.value))
                .advise("use letters, digits, - and _"));
        }
        let agents = section.list("agents")?;
        for agent in &agents.value {
            check_address(agent).map_err(|error| ConfigError::of(agents.place.clone(), &error))?;
        }
        if leaders.contains_key(&alias.value) {
            return Err(alias.wrong(format!("`{}` is given twice", alias.value)));
        }
        leaders.insert(alias.value, agents.value);
        section.finish()?;
    }
    Ok(leaders)
}
