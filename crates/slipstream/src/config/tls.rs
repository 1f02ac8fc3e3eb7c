//! `[tls]`: the agent's own certificate and whom it trusts. There is no way without it.

use std::fmt;

use slipstream_wire::tls::{TlsFiles, TlsIdentity};

use super::document::ConfigError;
use super::section::Section;

/// Certificate files that have been read and fit together.
pub(crate) struct Certificates {
    pub(crate) identity: TlsIdentity,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("expires_at", &self.identity.expires_at())
            .finish_non_exhaustive()
    }
}

pub(super) fn read(mut section: Section) -> Result<Certificates, ConfigError> {
    let files = TlsFiles {
        cert: section.required_path("cert_file")?.value,
        key: section.required_path("key_file")?.value,
        ca: section.required_path("ca_file")?.value,
    };
    let place = section.place();
    section.finish()?;
    let identity = TlsIdentity::load(&files).map_err(|error| ConfigError::of(place, &error))?;
    Ok(Certificates { identity })
}
