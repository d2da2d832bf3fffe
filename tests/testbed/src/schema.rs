//! Holds outputs to the JSON schema in docs/schema.
//!
//! A validator of what that schema uses, and no more: a keyword that it does not know is an error, so that nothing
//! passes unchecked. It is stricter than the schema: a property that the schema does not name is an error too. A
//! reader of the outputs has to accept new properties, but an output of this version has none.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is part of assertions"
)]

use std::{fs, path::PathBuf, sync::OnceLock};

use serde_json::Value;

/// Keywords that say nothing about whether a value is valid, or nothing that matters here.
const ANNOTATIONS: [&str; 7] = [
    "$schema",
    "title",
    "description",
    "default",
    "format",
    "minimum",
    "maxItems",
];

/// The file with the schema.
pub fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/v1alpha1.json")
}

fn committed() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| serde_json::from_str(&fs::read_to_string(file()).unwrap()).unwrap())
}

/// Panics unless the value is a valid instance of a definition of the schema, such as `AuditLine`.
pub fn assert_valid(definition: &str, value: &Value) {
    let root = committed();
    let schema = &root["$defs"][definition];
    assert!(schema.is_object(), "no definition {definition}");
    let mut problems = Vec::new();
    Validator { root }.check(schema, value, definition, &mut problems);
    assert!(problems.is_empty(), "{}\n{value:#}", problems.join("\n"));
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        let keywords = match schema {
            Value::Bool(true) => return,
            Value::Object(keywords) => keywords,
            _ => panic!("{at}: not a schema: {schema}"),
        };
        for (keyword, wanted) in keywords {
            match keyword.as_str() {
                "$ref" => {
                    let pointer = wanted.as_str().unwrap().trim_start_matches('#');
                    let target = self.root.pointer(pointer).unwrap();
                    self.check(target, value, at, problems);
                }
                "type" if !is_of_type(wanted, value) => {
                    problems.push(format!("{at}: {value} is not of type {wanted}"));
                }
                "const" if wanted != value => {
                    problems.push(format!("{at}: {value} is not {wanted}"));
                }
                "enum" if !wanted.as_array().unwrap().contains(value) => {
                    problems.push(format!("{at}: {value} is not one of {wanted}"));
                }
                "anyOf" | "oneOf" => self.check_any(wanted, value, at, problems),
                "required" => {
                    let names = wanted.as_array().unwrap().iter().filter_map(Value::as_str);
                    let missing = names.filter(|name| value.get(name).is_none());
                    problems.extend(missing.map(|name| format!("{at}: {name} is missing")));
                }
                "properties" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        match wanted.get(name) {
                            Some(schema) => {
                                self.check(schema, value, &format!("{at}.{name}"), problems);
                            }
                            None => problems.push(format!("{at}: {name} is not in the schema")),
                        }
                    }
                }
                "additionalProperties" if !keywords.contains_key("properties") => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        self.check(wanted, value, &format!("{at}.{name}"), problems);
                    }
                }
                "items" => {
                    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, value, &format!("{at}[{n}]"), problems);
                    }
                }
                "uniqueItems" => {
                    let items = value.as_array().map_or(&[][..], Vec::as_slice);
                    let is_again = |n: usize| items[..n].contains(&items[n]);
                    if (0..items.len()).any(is_again) {
                        problems.push(format!("{at}: an item is there twice"));
                    }
                }
                "type" | "const" | "enum" | "additionalProperties" => {}
                other => assert!(
                    ANNOTATIONS.contains(&other),
                    "{at}: unknown keyword {other}"
                ),
            }
        }
    }

    fn check_any(&self, wanted: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        let tried = wanted.as_array().unwrap().iter().map(|schema| {
            let mut found = Vec::new();
            self.check(schema, value, at, &mut found);
            found
        });
        let tried: Vec<_> = tried.collect();
        if !tried.iter().any(Vec::is_empty) {
            problems.extend(tried.concat());
        }
    }
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Array(types) => types.iter().any(|wanted| is_of_type(wanted, value)),
        Value::String(wanted) => match wanted.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("unknown type {other}"),
        },
        other => panic!("not a type: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: &Value) -> Vec<String> {
        let root = json!({
            "$defs": {
                "Thing": {
                    "type": "object", "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "state": {"enum": ["on", "off"]},
                        "parts": {"type": "array", "items": {"$ref": "#/$defs/Thing"}},
                        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                        "sizes": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
                        "any": true,
                    },
                },
            },
        });
        let mut problems = Vec::new();
        Validator { root: &root }.check(&root["$defs"]["Thing"], value, "Thing", &mut problems);
        problems
    }

    #[test]
    fn a_valid_value_has_no_problems() {
        let part = json!({"name": "b", "sizes": {"x": 1, "y": null}, "any": [1, {"z": 2}]});
        let value = json!({"name": "a", "state": "on", "count": null, "parts": [part]});
        assert_eq!(problems(&value), Vec::<String>::new());
    }

    #[test]
    fn every_keyword_finds_its_problem() {
        for (value, problem) in [
            (json!({}), "Thing: name is missing"),
            (
                json!({"name": 1}),
                "Thing.name: 1 is not of type \"string\"",
            ),
            (
                json!({"name": "a", "state": "x"}),
                "Thing.state: \"x\" is not one of",
            ),
            (
                json!({"name": "a", "other": 1}),
                "Thing: other is not in the schema",
            ),
            (
                json!({"name": "a", "parts": [{}]}),
                "Thing.parts[0]: name is missing",
            ),
            (
                json!({"name": "a", "count": "1"}),
                "Thing.count: \"1\" is not of type",
            ),
            (
                json!({"name": "a", "sizes": {"x": "1"}}),
                "Thing.sizes.x: \"1\" is not of type",
            ),
        ] {
            let found = problems(&value);
            assert!(
                found.iter().any(|found| found.starts_with(problem)),
                "{problem}: {found:?}"
            );
        }
    }
}
