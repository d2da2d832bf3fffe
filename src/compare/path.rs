//! Field paths in Kubernetes' own style: `.spec.template.spec.containers[name=web].image`.

use std::fmt;

mod parse;

pub use parse::PathError;

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A key of an object.
    Field(String),
    /// An item of a keyed list, by its merge keys, as JSON text without quotes around strings.
    Item(Vec<(String, String)>),
    /// An item of a set, by its value.
    Value(String),
    /// An item of any other list, counted from 0.
    Index(usize),
}

/// Where in an object a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The path of the object itself.
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

    /// This path and one step more.
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

/// Keys with dots or slashes in them (labels, file names) are quoted, as JSON path expressions do.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'$')
}
