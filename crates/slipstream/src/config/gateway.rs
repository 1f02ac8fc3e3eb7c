//! `[gateway]`: where a follower agent is controlled, and whether it passes other requests on.
//!
//! The gateway has no users: whoever reaches its address controls the replication, and with the proxy on writes to the target with
//! the rights that he sends along. So an address that other hosts can reach needs a word of the operator.

use std::net::IpAddr;

use super::document::ConfigError;
use super::section::Section;

/// The REST surface.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it listens.
    pub(crate) address: String,
    /// Whether requests that are not its own go to the target.
    pub(crate) proxy: bool,
    /// Whether whoever reaches the address may control the replication, although other hosts can.
    pub(crate) trust_network: bool,
}

pub(super) fn read(mut section: Section) -> Result<Gateway, ConfigError> {
    let address = section.required("address")?;
    let place = address.place.clone();
    let gateway = Gateway {
        address: address.address()?,
        proxy: section.flag("proxy")?,
        trust_network: section.flag("trust_network")?,
    };
    section.finish()?;
    if !gateway.trust_network && !is_loopback(&gateway.address) {
        let problem = format!(
            "other hosts can reach {}, and the gateway has no users: whoever reaches it controls the replication",
            gateway.address
        );
        return Err(ConfigError::new(place, problem).advise(
            "write 127.0.0.1 for the host, or trust_network = true if only operators, or what authenticates them, reach it",
        ));
    }
    Ok(gateway)
}

/// Whether only this host can reach an address.
pub(crate) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_addresses_of_this_host_are_its_own() {
        for (address, own) in [
            ("127.0.0.1:9710", true),
            ("localhost:9710", true),
            ("[::1]:9710", true),
            ("0.0.0.0:9710", false),
            ("[::]:9710", false),
            ("gateway.example:9710", false),
        ] {
            assert_eq!(is_loopback(address), own, "{address}");
        }
    }
}
