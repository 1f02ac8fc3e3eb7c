//! `slipstream password`: a line for the gateway's file of users.

use std::io::BufRead;

use slipstream_gateway::{hash_password, is_name};

use crate::failure::Failure;
use crate::output;

/// Reads a password from stdin and prints the user's line.
pub(crate) fn run(name: &str) -> Result<(), Failure> {
    if !is_name(name) {
        return Err(Failure::usage(format!("`{name}` cannot be the name of a user"))
            .advise("use no blanks, colons or control characters"));
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::usage(format!("the password cannot be read from stdin: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::usage("there is no password on stdin")
            .advise(format!("pass it in, as in `slipstream password {name} < FILE`")));
    }
    let hash = hash_password(password).ok_or_else(|| Failure::failed("the system has no random bytes"))?;
    output::data(&format!("{name}:{hash}"));
    Ok(())
}
