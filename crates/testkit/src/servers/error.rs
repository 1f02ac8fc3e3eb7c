//! Why a server could not be started, with "this machine lacks what it takes" kept apart from "it failed".

use std::{
    io::{self, Write},
    path::PathBuf,
};

/// What kept a server from starting.
#[derive(Debug, thiserror::Error)]
pub enum SkipOrError {
    /// This machine cannot run the release, and nothing is broken: a test says so and passes.
    #[error("skipped: {reason}")]
    Skip {
        /// What is missing and how to get it.
        reason: String,
    },
    /// A program that provisioning needs is not installed.
    #[error(
        "`{program}` is needed to {purpose} and could not be started: install it (scripts/prepare.sh does)"
    )]
    Program {
        /// The program's name.
        program: &'static str,
        /// What it is needed for.
        purpose: &'static str,
        /// Why it did not start.
        #[source]
        source: io::Error,
    },
    /// A program that provisioning needs ended with an error or took too long.
    #[error("`{program}` failed to {purpose}: {output}")]
    Provision {
        /// The program's name.
        program: &'static str,
        /// What it was to do.
        purpose: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file or folder of the cache or of the server's own folder could not be handled.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server ended, or did not answer before its deadline.
    #[error("{release} did not start: {reason}; the end of its log:\n{log}")]
    Start {
        /// The release's name.
        release: &'static str,
        /// What happened.
        reason: String,
        /// The last lines the server wrote.
        log: String,
    },
    /// No free port was found.
    #[error(
        "no free port in {first}..{last}: too many servers at a time, or a foreign service holds the range"
    )]
    Ports {
        /// First port tried.
        first: u16,
        /// Port after the last one tried.
        last: u16,
    },
}

impl SkipOrError {
    /// The reason to skip, where this is not an error at all.
    pub fn skip(&self) -> Option<&str> {
        match self {
            Self::Skip { reason } => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.into(),
            source,
        }
    }
}

/// Unwraps what a test needs: `None`, after a line on stderr, where this machine cannot run it, and a panic with the
/// whole chain of causes where something is broken.
#[expect(
    clippy::panic,
    reason = "called from tests only, where a panic is the verdict"
)]
#[track_caller]
pub fn or_skip<T>(result: Result<T, SkipOrError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(SkipOrError::Skip { reason }) => {
            // Not `eprintln!`, which the test harness hides where a test passes: a skip must be seen.
            let _ = writeln!(io::stderr(), "SKIPPED: {reason}");
            None
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            panic!("{text}")
        }
    }
}
