//! What this repository may depend on, and which of its crates on which: one TLS stack, free licences, crates.io
//! only, and dependencies that point one way. `deny.toml` says the same and more to cargo-deny, where it is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Everything speaks TLS through rustls with ring: a second stack is a second set of holes to patch.
const BANNED: [&str; 6] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
    "hyper-tls",
];

const LICENCES: [&str; 9] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The crates of the product by layer: one may depend on those of lower layers only. Leader and follower share a
/// layer, so neither can come to depend on the other.
const LAYERS: [&[&str]; 7] = [
    &["slipstream-model", "slipstream-translog"],
    &["slipstream-trace"],
    &[
        "slipstream-cluster",
        "slipstream-wire",
        "slipstream-store",
        "slipstream-sandbox",
    ],
    &["slipstream-source"],
    &["slipstream-leader", "slipstream-follower"],
    &["slipstream-gateway"],
    &["slipstream"],
];

/// Crates beside the product, and which of its crates they may know. The test kit must share no mistakes with what
/// it tests.
const BESIDE: [(&str, &[&str]); 3] = [
    ("slipstream-testkit", &[]),
    ("slipstream-bench", &["slipstream-testkit"]),
    ("slipstream-tests", &["slipstream-testkit", "slipstream-sandbox"]),
];

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").expect("run by cargo");
    let arguments = [
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ];
    let output = Command::new(cargo).args(arguments).output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The packages that a build for Linux uses.
fn used(metadata: &Value) -> Vec<&Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let ids: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .filter(|package| ids.contains(package["id"].as_str().unwrap_or_default()))
        .collect()
}

/// Names of our crates that each of our crates depends on, test-only dependencies apart.
fn own_dependencies(metadata: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let own = used(metadata)
        .into_iter()
        .filter(|package| package["source"].is_null());
    own.map(|package| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let names = dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|name| name.starts_with("slipstream"));
        (package["name"].as_str().expect("a name"), names.collect())
    })
    .collect()
}

/// Whether a licence expression is satisfied by the licences we take.
fn acceptable(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "");
    expression.split(" AND ").all(|part| {
        part.split(" OR ")
            .flat_map(|part| part.split('/'))
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn one_tls_stack_free_licences_and_crates_io_only() {
    let metadata = metadata();
    for package in used(&metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        assert!(
            !BANNED.contains(&name),
            "{name} has come into the tree: find out through `cargo tree -i {name}`"
        );
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(acceptable(licence), "{name} is under {licence}");
        let source = package["source"].as_str();
        let known = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(
            source.is_none_or(|source| source == known),
            "{name} comes from {source:?}"
        );
    }
}

#[test]
fn dependencies_point_down_the_layers() {
    let metadata = metadata();
    let layer = |name: &str| LAYERS.iter().position(|crates| crates.contains(&name));
    for (name, dependencies) in own_dependencies(&metadata) {
        if let Some((_, allowed)) = BESIDE.iter().find(|(beside, _)| *beside == name) {
            for dependency in dependencies {
                assert!(
                    allowed.contains(&dependency),
                    "{name} must not depend on {dependency}"
                );
            }
            continue;
        }
        let own = layer(name).unwrap_or_else(|| panic!("{name} has no layer: give it one in this test"));
        for dependency in dependencies {
            assert!(
                layer(dependency).is_some_and(|layer| layer < own),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn only_the_store_opens_rocksdb() {
    let metadata = metadata();
    for package in used(&metadata)
        .into_iter()
        .filter(|package| package["source"].is_null())
    {
        let mut dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let opens = dependencies.any(|dependency| dependency["name"] == "rocksdb");
        assert!(
            !opens || package["name"] == "slipstream-store",
            "{} depends on rocksdb",
            package["name"]
        );
    }
}

#[test]
fn licence_expressions_are_understood() {
    assert!(acceptable("MIT/Apache-2.0") && acceptable("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!acceptable("GPL-3.0") && !acceptable("MIT AND GPL-3.0") && !acceptable("none"));
}
