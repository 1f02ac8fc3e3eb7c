//! `[[allow]]`: which follower agent may read which indices of the leader. Nothing is allowed by default.

use slipstream_leader::AllowRule;
use slipstream_model::Pattern;

use super::document::ConfigError;
use super::section::Section;

pub(super) fn read(sections: Vec<Section>) -> Result<Vec<AllowRule>, ConfigError> {
    sections
        .into_iter()
        .map(|mut section| {
            let identity = section.required("identity")?.value;
            let indices = section
                .list("indices")?
                .value
                .into_iter()
                .map(Pattern::new)
                .collect();
            section.finish()?;
            Ok(AllowRule { identity, indices })
        })
        .collect()
}
