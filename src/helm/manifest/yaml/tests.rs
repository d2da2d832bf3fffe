use std::{collections::BTreeMap, fs, path::Path};

use super::*;

/// Cases that Go reads otherwise, and why that stands. A case that comes to agree must leave.
/// In most, one side refuses what the other reads: a document that only we refuse is a problem
/// that is reported, and one that only Go refuses is in no manifest, for Helm refused it too.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "bool-mixed-case",
        "the parser folds the case of booleans: yEs is true, not a string",
    ),
    (
        "document-end-then-more",
        "we refuse what Go never looks at: text after `...`",
    ),
    (
        "document-second",
        "documents are split before they are read",
    ),
    ("double-quoted-escapes", "Go refuses the escape `\\/`"),
    (
        "float-underscore",
        "the parser takes no `_` in a float: 1_000.5 stays a string",
    ),
    (
        "int-underscore-odd",
        "the parser takes `_` between digits only: 1__0 stays a string",
    ),
    ("json", "Go refuses the escape `\\/`"),
    ("key-float-inf", "we refuse an infinite key"),
    ("key-large-int", "Go refuses a key beyond 63 bits"),
    (
        "literal-at-end-no-newline",
        "apimachinery ends each line before Go's parser sees it",
    ),
    ("merge-quoted", "the parser does not tell \"<<\" from <<"),
    ("tab-blank-line", "Go refuses a blank line with a tab in it"),
    (
        "tag-binary-not-utf8",
        "we refuse bytes that are no text, which Go replaces",
    ),
    (
        "tag-local",
        "the parser drops local tags: `!local 5` is a number, not a string",
    ),
    ("tag-timestamp", "we refuse the tag"),
    (
        "unicode-separators",
        "Go folds U+0085 in quotes into a space",
    ),
    ("yaml-directive-1-2", "Go refuses YAML 1.2"),
];

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Golden {
    Json(Value),
    Error(String),
}

fn golden() -> BTreeMap<String, Golden> {
    let text = fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yaml-golden")
}

/// Go prints whole floats as integers, but for those beyond 64 bits, which read as floats again.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => number(n.as_f64().unwrap()).unwrap().into(),
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, whole(v))).collect(),
        other => other,
    }
}

#[test]
fn yaml_reads_as_go_reads_it() {
    let mut wrong = Vec::new();
    for (case, golden) in golden() {
        let text = fs::read_to_string(folder().join(format!("cases/{case}.yaml"))).unwrap();
        let ours = read(&text, &Allowance::default());
        let same = match (&ours, golden) {
            (Ok(ours), Golden::Json(go)) => *ours == whole(go.clone()),
            (Err(_), Golden::Error(_)) => true,
            _ => false,
        };
        let listed = DIFFERENCES.iter().any(|(name, _)| *name == case);
        if same == listed {
            wrong.push(format!("{case}: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
