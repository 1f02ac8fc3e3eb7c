//! The commands that are not agents.

pub(crate) mod autofollow;
pub(crate) mod certs;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod password;
pub(crate) mod sandbox;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod verify;
