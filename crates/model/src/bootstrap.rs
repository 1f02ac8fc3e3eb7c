//! What a new follower begins with, where the operator does not leave that to the agent.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Files or documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bootstrap {
    /// With a snapshot of the leader's, or not at all.
    Files,
    /// With its documents, however large it is.
    Documents,
}

impl Bootstrap {
    /// All of them, in the order in which they are told.
    pub const ALL: [Bootstrap; 2] = [Bootstrap::Files, Bootstrap::Documents];

    /// What a word means.
    pub fn parse(word: &str) -> Option<Bootstrap> {
        Bootstrap::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Bootstrap::Files => "files",
            Bootstrap::Documents => "documents",
        }
    }
}

impl fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stored_by_the_word_that_operators_use() {
        for one in Bootstrap::ALL {
            assert_eq!(Bootstrap::parse(one.as_str()), Some(one));
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
        assert_eq!(Bootstrap::parse("Files"), None);
    }
}
