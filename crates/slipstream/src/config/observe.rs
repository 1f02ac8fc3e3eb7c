//! `[observe]`: where a leader agent shows metrics and health; without it, nowhere. For both agents, where traces go.

use slipstream_trace::Otlp;

use super::document::ConfigError;
use super::section::{Given, Section};

/// Of batches and bulks, one in so many is traced.
const BATCHES: i64 = 1_000;

/// A leader agent's.
#[derive(Debug)]
pub(crate) struct Observe {
    /// Where to listen.
    pub(crate) address: Option<String>,
    /// Where traces go.
    pub(crate) otlp: Option<Otlp>,
}

pub(super) fn read_leader(mut section: Section) -> Result<Observe, ConfigError> {
    let address = section.text("address")?.map(Given::address).transpose()?;
    let otlp = otlp(&mut section)?;
    section.finish()?;
    Ok(Observe { address, otlp })
}

/// A follower agent's: its gateway shows metrics and health.
pub(super) fn read(mut section: Section) -> Result<Option<Otlp>, ConfigError> {
    let otlp = otlp(&mut section)?;
    section.finish()?;
    Ok(otlp)
}

fn otlp(section: &mut Section) -> Result<Option<Otlp>, ConfigError> {
    let endpoint = section.text("otlp_endpoint")?;
    let one_in = section.integer("otlp_one_in", 0..=1_000_000_000, BATCHES)? as u32;
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let rest = endpoint.value.strip_prefix("http://");
    let Some((host, path)) = rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
        return Err(endpoint
            .wrong(format!("`{}` is not an address of a collector", endpoint.value))
            .advise("write http://HOST:4318 for OTLP over HTTP; for TLS let a collector on this host pass them on"));
    };
    let path = if path.is_empty() { "v1/traces" } else { path };
    let host = Given {
        value: host.to_owned(),
        place: endpoint.place,
    };
    Ok(Some(Otlp {
        endpoint: format!("http://{}/{path}", host.address()?),
        one_in,
    }))
}
