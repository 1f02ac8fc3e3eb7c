//! One use of a store, from its opening to whatever ends it.
//!
//! Who defers writes to the store says so in it beforehand, under the name of its run. Where a later run finds that, the earlier one did not
//! come to the end of it.

use serde::{Deserialize, Serialize};

/// A use of a store, by a name that was made up for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Run(String);

impl Run {
    /// A run of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Run(name.into())
    }

    /// One that never was before.
    pub(crate) fn begin() -> Run {
        Run::new(format!("{:016x}", rand::random::<u64>()))
    }
}
