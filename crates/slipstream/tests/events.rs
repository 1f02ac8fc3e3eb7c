//! The documentation of the events lists exactly what the agents log, at the level at which they do.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The file in which the names are constants.
const NAMES: &str = "crates/model/src/event.rs";

/// The agents' code, but for the file of the names.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(NAMES) {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Constant to name.
fn names(root: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root.join(NAMES)).unwrap();
    let constant = |line: &str| {
        let (constant, name) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        Some((constant.to_owned(), name.strip_suffix("\";")?.to_owned()))
    };
    text.lines().filter_map(constant).collect()
}

/// Name to level, from the table.
fn documented(root: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root.join("docs/events.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// The levels at which a constant is logged. One that is handed to `wait_for` is logged there, as a warning.
fn levels(code: &str, constant: &str) -> BTreeSet<String> {
    let name = format!("event::{constant}");
    let uses = code.match_indices(name.as_str());
    uses.filter(|(at, found)| {
        let next = code[at + found.len()..].chars().next();
        next.is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'))
    })
    .map(|(at, _)| {
        let before = &code[..at];
        let of = |level: &str| {
            before
                .rfind(&format!("{level}!("))
                .map(|at| (at, level.to_owned()))
        };
        let logged = ["error", "warn", "info"].into_iter().filter_map(of).max();
        match (logged, before.rfind("wait_for(")) {
            (Some((at, level)), waits) if waits.is_none_or(|waits| waits < at) => level,
            _ => "warn".to_owned(),
        }
    })
    .collect()
}

#[test]
fn every_event_is_documented_at_its_level_and_nothing_else_is() {
    // Cargo runs tests in their package's folder. A path that is compiled in would be that of the clone which was built first,
    // where several share a target folder.
    let root = Path::new("../..");
    let mut code = String::new();
    sources(&root.join("crates"), &mut code);
    let documented = documented(root);
    let mut logged = BTreeMap::new();
    for (constant, name) in names(root) {
        assert_eq!(name, constant.to_lowercase(), "a constant is called as its event");
        let levels = levels(&code, &constant);
        assert_eq!(levels.len(), 1, "{name} is logged at {levels:?}");
        logged.extend(levels.into_iter().map(|level| (name.clone(), level)));
    }
    assert_eq!(documented, logged);
}
