//! The settings a server is started with, and the two forms in which releases want them.

use std::path::Path;

use serde_json::Value;

use super::{Engine, Release, ServerConfig};

/// What the settings depend on beside the configuration.
pub(crate) struct Place<'a> {
    pub(crate) release: Release,
    /// The unzipped release.
    pub(crate) home: &'a Path,
    /// The server's own folder.
    pub(crate) folder: &'a Path,
    pub(crate) http: u16,
    pub(crate) transport: u16,
}

/// Keys and values, the values as YAML; a test's own lines replace ours.
pub(crate) fn settings(config: &ServerConfig, place: &Place<'_>) -> Vec<(String, String)> {
    let folder = |name| place.folder.join(name).display().to_string();
    let mut settings = vec![
        ("cluster.name", config.cluster_name.clone()),
        ("node.name", config.node_name.clone()),
        ("network.host", "127.0.0.1".to_owned()),
        ("http.port", place.http.to_string()),
        ("transport.port", place.transport.to_string()),
        ("path.data", folder("data")),
        ("path.logs", folder("logs")),
        ("path.repo", format!("[\"{}\"]", folder("repo"))),
        // A full build disk must not make indices read-only under a test that is not about that.
        (
            "cluster.routing.allocation.disk.threshold_enabled",
            "false".to_owned(),
        ),
        ("action.destructive_requires_name", "false".to_owned()),
    ];
    // Never `discovery.type: single-node`: another node could not join later.
    if let Some(address) = &config.join {
        settings.push(("discovery.seed_hosts", format!("[\"{address}\"]")));
    } else {
        settings.push(("discovery.seed_hosts", "[]".to_owned()));
        settings.push((
            "cluster.initial_master_nodes",
            format!("[\"{}\"]", config.node_name),
        ));
    }
    if !config.master_eligible {
        if place.release == Release::Elasticsearch7_3_0 {
            settings.push(("node.master", "false".to_owned()));
        } else {
            settings.push(("node.roles", "[\"data\", \"ingest\"]".to_owned()));
        }
    }
    // These settings exist only with their module, and an unknown one keeps a server from starting.
    if has_x_pack(place.home) && !config.secured {
        settings.push(("xpack.security.enabled", "false".to_owned()));
        settings.push(("xpack.ml.enabled", "false".to_owned()));
    }
    if place.home.join("modules/ingest-geoip").is_dir() && place.release.engine() == Engine::Elasticsearch {
        settings.push(("ingest.geoip.downloader.enabled", "false".to_owned()));
    }
    let mut settings: Vec<(String, String)> = settings
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if config.secured {
        settings.extend(super::security::settings(place.release));
    }
    settings.retain(|(key, _)| !config.settings.iter().any(|(own, _)| own == key));
    settings.extend(config.settings.iter().cloned());
    settings
}

/// Whether the release carries x-pack.
pub(crate) fn has_x_pack(home: &Path) -> bool {
    home.join("modules/x-pack-core").is_dir()
}

/// The configuration file.
pub(crate) fn as_yaml(settings: &[(String, String)]) -> String {
    settings
        .iter()
        .flat_map(|(key, value)| [key, ": ", value, "\n"])
        .collect()
}

/// What Elasticsearch 8's own launcher would write to the server's standard input: flags, an empty keystore, the
/// settings (the server does not read the configuration file itself), and its folders.
pub(crate) fn as_launcher_arguments(settings: &[(String, String)], home: &Path, folder: &Path) -> Vec<u8> {
    let logs = folder.join("logs").display().to_string();
    let mut out = vec![0, 0, 0]; // in the foreground, not quiet, no pid file
    string(&mut out, "org.elasticsearch.common.settings.KeyStoreWrapper");
    out.extend(7_u32.to_be_bytes()); // keystore format
    out.extend([0; 4]); // no password, no sealed bytes, no entries, not closed
    length(&mut out, settings.len() + 1);
    string(&mut out, "path.home");
    value(&mut out, &Value::String(home.display().to_string()));
    for (key, text) in settings {
        string(&mut out, key);
        match serde_json::from_str(text) {
            Ok(list @ Value::Array(_)) => value(&mut out, &list),
            Ok(Value::String(text)) => value(&mut out, &Value::String(text)),
            _ => value(&mut out, &Value::String(text.clone())),
        }
    }
    string(&mut out, &folder.join("config").display().to_string());
    string(&mut out, &logs);
    out
}

/// A typed value: a list (7) of strings, or a string (0).
fn value(out: &mut Vec<u8>, json: &Value) {
    match json {
        Value::Array(items) => {
            out.push(7);
            length(out, items.len());
            for item in items {
                value(out, item);
            }
        }
        other => {
            out.push(0);
            string(out, other.as_str().unwrap_or_default());
        }
    }
}

/// A length in characters, then the characters; what we write is ASCII.
fn string(out: &mut Vec<u8>, text: &str) {
    length(out, text.chars().count());
    out.extend(text.as_bytes());
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_own_setting_replaces_ours() {
        let config = ServerConfig::default()
            .with("path.repo", "[\"/mnt\"]")
            .with("indices.x", "1");
        let place = Place {
            release: Release::OpenSearch2_19_1,
            home: Path::new("/none"),
            folder: Path::new("/tmp/x"),
            http: 1,
            transport: 2,
        };
        let yaml = as_yaml(&settings(&config, &place));
        assert_eq!(yaml.matches("path.repo").count(), 1);
        assert!(yaml.contains("path.repo: [\"/mnt\"]\nindices.x: 1\n"), "{yaml}");
    }

    #[test]
    fn long_strings_have_long_lengths() {
        let mut out = Vec::new();
        string(&mut out, &"a".repeat(300));
        assert_eq!(out[..2], [0xac, 0x02]);
    }
}
