//! The table of the incumbent's API names only tests that exist.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of the tests themselves"
)]

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether this source has a test of that name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let named = line
            .trim_start_matches("async ")
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('));
        named
            && lines[..at]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#["))
                .any(|attribute| attribute.contains("test"))
    })
}

#[test]
fn every_test_that_the_table_names_is_there() {
    // Cargo runs tests in their package's folder.
    let root = Path::new("../..");
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let text = std::fs::read_to_string(root.join("docs/compatibility.md")).unwrap();
    let named: Vec<&str> = text
        .split('`')
        .filter(|part| part.contains("::") && !part.contains(' '))
        .collect();
    assert!(named.len() > 100, "only {} tests are named", named.len());
    for test in named {
        let (file, name) = test.split_once("::").unwrap();
        let ending = PathBuf::from(format!("{file}.rs"));
        let holders = files
            .iter()
            .filter(|path| path.ends_with(&ending))
            .filter(|path| {
                let source = std::fs::read_to_string(path).unwrap();
                has_test(&source, name)
            });
        assert_eq!(holders.count(), 1, "`{test}` is to be found in one file");
    }
    // Every row ends with the tests that show it.
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let fine = shown == "shown by" || shown.contains("::");
        assert!(fine, "no test shows it: {row}");
    }
}
