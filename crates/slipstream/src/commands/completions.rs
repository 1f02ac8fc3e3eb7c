//! `slipstream completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Prints the script for a shell.
pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "slipstream", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::of(&error))?;
    crate::output::data(script.trim_end());
    Ok(())
}
