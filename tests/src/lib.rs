//! What the end-to-end suites share: two clusters with the product's own binary beside each, as an operator runs it.
//!
//! The agents are real processes with configuration files, certificates and RocksDB folders, so that a suite can kill
//! them at any instruction and start them again. The link between them goes through the test kit's proxy.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a suite does belongs into the test's output"
)]

pub mod agents;
pub mod browser;
pub mod deaths;
pub mod real;
pub mod storm;
pub mod world;
