//! The documentation of the metrics lists exactly what the agents have.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// Names are constants of the form `NAME: &str = "slipstream_…"` in the crates that report them.
fn reported(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            reported(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            names.extend(source.lines().filter_map(|line| {
                let (_, name) = line.split_once(": &str = \"slipstream_")?;
                Some(format!("slipstream_{}", name.strip_suffix("\";")?))
            }));
        }
    }
}

#[test]
fn every_metric_is_documented_and_nothing_else() {
    // Cargo runs tests in their package's folder. A path that is compiled in would be that of the clone which was built first,
    // where several share a target folder.
    let root = Path::new("../..");
    let mut names = BTreeSet::new();
    for name in ["leader", "follower", "gateway", "slipstream"] {
        reported(&root.join("crates").join(name).join("src"), &mut names);
    }
    let text = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let documented: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split('`').nth(1))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, names);
}
