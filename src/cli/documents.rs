//! Documents from files and standard input: JSON, JSON lines, or YAML, one or many.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::bail;
use helm_guard_core::{
    helm::manifest,
    policy::{Policy, document},
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

/// Reads a policy from a file. The error lists all problems, one per line.
pub(super) fn policy(file: &Path) -> anyhow::Result<Policy> {
    let source = Source::of(file);
    let text = source.text()?;
    match document::parse(&text).and_then(|spec| Policy::compile(&spec)) {
        Ok(policy) => Ok(policy),
        Err(error) => {
            let lines = error.lines().into_iter().map(|line| format!("\n  {line}"));
            let lines: Vec<String> = lines.collect();
            bail!("{} is not a valid policy:{}", source.name(), lines.concat())
        }
    }
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
