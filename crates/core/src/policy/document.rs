//! Reads the document of a policy: a file, or the object in the cluster. Nothing is guessed:
//! anything unknown is an error, with its place.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::{PolicyError, Problems};
use crate::{
    api::{self, GuardPolicySpec},
    yaml::{self, Allowance},
};

/// The most bytes that a policy in a file may have: more than the API server would take.
pub const MAX_BYTES: usize = 4 << 20;

/// The document around the spec.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyDocument {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: PolicyMetadata,
    #[serde(default)]
    spec: Value,
    /// `kubectl get -o yaml` prints one.
    #[serde(default, rename = "status")]
    _status: Value,
}

/// Only the name in the metadata matters.
#[derive(Default, Deserialize)]
struct PolicyMetadata {
    #[serde(default)]
    name: Option<String>,
}

/// Reads the text of a file: YAML or JSON, one document.
///
/// # Errors
/// All problems of its form.
pub fn parse(text: &str) -> Result<GuardPolicySpec, PolicyError> {
    let mut problems = Problems::default();
    if text.len() > MAX_BYTES {
        problems.add(
            "document",
            format!("must be at most {MAX_BYTES} bytes long"),
        );
        return Err(problems.into_error());
    }
    let read = yaml::read(text, &Allowance::default());
    let value = problems.take("document", read).unwrap_or_default();
    problems.conclude()?;
    from_value(value)
}

/// Reads a document that is parsed already.
///
/// # Errors
/// All problems of its form.
pub fn from_value(value: Value) -> Result<GuardPolicySpec, PolicyError> {
    let mut problems = Problems::default();
    let document = problems.parse("document", serde_json::from_value::<PolicyDocument>(value));
    let Some(document) = document else {
        return Err(problems.into_error());
    };
    let version = format!("{}/{}", api::GROUP, api::VERSION);
    for (at, found, wanted) in [
        ("apiVersion", &document.api_version, version.as_str()),
        ("kind", &document.kind, "GuardPolicy"),
    ] {
        if found != wanted {
            problems.add(at, format!("{found:?} must be {wanted}"));
        }
    }
    if let Some(name) = document
        .metadata
        .name
        .filter(|name| name != api::POLICY_NAME)
    {
        problems.add("metadata.name", format!("{name:?} must be default"));
    }
    match spec(&document.spec) {
        Ok(spec) => problems.conclude().map(|()| spec),
        Err(error) => {
            problems.extend(error);
            Err(problems.into_error())
        }
    }
}

/// Reads each part of a spec separately, so that all problems are reported with their places.
///
/// # Errors
/// The parts that do not match the schema.
pub fn spec(value: &Value) -> Result<GuardPolicySpec, PolicyError> {
    let mut problems = Problems::default();
    let nothing = Map::new();
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => &nothing,
        _ => {
            problems.add("spec", "must be an object");
            return Err(problems.into_error());
        }
    };
    for (name, part) in fields {
        match part {
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    let one = json!({ name: [item] });
                    problems.parse(&format!("spec.{name}[{n}]"), read(one));
                }
            }
            part => {
                problems.parse(&format!("spec.{name}"), read(json!({ name: part })));
            }
        }
    }
    problems.conclude()?;
    let mut problems = Problems::default();
    match problems.parse("spec", read(Value::Object(fields.clone()))) {
        Some(spec) => Ok(spec),
        None => Err(problems.into_error()),
    }
}

fn read(value: Value) -> serde_json::Result<GuardPolicySpec> {
    serde_json::from_value(value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::Mode;

    const HEAD: &str = "apiVersion: helm-guard.dev/v1alpha1\nkind: GuardPolicy\n";

    #[test]
    fn a_policy_is_read_from_yaml_and_from_json() {
        let yaml = format!("{HEAD}metadata: {{name: default}}\nspec: {{mode: Warn}}\n");
        assert_eq!(parse(&yaml).unwrap().mode, Mode::Warn);
        let json =
            r#"{"apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy", "spec": {}}"#;
        assert_eq!(parse(json).unwrap(), GuardPolicySpec::default());
    }

    #[rstest]
    #[case::other_kind(
        "apiVersion: v1\nkind: ConfigMap\n",
        "kind: \"ConfigMap\" must be GuardPolicy"
    )]
    #[case::other_name("metadata: {name: mine}\n", "metadata.name: \"mine\" must be default")]
    #[case::misspelled_field(
        "spec: {modus: Warn}\n",
        "spec.modus: unknown field `modus`; did you mean `mode`?"
    )]
    #[case::unknown_field(
        "spec: {zzz: Warn}\n",
        "spec.zzz: unknown field `zzz`, expected one of `mode`"
    )]
    #[case::unknown_part("spek: {}\n", "document: unknown field `spek`")]
    #[case::in_an_item(
        "spec: {ignore: [{paths: []}, {path: /a}]}\n",
        "spec.ignore[1]: unknown field `path`"
    )]
    #[case::wrong_type("spec: {overrides: {}}\n", "spec.overrides: invalid type")]
    #[case::invalid_duration(
        "spec: {breakGlass: {maxDuration: 1d}}\n",
        "spec.breakGlass: \"1d\" is not a valid duration"
    )]
    #[case::no_yaml("spec: [\n", "document: it is not YAML")]
    fn an_unknown_field_is_reported_with_its_place(#[case] text: &str, #[case] says: &str) {
        let text = if text.contains("kind:") {
            text.to_owned()
        } else {
            format!("{HEAD}{text}")
        };
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn problems_of_the_head_hide_no_problems_of_the_spec() {
        let text = format!("{HEAD}metadata: {{name: mine}}\nspec: {{modus: Warn}}\n");
        let lines = parse(&text).unwrap_err().lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
    }

    #[test]
    fn an_endless_file_is_not_read() {
        let text = " ".repeat(MAX_BYTES + 1);
        assert!(parse(&text).unwrap_err().to_string().contains("bytes"));
    }
}
