//! Documents from files and standard input: JSON, JSON lines, or YAML, one or many.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::bail;
use helm_guard_core::{
    helm::manifest,
    policy::{Policy, PolicyError, document},
    yaml::{self, YamlError},
};
use serde_json::{Deserializer, Value};

/// Why documents cannot be read, without their content.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentsError {
    /// The file.
    #[error("failed to read {name}: {source}")]
    Read { name: String, source: io::Error },
    /// Not JSON.
    #[error("failed to read {name}: not JSON at line {line}, column {column}")]
    Json {
        name: String,
        line: usize,
        column: usize,
    },
    /// Not YAML.
    #[error("failed to read the document at line {line} of {name}: {source}")]
    Yaml {
        name: String,
        line: u32,
        source: YamlError,
    },
}

/// Where documents come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdin,
    File(PathBuf),
}

impl Source {
    /// `-` is standard input.
    pub(super) fn of(argument: &Path) -> Self {
        if argument == Path::new("-") {
            Self::Stdin
        } else {
            Self::File(argument.to_owned())
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    pub(super) fn text(&self) -> Result<String, DocumentsError> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path),
            Self::Stdin => {
                let mut text = String::new();
                io::stdin().lock().read_to_string(&mut text).map(|_| text)
            }
        };
        text.map_err(|source| DocumentsError::Read {
            name: self.name(),
            source,
        })
    }

    /// All documents; items of lists (`kubectl get -o json`) are separate documents.
    pub(super) fn documents(&self) -> Result<Vec<Value>, DocumentsError> {
        read(&self.name(), &self.text()?)
    }
}

/// Reads the policy in a file, which may hold other objects too, such as the Secrets of its alert sinks. The error
/// lists all problems, one per line.
pub(super) fn policy(file: &Path) -> anyhow::Result<Policy> {
    let source = Source::of(file);
    policy_document(&source)?.map_err(|error| invalid(&source.name(), &error))
}

/// [`policy`], with the problems one by one.
pub(super) fn policy_document(source: &Source) -> anyhow::Result<Result<Policy, PolicyError>> {
    let text = source.text()?;
    let spec = match only_policy(source, &text)? {
        Some(value) => document::from_value(value),
        None => document::parse(&text),
    };
    Ok(spec.and_then(|spec| Policy::compile(&spec)))
}

/// Why a policy is rejected: all problems, one per line.
pub(super) fn invalid(name: &str, error: &PolicyError) -> anyhow::Error {
    let lines = error.lines().into_iter().map(|line| format!("\n  {line}"));
    let lines: Vec<String> = lines.collect();
    anyhow::anyhow!("{name} is not a valid policy:{}", lines.concat())
}

/// The policy among several documents; `None` for a single document, which must be the policy.
fn only_policy(source: &Source, text: &str) -> anyhow::Result<Option<Value>> {
    let is_one = manifest::documents(text).nth(1).is_none();
    if text.len() > document::MAX_BYTES || is_one && !is_list(text) {
        return Ok(None);
    }
    let name = source.name();
    let documents = read(&name, text)?;
    let is_policy = |document: &Value| text_of(document, "kind") == "GuardPolicy";
    let mut policies = documents.into_iter().filter(is_policy);
    match (policies.next(), policies.next()) {
        (Some(policy), None) => Ok(Some(policy)),
        (Some(_), Some(_)) => bail!("{name} has several GuardPolicies: one counts, named default"),
        (None, _) => bail!("{name} has no GuardPolicy"),
    }
}

/// Whether the text is one list of objects, as `kubectl get -o yaml` prints it.
fn is_list(text: &str) -> bool {
    let value = yaml::read(text, &yaml::Allowance::default());
    value.is_ok_and(|value| value.get("items").is_some_and(Value::is_array))
}

/// A string field of an object; empty if it is absent or not a string.
pub(super) fn text_of(object: &Value, field: &str) -> String {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn read(name: &str, text: &str) -> Result<Vec<Value>, DocumentsError> {
    let mut found = Vec::new();
    if text.trim_start().starts_with(['{', '[']) {
        for value in Deserializer::from_str(text).into_iter::<Value>() {
            let value = value.map_err(|error| DocumentsError::Json {
                name: name.to_owned(),
                line: error.line(),
                column: error.column(),
            })?;
            flatten(value, &mut found);
        }
        return Ok(found);
    }
    let allowance = yaml::Allowance::default();
    for (line, document) in manifest::documents(text) {
        let value = yaml::read(document, &allowance).map_err(|source| DocumentsError::Yaml {
            name: name.to_owned(),
            line,
            source,
        })?;
        flatten(value, &mut found);
    }
    Ok(found)
}

fn flatten(value: Value, found: &mut Vec<Value>) {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            for item in items {
                flatten(item, found);
            }
        }
        Value::Object(mut object) => match object.remove("items") {
            Some(Value::Array(items)) => {
                for item in items {
                    flatten(item, found);
                }
            }
            Some(items) => {
                object.insert("items".to_owned(), items);
                found.push(Value::Object(object));
            }
            None => found.push(Value::Object(object)),
        },
        other => found.push(other),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::one(r#"{"a":1}"#, json!([{"a": 1}]))]
    #[case::lines("{\"a\":1}\n{\"a\":2}\n", json!([{"a": 1}, {"a": 2}]))]
    #[case::array(r#"[{"a":1},{"a":2}]"#, json!([{"a": 1}, {"a": 2}]))]
    #[case::list(r#"{"kind":"List","items":[{"a":1}]}"#, json!([{"a": 1}]))]
    #[case::pretty("{\n  \"a\": 1\n}", json!([{"a": 1}]))]
    #[case::yaml("a: 1\n---\n# nothing\n---\na: yes\n", json!([{"a": 1}, {"a": true}]))]
    #[case::yaml_list("kind: List\nitems:\n- a: 1\n", json!([{"a": 1}]))]
    #[case::nothing("", json!([]))]
    fn documents_are_split(#[case] text: &str, #[case] expected: Value) {
        assert_eq!(Value::Array(read("x", text).unwrap()), expected);
    }

    #[rstest]
    #[case::json("{\"password\": hunter2}")]
    #[case::yaml("password: [hunter2")]
    fn errors_do_not_show_content(#[case] text: &str) {
        let error = read("x", text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(error.to_string().contains('x'));
    }
}
