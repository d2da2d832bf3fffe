//! Compares the documentation with the code.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory};
use helm_guard::cli::args::Args;
use rstest::rstest;

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
    ["src", "tests", "tools", "crates"]
        .iter()
        .map(|folder| root().join(folder))
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| sources(&folder))
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.lines().filter_map(name).collect::<Vec<_>>()
        })
        .collect()
}

/// The texts in backquotes in paragraphs that start with `Tests:`.
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

/// The names of tests in a table row: texts in backquotes that are words joined by underscores. A name
/// that ends in `_…` stands for all with that prefix.
fn tests_of_row(row: &str) -> impl Iterator<Item = &str> {
    let quoted = row.split('`').skip(1).step_by(2);
    quoted.filter(|text| {
        text.matches('_').count() > 2
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '…')
    })
}

#[test]
fn each_scenario_is_shown_by_tests_that_exist() {
    let text = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let functions = functions();
    let (_, scenarios) = text.split_once("\n## Scenarios\n").unwrap();
    let mut found = 0;
    for row in scenarios.lines().filter(|line| line.starts_with('|')) {
        for test in tests_of_row(row) {
            let exists = match test.strip_suffix('…') {
                Some(start) => functions.iter().any(|name| name.starts_with(start)),
                None => functions.contains(test),
            };
            assert!(exists, "no test {test}: {row}");
            found += 1;
        }
    }
    assert!(found > 80, "{found}");
}

/// The Markdown files of the project.
fn documents() -> Vec<PathBuf> {
    let folders = [
        ".",
        "docs",
        "docs/decisions",
        "deploy",
        "deploy/monitoring",
        "certs",
        "tests",
    ];
    folders
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The anchors of a document, as GitHub derives them from headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn each_link_between_documents_resolves() {
    let mut links = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: {target}", document.display());
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&file).unwrap());
                assert!(found.contains(anchor), "{}: {target}", document.display());
            }
        }
    }
    assert!(links > 80, "{links}");
}

/// The sources that declare metric names.
fn metric_sources() -> String {
    let folders = ["src", "crates/alerts/src"];
    let files = folders.map(|folder| sources(&root().join(folder))).concat();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts.collect()
}

#[rstest]
#[case::readme("README.md")]
#[case::alerts("docs/alerts.md")]
#[case::audit_log("docs/audit-log.md")]
#[case::break_glass("docs/break-glass.md")]
#[case::limits("docs/limits.md")]
#[case::monitoring("docs/monitoring.md")]
#[case::policy("docs/policy.md")]
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

/// One row of a table of flags.
fn flag_row(arg: &Arg) -> Option<String> {
    let name = arg.get_long()?;
    let takes_value = arg.get_action().takes_values();
    let values: Vec<&str> = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(clap::builder::Str::as_str)
        .collect();
    let shown = if takes_value && !values.is_empty() {
        format!("--{name} {}", values.join(" "))
    } else {
        format!("--{name}")
    };
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .filter(|_| takes_value)
        .collect();
    let help = arg.get_long_help().or_else(|| arg.get_help())?.to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = help.replace('|', "\\|").replace('<', "&lt;");
    Some(format!(
        "| `{shown}` | {} | {help} |\n",
        defaults.join(", ")
    ))
}

/// The flags of a command and of its subcommands.
fn flags_of(command: &Command, path: &str, text: &mut String) {
    let rows: String = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version")
        .filter_map(flag_row)
        .collect();
    let about = command.get_about().map(ToString::to_string);
    if !rows.is_empty() {
        let about = about.unwrap_or_default();
        let about = about.trim_end_matches('.');
        writeln!(
            text,
            "\n## {path}\n\n{about}.\n\n| flag | default | meaning |\n|---|---|---|"
        )
        .unwrap();
        text.push_str(&rows);
    }
    for below in command.get_subcommands() {
        flags_of(below, &format!("{path} {}", below.get_name()), text);
    }
}

/// Compares a generated document with what is committed, or writes it for `make docs`.
fn assert_current(document: &str, text: &str) {
    let file = root().join(document);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "{document} is not current: run make docs"
    );
}

#[test]
fn generated_flags_are_current() {
    let mut text = String::from(
        "<!-- Generated by `make docs`. -->\n# Flags\n\n`helm-guard COMMAND --help` shows the same. An invalid flag \
         or a missing file prints one line on standard error and exits with code 1.\n",
    );
    let mut command = Args::command();
    command.build();
    flags_of(&command, "helm-guard", &mut text);
    assert_current("docs/flags.md", &text);
}

/// Phrases that the project does not use, in lowercase, and what it says instead. See the glossary in docs/style.md.
const NOT_USED: [(&str, &str); 28] = [
    ("rehearsal", "dry run"),
    ("unjudged", "without evaluation, indeterminate"),
    ("is no duration", "invalid duration"),
    ("is no length", "invalid duration"),
    ("is no name", "is not a valid name"),
    ("is no valid", "is not a valid"),
    (
        "is no break-glass identity of",
        "is not a break-glass identity of",
    ),
    ("names nobody", "must not be empty"),
    ("must be who", "must be the requesting user"),
    ("nobody approves", "a user can approve only once"),
    ("beside", "next to, in addition to"),
    ("becomes of", "happens to"),
    ("become of", "happen to"),
    ("anew", "again"),
    ("break the glass", "use break-glass"),
    ("breaks the glass", "uses break-glass"),
    ("broke the glass", "used break-glass"),
    ("way out", "emergency hint, being deleted"),
    ("knocks", "retries"),
    ("look after", "reconcile"),
    ("looks after", "reconciles"),
    ("looked after", "reconciled"),
    ("counts for nothing", "has no effect"),
    ("for want of", "without"),
    ("ever more", "increasingly"),
    ("be it ", "even if"),
    ("can not ", "cannot"),
    ("for ever", "forever"),
];

/// The phrases of [`NOT_USED`] in a line, as whole words.
fn unused_phrases(line: &str) -> Vec<(&'static str, &'static str)> {
    let line = line.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_in = |phrase: &str| {
        line.match_indices(phrase).any(|(at, _)| {
            let (before, rest) = line.split_at(at);
            let after = rest.strip_prefix(phrase).unwrap_or_default();
            !before.ends_with(is_word) && (phrase.ends_with(' ') || !after.starts_with(is_word))
        })
    };
    let mut found = NOT_USED.to_vec();
    found.retain(|(phrase, _)| is_in(phrase));
    found
}

#[rstest]
#[case::at_the_end("what becomes of", &["becomes of"])]
#[case::at_the_start("rehearsal of an upgrade", &["rehearsal"])]
#[case::capital("Beside the log", &["beside"])]
#[case::longer_word("besides, value_end_beside(renewed)", &[])]
fn phrases_are_found(#[case] line: &str, #[case] expected: &[&str]) {
    let found: Vec<&str> = unused_phrases(line)
        .into_iter()
        .map(|(phrase, _)| phrase)
        .collect();
    assert_eq!(found, expected);
}

/// The texts of a folder: code, documents, manifests.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(texts(&path));
            }
        } else if matches!(extension, Some("rs" | "md" | "yaml" | "snap" | "toml")) {
            found.push(path);
        }
    }
    found
}

#[test]
fn texts_use_the_words_of_the_glossary() {
    let folders = [
        "src", "crates", "tests", "docs", "deploy", "benches", "certs",
    ];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| texts(&root().join(folder)))
        .collect();
    files.push(root().join("README.md"));
    files.push(root().join("ARCHITECTURE.md"));
    // The glossary and this list name the phrases.
    files.retain(|file| !file.ends_with("docs/style.md") && !file.ends_with("tests/docs.rs"));
    let mut wrong = String::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else {
            continue;
        };
        for (number, line) in (1..).zip(text.lines()) {
            for (phrase, instead) in unused_phrases(line) {
                let file = file.strip_prefix(root()).unwrap().display();
                let _ = writeln!(wrong, "{file}:{number}: {phrase:?}; write: {instead}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
