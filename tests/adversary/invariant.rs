//! The invariant: every declared object is as it was right after the install.
//!
//! The API server stores one spelling of a value, so texts are compared. Declared fields that the API
//! server never stored are not covered; nor are fields that a controller may fill in.

use std::fmt;

use serde_json::Value;

use crate::{
    leaves::{self, Sort},
    target::{MANAGED_BY, OWNED_BY, Role},
};

/// Maps that are one value to Kubernetes: an additional key selects something else.
const SELECTORS: &[&str] = &[
    "selector",
    "podSelector",
    "namespaceSelector",
    "nodeSelector",
    "objectSelector",
];

/// A value that must not change.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    declared: Value,
    values: Vec<(String, Value)>,
    selectors: Vec<(String, Value)>,
    marks: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The object is missing.
    Gone,
    /// It is being deleted.
    Leaving,
    /// A value changed or was removed.
    Changed {
        /// Where.
        path: String,
        /// What it was.
        was: String,
        /// What it is.
        is: String,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it is gone"),
            Self::Leaving => f.write_str("it is being deleted"),
            Self::Changed { path, was, is } => write!(f, "{path} was {was} and is {is}"),
        }
    }
}

impl Promises {
    /// The values that must not change, read from an intact object.
    pub fn taken(role: Role, declared: &Value, live: &Value) -> Self {
        if role == Role::Infrastructure {
            return Self::default();
        }
        let mut promises = Self {
            declared: declared.clone(),
            ..Self::default()
        };
        // The spec of a Lease belongs to its holder; the metadata does not.
        let is_lease = declared.get("kind").and_then(Value::as_str) == Some("Lease");
        for leaf in leaves::leaves(declared, live) {
            if is_lease && !leaf.path.starts_with(".metadata") {
                continue;
            }
            let value = leaf.live.as_ref().and_then(|path| leaves::get(live, path));
            let Some(value) = value else { continue };
            match leaf.sort {
                Sort::Scalar => promises.values.push((leaf.path, value.clone())),
                // Fields that a controller fills do not count as empty in the manifest.
                Sort::Empty if !is_selector(&leaf.path) => {}
                Sort::Empty | Sort::Branch if is_selector(&leaf.path) => {
                    promises.selectors.push((leaf.path, value.clone()));
                }
                Sort::Empty | Sort::Branch => {}
            }
        }
        if role == Role::Declared {
            promises.marks = marks(live);
        }
        promises
    }

    /// The losses in the current object.
    pub fn broken(&self, code: u16, live: &Value) -> Option<Loss> {
        if code == 404 {
            return Some(Loss::Gone);
        }
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Some(Loss::Leaving);
        }
        let found = leaves::leaves(&self.declared, live);
        let now = |path: &str, sorts: &[Sort]| {
            let leaf = found
                .iter()
                .find(|leaf| leaf.path == path && sorts.contains(&leaf.sort));
            leaf.and_then(|leaf| leaves::get(live, leaf.live.as_ref()?))
        };
        let values = self
            .values
            .iter()
            .map(|(path, was)| (path, was, now(path, &[Sort::Scalar])));
        let selectors = self
            .selectors
            .iter()
            .map(|(path, was)| (path, was, now(path, &[Sort::Empty, Sort::Branch])));
        let marks = self.marks.iter().map(|(pointer, was)| {
            let is = live.pointer(pointer);
            (pointer, was, is)
        });
        values
            .chain(selectors)
            .chain(marks)
            .find(|(_, was, is)| *is != Some(*was))
            .map(|(path, was, is)| Loss::Changed {
                path: path.clone(),
                was: short(was),
                is: is.map_or("nothing".to_owned(), short),
            })
    }
}

fn is_selector(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default();
    path.starts_with(".spec") && SELECTORS.contains(&last)
}

fn marks(live: &Value) -> Vec<(String, Value)> {
    let pointer = |map: &str, key: &str| format!("/metadata/{map}/{}", key.replace('/', "~1"));
    let label = pointer("labels", MANAGED_BY);
    let annotations = OWNED_BY.map(|key| pointer("annotations", key));
    std::iter::once(label)
        .chain(annotations)
        .filter_map(|pointer| Some((pointer.clone(), live.pointer(&pointer)?.clone())))
        .collect()
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    let mut cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() {
        cut.push_str("...");
    }
    cut
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn live() -> Value {
        json!({
            "metadata": {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "shop"},
            },
            "spec": {"podSelector": {}, "ports": [{"port": 80, "nodePort": 30080}]},
        })
    }

    fn check(change: impl FnOnce(&mut Value)) -> Option<Loss> {
        let declared = json!({"spec": {"podSelector": {}, "ports": [{"port": 80}]}});
        let promises = Promises::taken(Role::Declared, &declared, &live());
        let mut now = live();
        change(&mut now);
        promises.broken(200, &now)
    }

    #[rstest]
    #[case::a_value("/spec/ports/0/port", json!(81))]
    #[case::a_mark("/metadata/labels/app.kubernetes.io~1managed-by", json!("kubectl"))]
    #[case::an_owner("/metadata/annotations/meta.helm.sh~1release-name", json!("other"))]
    #[case::a_selector_that_was_empty("/spec/podSelector", json!({"matchLabels": {"a": "b"}}))]
    fn a_change_of_a_declared_value_is_a_loss(#[case] pointer: &str, #[case] value: Value) {
        let loss = check(|live| *live.pointer_mut(pointer).unwrap() = value);
        assert!(matches!(loss, Some(Loss::Changed { .. })), "{loss:?}");
    }

    #[test]
    fn undeclared_values_may_change() {
        assert_eq!(check(|_| {}), None);
        let loss = check(|live| {
            live["spec"]["ports"][0]["nodePort"] = json!(30081);
            live["metadata"]["labels"]["more"] = json!("x");
        });
        assert_eq!(loss, None);
    }

    #[test]
    fn an_object_that_is_being_deleted_is_a_loss() {
        let loss = check(|live| live["metadata"]["deletionTimestamp"] = json!("2026-01-01"));
        assert_eq!(loss, Some(Loss::Leaving));
    }
}
