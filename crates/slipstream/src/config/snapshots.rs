//! `[snapshots]` of a follower agent: the folder and the address from which it serves the files of restores to the target's nodes, where
//! it cannot write into a folder of theirs.
//!
//! They are an index's contents, so beyond this host they travel over TLS only.

use std::path::PathBuf;

use super::document::ConfigError;
use super::gateway::{Https, is_loopback, server_tls};
use super::section::{Given, Section};

/// The server of files.
#[derive(Debug)]
pub(crate) struct Served {
    /// The agent's own folder for them.
    pub(crate) spool: PathBuf,
    /// Where it listens.
    pub(crate) address: String,
    /// How the target's nodes reach it, if not by that address.
    pub(crate) url: Option<String>,
    /// Its certificate, if it speaks TLS.
    pub(crate) tls: Option<Https>,
}

impl Served {
    /// How the target's nodes reach it, if it listens at `address`.
    pub(crate) fn url(&self, address: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.url
            .clone()
            .unwrap_or_else(|| format!("{scheme}://{address}"))
    }

    /// Whether other hosts can reach it.
    pub(crate) fn is_open(&self) -> bool {
        !is_loopback(&self.address)
    }
}

pub(super) fn read(mut section: Section) -> Result<Option<Served>, ConfigError> {
    let spool = section.path("spool")?;
    let address = section.text("address")?;
    let url = section.text("url")?;
    let tls = server_tls(&mut section, None)?;
    let (spool, address) = match (spool, address) {
        (Some(spool), Some(address)) => (spool, address),
        (None, None) if url.is_none() && tls.is_none() => {
            section.finish()?;
            return Ok(None);
        }
        (None, _) => return Err(section.missing("spool")),
        (_, None) => return Err(section.missing("address")),
    };
    section.finish()?;
    let place = address.place.clone();
    let served = Served {
        spool: spool.value,
        address: address.address()?,
        url: url.map(|given| base(&given)).transpose()?,
        tls,
    };
    if served.is_open() && served.tls.is_none() {
        let problem = format!(
            "other hosts can reach {}, and the files of indices would travel in the clear",
            served.address
        );
        return Err(ConfigError::new(place, problem)
            .advise("write 127.0.0.1 for the host; or set cert_file and key_file, with a certificate that the target's Java trusts"));
    }
    let anywhere = ["0.0.0.0:", "[::]:"]
        .iter()
        .any(|host| served.address.starts_with(host));
    if anywhere && served.url.is_none() {
        return Err(
            ConfigError::new(place, "nobody can be sent to that address").advise(
                "give `url`: how the target's nodes reach this agent, as in https://agent.example:9711",
            ),
        );
    }
    Ok(Some(served))
}

fn base(given: &Given<String>) -> Result<String, ConfigError> {
    let rest = given.behind_scheme(
        "a server",
        "leave them out: the path that a restore's files get cannot be guessed",
    )?;
    if rest.contains(|c: char| c.is_whitespace() || "?#*".contains(c)) {
        return Err(given.no_url_of("a server"));
    }
    Ok(given.value.trim_end_matches('/').to_owned())
}
