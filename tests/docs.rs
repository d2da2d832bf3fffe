//! What the documents say about the code, held against the code.

// The lints know test functions only; here the helpers of tests are functions too.
#![allow(clippy::unwrap_used, clippy::panic)]

use rstest::rstest;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The names of all functions in the sources and the tests.
fn functions() -> BTreeSet<String> {
    let name = |line: &str| {
        let (_, rest) = line.split_once("fn ")?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        rest.get(..end).map(str::to_owned)
    };
    ["src", "tests"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.lines().filter_map(name).collect::<Vec<_>>()
        })
        .collect()
}

/// The texts in backquotes of the paragraphs that begin with `Tests:`.
fn named_tests(section: &str) -> Vec<&str> {
    let paragraphs = section.split("\n\n");
    let tests = paragraphs.filter(|paragraph| paragraph.trim_start().starts_with("Tests:"));
    tests
        .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn each_threat_is_answered_with_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let functions = functions();
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    for (number, section) in (1..).zip(&sections) {
        let title = section.lines().next().unwrap_or_default();
        assert!(title.starts_with(&format!("{number}. ")), "{title}");
        let tests = named_tests(section);
        assert!(!tests.is_empty(), "no test is named: {title}");
        for test in tests {
            assert!(functions.contains(test), "{title}: no test {test}");
        }
    }
    assert_eq!(sections.len(), 18);
}

/// The parts of the sources in which metrics get their names.
fn metric_sources() -> String {
    let files = sources(&root().join("src"));
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts.collect()
}

#[rstest]
#[case::monitoring("docs/monitoring.md")]
#[case::readme("README.md")]
fn each_metric_that_is_named_exists(#[case] document: &str) {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> = words
        .filter(|word| word.starts_with("helm_guard_"))
        .collect();
    assert!(!named.is_empty());
    let sources = metric_sources();
    for metric in named {
        let suffixes = [
            "_total", "_info", "_bucket", "_count", "_sum", "_seconds", "",
        ];
        let declared = suffixes
            .iter()
            .filter_map(|suffix| metric.strip_suffix(suffix))
            .flat_map(|name| {
                [
                    name,
                    name.trim_start_matches("helm_guard_index_"),
                    name.trim_start_matches("helm_guard_"),
                ]
            })
            .any(|name| sources.contains(&format!("\"{name}\"")));
        assert!(declared, "{document}: no metric {metric}");
    }
}
