//! `slipstream certs`: a private CA for trying things out.

use std::path::Path;

use serde_json::json;
use slipstream_wire::certs::{self, CertsError, LEAF_VALIDITY, San};

use crate::cli::CertsCommand;
use crate::failure::{Failure, chain};
use crate::output;

/// Makes what was asked for, and says which files that are.
pub(crate) fn run(command: &CertsCommand, as_json: bool) -> Result<(), Failure> {
    let made = match command {
        CertsCommand::Init { dir } => {
            let ca = certs::init_ca(dir).map_err(|error| failure(&error))?;
            vec![("ca", ca), ("ca_key", dir.join("ca.key"))]
        }
        CertsCommand::Issue { dir, name, sans } => {
            let sans: Vec<San> = sans
                .iter()
                .map(|san| San::parse(san))
                .collect::<Result<_, _>>()
                .map_err(|error| failure(&error))?;
            let files = certs::issue(dir, name, &sans, LEAF_VALIDITY).map_err(|error| failure(&error))?;
            vec![("cert", files.cert), ("key", files.key), ("ca", files.ca)]
        }
    };
    if as_json {
        let shown = |path: &Path| json!(path.display().to_string());
        let object = made
            .iter()
            .map(|(what, path)| ((*what).to_owned(), shown(path)))
            .collect();
        output::data(&serde_json::Value::Object(object).to_string());
    } else {
        for (_, path) in made {
            output::data(&path.display().to_string());
        }
    }
    Ok(())
}

fn failure(error: &CertsError) -> Failure {
    match error {
        CertsError::Name(_) | CertsError::San(_) | CertsError::NoSan(_) => Failure::usage(chain(error)),
        _ => Failure::of(error),
    }
}
