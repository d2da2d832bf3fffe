//! Path patterns of a policy: JSON pointers in which `*` matches any one step, or paths in another form of
//! [`crate::compare::path`].
//!
//! A number in a JSON pointer is the position in the list of the release's *manifest*: nobody can
//! reorder that one, and no other order of a list with merge keys is meaningful.

use serde_json::Value;

use crate::compare::{
    lookup,
    path::{FieldPath, PathError, Step, unescaped},
};

/// Some paths, and everything below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<PatternStep>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternStep {
    /// Matches any one step.
    Any,
    /// A step of a JSON pointer: a field, or a position in the manifest's list.
    Token(String),
    /// A step as denials show it.
    Step(Step),
}

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// A single word names a field of the whole object, which has no field that anyone would exempt.
    #[error("{0:?} is not a path, such as /spec/replicas (a JSON pointer) or .spec.replicas")]
    Word(String),
    /// `~` must be followed by 0 or 1.
    #[error("{0:?} is not a JSON pointer: write ~0 for ~ and ~1 for /")]
    Escape(String),
    /// An invalid path in the style of denials.
    #[error("{0:?} is not a path: {1}")]
    Path(String, PathError),
}

impl Pattern {
    /// Parses a pattern. An empty text matches the whole object.
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        if let Some(pointer) = text.strip_prefix('/') {
            let parts = pointer.split('/').map(token).collect::<Option<_>>();
            return parts
                .map(Self)
                .ok_or_else(|| PatternError::Escape(text.to_owned()));
        }
        if !text.contains(['/', '.', '[']) {
            return Err(PatternError::Word(text.to_owned()));
        }
        let path: FieldPath = text
            .parse()
            .map_err(|error| PatternError::Path(text.to_owned(), error))?;
        let part = |step: &Step| match step {
            Step::Field(any) | Step::Value(any) if any == "*" => PatternStep::Any,
            step => PatternStep::Step(step.clone()),
        };
        Ok(Self(path.steps().iter().map(part).collect()))
    }

    /// Whether `path` is one of these paths or below one. `position` finds the item that a step names in
    /// the manifest's list at the steps before it.
    pub(crate) fn covers(
        &self,
        path: &FieldPath,
        position: impl Fn(&[Step], &Step) -> Option<usize>,
    ) -> bool {
        let steps = path.steps();
        steps.len() >= self.0.len()
            && self.0.iter().enumerate().all(|(depth, part)| {
                let (Some(step), Some(parents)) = (steps.get(depth), steps.get(..depth)) else {
                    return false;
                };
                part.is(step, || position(parents, step))
            })
    }
}

impl Pattern {
    /// Whether `object` has something at one of these paths.
    pub(crate) fn exists_in(&self, object: &Value) -> bool {
        exists(&self.0, object)
    }
}

fn exists(parts: &[PatternStep], value: &Value) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return !value.is_null();
    };
    let children: Vec<&Value> = match (part, value) {
        (PatternStep::Any, Value::Object(fields)) => fields.values().collect(),
        (PatternStep::Any, Value::Array(items)) => items.iter().collect(),
        (PatternStep::Token(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
        (PatternStep::Token(index), Value::Array(items)) => {
            let index = index.parse::<usize>().ok();
            index
                .and_then(|index| items.get(index))
                .into_iter()
                .collect()
        }
        (PatternStep::Step(step), value) => lookup::child(value, step).into_iter().collect(),
        _ => Vec::new(),
    };
    children.into_iter().any(|child| exists(rest, child))
}

fn token(token: &str) -> Option<PatternStep> {
    if token == "*" {
        return Some(PatternStep::Any);
    }
    unescaped(token).map(PatternStep::Token)
}

impl PatternStep {
    fn is(&self, step: &Step, position: impl FnOnce() -> Option<usize>) -> bool {
        let is_at = |wanted: usize| match step {
            Step::Field(_) => false,
            Step::Index(index) => *index == wanted,
            Step::Item(_) | Step::Value(_) => position() == Some(wanted),
        };
        match (self, step) {
            (Self::Any, _) => true,
            (Self::Token(text), Step::Field(name)) => text == name,
            (Self::Token(text), _) => text.parse().is_ok_and(is_at),
            (Self::Step(Step::Index(index)), _) => is_at(*index),
            // Ports have two merge keys, and people usually write only one.
            (Self::Step(Step::Item(wanted)), Step::Item(keys)) => {
                wanted.iter().all(|key| keys.contains(key))
            }
            (Self::Step(wanted), step) => wanted == step,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::tree::Tree;

    const MANIFEST: &str = r#"{"spec":{"ports":[{"port":80},{"port":443}],
        "containers":[{"name":"web","args":["a"]},{"name":"sidecar"}]}}"#;

    #[rstest]
    #[case::itself("/spec/replicas", ".spec.replicas", true)]
    #[case::below("/spec", ".spec.replicas", true)]
    #[case::above("/spec/replicas", ".spec", false)]
    #[case::whole("", ".spec.replicas", true)]
    #[case::longer_name("/spec/replica", ".spec.replicas", false)]
    #[case::any_field("/spec/*/image", ".spec.other.image", true)]
    #[case::any_item("/spec/containers/*/image", ".spec.containers[name=web].image", true)]
    #[case::one_step_only("/spec/*/image", ".spec.containers[name=web].image", false)]
    #[case::by_position(
        "/spec/containers/1/image",
        ".spec.containers[name=sidecar].image",
        true
    )]
    #[case::other_position(
        "/spec/containers/0/image",
        ".spec.containers[name=sidecar].image",
        false
    )]
    #[case::not_in_the_manifest(
        "/spec/containers/0/image",
        ".spec.containers[name=new].image",
        false
    )]
    #[case::atomic(
        "/spec/containers/0/args/0",
        ".spec.containers[name=web].args[0]",
        true
    )]
    #[case::without_the_first_dot("spec.replicas", ".spec.replicas", true)]
    #[case::jsonpath("{.spec.replicas}", ".spec.replicas", true)]
    #[case::default_key("/spec/ports/0", ".spec.ports[port=80,protocol=TCP].name", true)]
    #[case::escaped(
        "/metadata/annotations/a.b~1c~0d",
        ".metadata.annotations[\"a.b/c~d\"]",
        true
    )]
    #[case::a_field_that_is_a_number("/data/0", ".data.0", true)]
    #[case::as_shown(
        ".spec.containers[name=web].image",
        ".spec.containers[name=web].image",
        true
    )]
    #[case::as_shown_any(".spec.containers[*].image", ".spec.containers[name=web].image", true)]
    #[case::one_of_two_keys(".spec.ports[port=80]", ".spec.ports[port=80,protocol=UDP]", true)]
    #[case::as_shown_other(
        ".spec.containers[name=web]",
        ".spec.containers[name=web2].image",
        false
    )]
    fn a_path_covers_itself_and_what_is_below(
        #[case] pattern: &str,
        #[case] path: &str,
        #[case] covered: bool,
    ) {
        let manifest = Tree::of(MANIFEST);
        let path = path.parse().unwrap();
        let pattern = Pattern::new(pattern).unwrap();
        assert_eq!(
            pattern.covers(&path, |parents, step| manifest.position(parents, step)),
            covered
        );
    }

    #[rstest]
    #[case::field("/spec", true)]
    #[case::any_item("/spec/containers/*/args", true)]
    #[case::position("/spec/containers/1/args", false)]
    #[case::absent("/spec/replicas", false)]
    #[case::as_shown(".spec.containers[name=web].args", true)]
    fn a_path_exists_in_an_object_that_has_it(#[case] pattern: &str, #[case] expected: bool) {
        let object = serde_json::from_str(MANIFEST).unwrap();
        assert_eq!(Pattern::new(pattern).unwrap().exists_in(&object), expected);
    }

    #[rstest]
    #[case("spec/replicas", "a JSON pointer starts with a slash")]
    #[case("replicas", "is not a path")]
    #[case("/metadata/a~b", "write ~0 for ~")]
    #[case("/metadata/a~", "write ~0 for ~")]
    #[case(".spec[0", "bracket")]
    #[case(".", "no name")]
    fn an_invalid_pattern_is_rejected(#[case] text: &str, #[case] says: &str) {
        let error = Pattern::new(text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
