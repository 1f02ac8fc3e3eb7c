//! The `slipstream` program: command line, configuration, and the wiring of the agents. What the agents do is in their
//! own crates.

mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod doctor;
mod failure;
mod init;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// The C library's own gives the memory of each chunk of a file, and of each large batch, back to the system and takes it anew, page by
/// page; this one keeps for some seconds what was used a moment ago.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// A command line that cannot be used, for people or as an object; or the help that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let cause = text.lines().next().unwrap_or_default();
        return Failure::usage(cause.trim_start_matches("error: "))
            .advise("see `slipstream --help`")
            .report(true);
    }
    error.exit()
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::of(&error).advise("the system has no room for another process's threads")
        })?;
    let (json, log) = (cli.json, cli.log_format);
    runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => Box::pin(demo::run(&args, log)).await,
            Command::Leader(args) => Box::pin(init::leader::run(&args.config, log)).await,
            Command::Follower(args) => Box::pin(init::follower::run(&args.config, log)).await,
            Command::Sandbox(args) => commands::sandbox::run(args, log).await,
            Command::Doctor(args) => doctor::run(&args, json).await,
            Command::Certs(command) => commands::certs::run(&command, json),
            Command::Password { name } => commands::password::run(&name),
            Command::Start(args) => commands::start::run(&args, json).await,
            Command::Stop(args) => commands::control::stop(&args, json).await,
            Command::Pause(args) => commands::control::pause(&args, json).await,
            Command::Resume(args) => commands::control::resume(&args, json).await,
            Command::Status(args) => commands::status::run(&args, json).await,
            Command::Verify(args) => commands::verify::run(&args, json).await,
            Command::Autofollow(command) => commands::autofollow::run(&command, json).await,
            Command::Completions { shell } => commands::completions::run(shell),
        }
    })
}
