use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::*;

/// Cases that Go reads differently, with the reason. A case that agrees must be removed.
///
/// What Go rejects is in no manifest, because Helm rejected it too.
const DIFFERENCES: &[(&str, &str)] = &[
    ("double-quoted-escapes", "Go refuses the escape `\\/`"),
    ("json", "Go refuses the escape `\\/`"),
    (
        "literal-at-end-no-newline",
        "apimachinery ends the last line too before Go's parser sees it",
    ),
    (
        "quoted-outdented-tab",
        "the parser refuses a tab left of the block in a quoted scalar",
    ),
    ("tab-blank-line", "Go refuses a blank line with a tab in it"),
    (
        "unicode-separators",
        "Go takes U+0085 for a line break, and folds it in quotes into a space",
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

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yaml-golden")
}

/// Go prints integral floats as integers, except those beyond 64 bits, which are read as floats again.
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

#[test]
fn every_case_has_its_golden_reading() {
    let cases: BTreeSet<_> = fs::read_dir(folder().join("cases"))
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let golden: BTreeSet<_> = golden().into_keys().collect();
    assert_eq!(cases, golden, "run the generator again");
}
