//! Field paths in the style of Kubernetes: `.spec.template.spec.containers[name=web].image`.

use std::fmt;

mod parse;

pub(crate) use parse::PathError;
pub(crate) use parse::unescaped;

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A key of an object.
    Field(String),
    /// An item of a keyed list, by its merge keys, as JSON text without quotes around strings.
    Item(Vec<(String, String)>),
    /// An item of a set, by its value.
    Value(String),
    /// An item of any other list, by its position from 0.
    Index(usize),
}

/// The position of a value in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The path of the whole object.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of plain fields.
    pub fn of<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Self {
        Self(
            fields
                .into_iter()
                .map(|field| Step::Field(field.into()))
                .collect(),
        )
    }

    /// This path with one more step.
    #[must_use]
    pub fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl FromIterator<Step> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl From<Vec<Step>> for FieldPath {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Field(name) if is_plain(name) => write!(f, ".{name}")?,
                Step::Field(name) => write!(f, "[{name:?}]")?,
                Step::Item(keys) => {
                    f.write_str("[")?;
                    for (n, (key, value)) in keys.iter().enumerate() {
                        let comma = if n == 0 { "" } else { "," };
                        write!(f, "{comma}{key}={value}")?;
                    }
                    f.write_str("]")?;
                }
                Step::Value(value) => write!(f, "[{value}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if self.0.is_empty() {
            f.write_str(".")
        } else {
            Ok(())
        }
    }
}

/// Keys with dots or slashes (labels, file names) are quoted, as in JSON path expressions.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'$')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_object_itself(vec![], ".")]
    #[case::plain(vec![Step::Field("x-y_z".to_owned()), Step::Field("$ref".to_owned())], ".x-y_z.$ref")]
    #[case::no_name(vec![Step::Field(String::new())], r#"[""]"#)]
    #[case::a_file(vec![Step::Field("data".to_owned()), Step::Field("a.yaml".to_owned())], r#".data["a.yaml"]"#)]
    #[case::a_blank(vec![Step::Field("a b".to_owned())], r#"["a b"]"#)]
    #[case::set(vec![Step::Value("\"x\"".to_owned())], r#"["x"]"#)]
    #[case::two_keys(
        vec![Step::Item(vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]), Step::Index(7)],
        "[a=1,b=2][7]"
    )]
    fn a_path_is_printed_in_the_style_of_kubernetes(#[case] steps: Vec<Step>, #[case] text: &str) {
        assert_eq!(FieldPath::from(steps).to_string(), text);
    }

    #[test]
    fn a_path_grows_at_its_end() {
        let spec = FieldPath::root().join(Step::Field("spec".to_owned()));
        let replicas = spec.join(Step::Field("replicas".to_owned()));
        assert_eq!(replicas, FieldPath::of(["spec", "replicas"]));
        assert_eq!(spec, FieldPath::of(["spec"]));
    }
}
