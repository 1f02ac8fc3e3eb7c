//! How a command ends when it does not end well: what failed, what to do about it, and the exit status.

use std::error::Error;
use std::process::ExitCode;

use serde_json::{Value, json};

pub(crate) use slipstream_model::words::chain;

use crate::output;

/// The thing asked about is false or failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or the configuration cannot be used.
pub(crate) const USAGE: u8 = 2;

/// The end of a command that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    cause: String,
    remedy: Option<String>,
    code: u8,
}

impl Failure {
    /// Something failed, or is not as asked.
    pub(crate) fn failed(cause: impl Into<String>) -> Self {
        Failure {
            cause: cause.into(),
            remedy: None,
            code: FAILED,
        }
    }

    /// What was given cannot be used.
    pub(crate) fn usage(cause: impl Into<String>) -> Self {
        Failure {
            cause: cause.into(),
            remedy: None,
            code: USAGE,
        }
    }

    /// Something failed, with all causes of the error in one line.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        Failure::failed(chain(error))
    }

    /// Says what to do about it.
    pub(crate) fn advise(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// A question could not be answered, where "no" has a status of its own.
    pub(crate) fn untold(mut self) -> Self {
        self.code = USAGE;
        self
    }

    /// The failure and what to do about it, in one line.
    pub(crate) fn text(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{} → {remedy}", self.cause),
            None => self.cause.clone(),
        }
    }

    /// The same as an object.
    pub(crate) fn object(&self) -> Value {
        json!({"error": {"cause": self.cause, "remedy": self.remedy}, "exit_status": self.code})
    }

    /// Prints it for people, or as an object, and gives the exit status.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if as_json {
            output::aside(&self.object().to_string());
        } else {
            let error = output::red("error:", output::coloured_aside());
            output::aside(&format!("{error} {}", self.text()));
        }
        ExitCode::from(self.code)
    }
}
