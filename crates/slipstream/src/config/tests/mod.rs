//! What is read, and what is refused in which words. No test touches the process's environment.

use std::path::{Path, PathBuf};

use slipstream_cluster::Auth as Ours;
use slipstream_wire::certs::{self, San};
use slipstream_wire::identity::Identity;

use super::*;

mod gateway;
mod snapshots;

/// A folder with certificates, and agents' files written into it.
struct Folder(tempfile::TempDir);

const LEADER: &str = r#"
[cluster]
url = "http://127.0.0.1:9200"
[listen]
address = "127.0.0.1:9700"
[tls]
cert_file = "agent.pem"
key_file = "agent.key"
ca_file = "ca.pem"
[[allow]]
identity = "follower.dr.example"
indices = ["logs-*", "leader-01"]
[observe]
address = "127.0.0.1:9701"
"#;

const FOLLOWER: &str = r#"
[cluster]
url = "http://127.0.0.1:9201"
[store]
path = "store"
[gateway]
address = "127.0.0.1:9710"
proxy = true
[tls]
cert_file = "agent.pem"
key_file = "agent.key"
ca_file = "ca.pem"
[[leader]]
alias = "leader-cluster"
agents = ["leader.example:9700"]
"#;

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        certs::init_ca(folder.path()).unwrap();
        certs::issue(
            folder.path(),
            "agent",
            &[San::Dns("agent.example".into())],
            certs::LEAF_VALIDITY,
        )
        .unwrap();
        std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn leader(&self, text: &str, env: &[(&str, &str)]) -> Result<LeaderFile, String> {
        std::fs::write(self.path("leader.toml"), text).unwrap();
        LeaderFile::load(&self.path("leader.toml"), pairs(env)).map_err(|error| self.short(&error))
    }

    fn follower(&self, text: &str, env: &[(&str, &str)]) -> Result<FollowerFile, String> {
        std::fs::write(self.path("follower.toml"), text).unwrap();
        FollowerFile::load(&self.path("follower.toml"), pairs(env)).map_err(|error| self.short(&error))
    }

    /// The error without the folder's own path.
    fn short(&self, error: &ConfigError) -> String {
        error
            .to_string()
            .replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn pairs<'a>(env: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + use<'a> {
    env.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

#[test]
fn a_leaders_file_is_read() {
    let folder = Folder::new();
    let file = folder
        .leader(LEADER, &[("SLIPSTREAM_LOG", "debug"), ("HOME", "/root")])
        .unwrap();
    assert_eq!(file.cluster.url, "http://127.0.0.1:9200");
    assert!(matches!(file.cluster.auth, Ours::None));
    assert_eq!(file.listen, "127.0.0.1:9700");
    assert_eq!(file.observe.address.as_deref(), Some("127.0.0.1:9701"));
    assert_eq!(file.max_streams, 4_096);
    assert_eq!(file.allow[0].identity, "follower.dr.example");
    assert!(file.allow[0].indices[0].matches("logs-7"));
}

#[test]
fn a_followers_file_is_read_with_paths_beside_it() {
    let folder = Folder::new();
    let file = folder.follower(FOLLOWER, &[]).unwrap();
    assert_eq!(file.store.0, folder.path("store"));
    assert!(file.gateway.proxy);
    assert_eq!(file.leaders["leader-cluster"], ["leader.example:9700"]);
    assert_eq!(
        (
            file.limits.memory_bytes,
            file.limits.lanes_per_shard,
            file.limits.refresh_millis
        ),
        (64 << 20, 4, 0)
    );
}

#[test]
fn both_agents_are_told_where_traces_go() {
    let folder = Folder::new();
    let env = [("SLIPSTREAM_OBSERVE__OTLP_ENDPOINT", "http://127.0.0.1:4318")];
    let leader = folder.leader(LEADER, &env).unwrap().observe.otlp.unwrap();
    let follower = folder.follower(FOLLOWER, &env).unwrap().otlp.unwrap();
    assert_eq!(leader, follower);
    assert_eq!(
        (leader.endpoint.as_str(), leader.one_in),
        ("http://127.0.0.1:4318/v1/traces", 1_000)
    );
    let own = [
        ("SLIPSTREAM_OBSERVE__OTLP_ENDPOINT", "http://h:1/own"),
        ("SLIPSTREAM_OBSERVE__OTLP_ONE_IN", "0"),
    ];
    let otlp = folder.follower(FOLLOWER, &own).unwrap().otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.one_in), ("http://h:1/own", 0));
    assert!(folder.follower(FOLLOWER, &[]).unwrap().otlp.is_none());
    for (address, said) in [
        ("collector:4318", "write http://HOST:4318"),
        ("https://collector:4318", "for TLS let a collector on this host"),
        ("http://collector", "is not an address"),
    ] {
        let error = folder.follower(FOLLOWER, &[("SLIPSTREAM_OBSERVE__OTLP_ENDPOINT", address)]);
        let error = error.unwrap_err();
        assert!(error.contains(said), "{address}: {error}");
    }
}

#[test]
fn variables_override_every_kind_of_key() {
    let folder = Folder::new();
    let file = folder
        .follower(
            FOLLOWER,
            &[
                ("SLIPSTREAM_CLUSTER__URL", "https://other:9200"),
                ("SLIPSTREAM_GATEWAY__PROXY", "false"),
                ("SLIPSTREAM_LIMITS__MEMORY_MB", "128"),
                ("SLIPSTREAM_LEADER__0__AGENTS", "a:1, b:2"),
                ("SLIPSTREAM_LEADER__1__ALIAS", "second"),
                ("SLIPSTREAM_LEADER__1__AGENTS", "c:3"),
            ],
        )
        .unwrap();
    assert_eq!(file.cluster.url, "https://other:9200");
    assert!(!file.gateway.proxy);
    assert_eq!(file.limits.memory_bytes, 128 << 20);
    assert_eq!(file.leaders["leader-cluster"], ["a:1", "b:2"]);
    assert_eq!(file.leaders["second"], ["c:3"]);
}

#[test]
fn secrets_come_from_files_or_the_environment_and_show_nowhere() {
    let folder = Folder::new();
    let with = |lines: &str| LEADER.replacen("[listen]", &format!("{lines}\n[listen]"), 1);
    let from_file = with("username = \"u\"\npassword_file = \"password\"");
    let password = |file: LeaderFile| match file.cluster.auth {
        Ours::Basic { password, .. } => password.expose().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(password(folder.leader(&from_file, &[]).unwrap()), "s3cret");
    let override_it = [("SLIPSTREAM_CLUSTER__PASSWORD", "0ther")];
    assert_eq!(
        password(folder.leader(&from_file, &override_it).unwrap()),
        "0ther"
    );
    let key = folder
        .leader(LEADER, &[("SLIPSTREAM_CLUSTER__API_KEY", "k3y")])
        .unwrap();
    assert!(matches!(&key.cluster.auth, Ours::ApiKey(key) if key.expose() == "k3y"));
    assert!(!format!("{key:?}").contains("k3y"));

    let written = folder
        .leader(&with("username = \"u\"\npassword = \"hunter2\""), &[])
        .unwrap_err();
    assert_eq!(
        written,
        "leader.toml:5: [cluster] password: a secret must not stand in the configuration file → put it into a file of \
         its own and name that by `password_file`, or into SLIPSTREAM_CLUSTER__PASSWORD"
    );
    let in_url = folder
        .leader(&LEADER.replacen("127.0.0.1:9200", "u:hunter2@h:9200", 1), &[])
        .unwrap_err();
    assert!(
        in_url.contains("has credentials in it") && !in_url.contains("hunter2"),
        "{in_url}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_file_line_and_key() {
    let folder = Folder::new();
    for (from, to, refusal) in [
        (
            "url =",
            "uri =",
            "leader.toml:2: [cluster] url: missing → add `url` to [cluster]",
        ),
        (
            "[listen]",
            "colour = 1\n[listen]",
            "leader.toml:4: [cluster] colour: unknown key → the keys of this section are url, username, password_file, \
             api_key_file, ca_file, client_cert_file, client_key_file, translog, data_path",
        ),
        (
            "[listen]",
            "translog = \"maybe\"\n[listen]",
            "leader.toml:4: [cluster] translog: expected \"auto\", \"on\" or \"off\"",
        ),
        (
            "[observe]",
            "[observer]",
            "leader.toml:13: [observer]: unknown section → the sections of this file are cluster, listen, tls, allow, observe",
        ),
        (
            "\"127.0.0.1:9700\"",
            "9700",
            "leader.toml:5: [listen] address: expected a text in quotes, found a number",
        ),
        (
            "\"127.0.0.1:9700\"",
            "\"nine\"",
            "leader.toml:5: [listen] address: `nine` is not an address → write HOST:PORT",
        ),
        (
            "\"http://127.0.0.1:9200\"",
            "\"127.0.0.1:9200\"",
            "leader.toml:3: [cluster] url: `127.0.0.1:9200` is not the address of a cluster → write http://HOST:PORT or https://HOST:PORT",
        ),
        (
            "\"http://127.0.0.1:9200\"",
            "\"\"",
            "leader.toml:3: [cluster] url: is empty",
        ),
        (
            "[\"logs-*\", \"leader-01\"]",
            "\"logs-*\"",
            "leader.toml:12: [allow.0] indices: expected a list of texts, [\"…\", \"…\"], found a text",
        ),
        (
            "[\"logs-*\", \"leader-01\"]",
            "[]",
            "leader.toml:12: [allow.0] indices: is empty or has an empty text in it",
        ),
        (
            "identity =",
            "identitty =",
            "leader.toml:10: [allow.0] identity: missing → add `identity` to [allow]",
        ),
        (
            "[[allow]]",
            "[allow]",
            "leader.toml:10: [allow]: there can be several [[allow]] → write [[allow]] instead of [allow]",
        ),
        (
            "[listen]",
            "[[listen]]",
            "leader.toml:4: [listen.0]: there is only one [listen] → write [listen] instead of [[listen]]",
        ),
        (
            "ca_file = \"ca.pem\"",
            "ca_file = \"nope.pem\"",
            "leader.toml:6: [tls]: cannot read `nope.pem`",
        ),
        (
            "[listen]",
            "username = \"u\"\n[listen]",
            "leader.toml:4: [cluster] username: there is no password for this user",
        ),
        (
            "[listen]",
            "ca_file = \"nope\"\n[listen]",
            "leader.toml:4: [cluster] ca_file: cannot read `nope`",
        ),
        ("[listen]", "[listen", "leader.toml:4: "),
        (
            "[cluster]",
            "url = 1\n[cluster]",
            "leader.toml:2: url: this key stands outside of any section",
        ),
    ] {
        let error = folder.leader(&LEADER.replacen(from, to, 1), &[]).unwrap_err();
        assert!(error.starts_with(refusal), "{error}\n{refusal}");
    }
}

#[test]
fn numbers_have_bounds_and_aliases_are_given_once() {
    let folder = Folder::new();
    for (text, refusal) in [
        (
            "[limits]\nmemory_mb = 1",
            "follower.toml:17: [limits] memory_mb: expected a number from 8 to 65536, found 1",
        ),
        (
            "[limits]\nlanes_per_shard = 1.5",
            "follower.toml:17: [limits] lanes_per_shard: expected a number from 1 to 64, found a fraction",
        ),
        (
            "[limits]\nrefresh_ms = \"5\"",
            "follower.toml:17: [limits] refresh_ms: expected a number from 0 to 60000, found a text",
        ),
        (
            "[[leader]]\nalias = \"leader-cluster\"\nagents = [\"h:1\"]",
            "follower.toml:17: [leader.1] alias: `leader-cluster` is given twice",
        ),
        (
            "[[leader]]\nalias = \"a.b\"\nagents = [\"h:1\"]",
            "follower.toml:17: [leader.1] alias: `a.b` cannot name a leader",
        ),
        (
            "[[leader]]\nalias = \"b\"\nagents = [\"h\"]",
            "follower.toml:18: [leader.1] agents: ",
        ),
    ] {
        let error = folder.follower(&format!("{FOLLOWER}{text}\n"), &[]).unwrap_err();
        assert!(error.starts_with(refusal), "{error}\n{refusal}");
    }
}

#[test]
fn variables_are_checked_as_the_file_is_and_named() {
    let folder = Folder::new();
    for (name, value, refusal) in [
        (
            "SLIPSTREAM_CLUSTER__COLOUR",
            "1",
            "SLIPSTREAM_CLUSTER__COLOUR: unknown key",
        ),
        (
            "SLIPSTREAM_CLUSTR__URL",
            "h",
            "SLIPSTREAM_CLUSTR__URL: unknown section",
        ),
        (
            "SLIPSTREAM_LISTEN__ADDRESS",
            "nine",
            "SLIPSTREAM_LISTEN__ADDRESS: `nine` is not an address",
        ),
        (
            "SLIPSTREAM_ALLOW__7__IDENTITY",
            "x",
            "SLIPSTREAM_ALLOW__7__IDENTITY: there is no [[allow]] number 7",
        ),
        (
            "SLIPSTREAM_ALLOW__IDENTITY",
            "x",
            "SLIPSTREAM_ALLOW__IDENTITY: there can be several [[allow]]",
        ),
        (
            "SLIPSTREAM_CLUSTER__PASSWORD",
            "s3cret",
            "SLIPSTREAM_CLUSTER__PASSWORD: there is no `username`",
        ),
    ] {
        let error = folder.leader(LEADER, &[(name, value)]).unwrap_err();
        assert!(error.starts_with(refusal), "{error}\n{refusal}");
        assert!(!error.contains("s3cret"));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = LeaderFile::load(Path::new("/nonexistent/leader.toml"), std::iter::empty())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/nonexistent/leader.toml: ") && error.contains("--config"),
        "{error}"
    );
}
