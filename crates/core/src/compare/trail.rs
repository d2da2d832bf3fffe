//! The path to the current place of a walk through an object.

use super::{
    keyed_list::Keyed,
    path::{FieldPath, Step},
    schema::MergeKey,
};

/// The path from the root to the current place. It is on the stack, so that a walk without
/// violations allocates no path.
pub(super) enum Trail<'t> {
    Root,
    Field(&'t Trail<'t>, &'t str),
    Item(&'t Trail<'t>, &'t Keyed<'t>, &'t [MergeKey]),
    Value(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    pub(super) fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut at = self;
        loop {
            let (parent, step) = match at {
                Trail::Root => break,
                Trail::Field(parent, name) => (parent, Step::Field((*name).to_owned())),
                Trail::Item(parent, item, keys) => (parent, item.step(keys)),
                Trail::Value(parent, value) => (parent, Step::Value((*value).to_owned())),
                Trail::Index(parent, index) => (parent, Step::Index(*index)),
            };
            steps.push(step);
            at = *parent;
        }
        steps.reverse();
        FieldPath::from(steps)
    }

    /// Whether the last step is a field with one of these names.
    pub(super) fn ends_in(&self, names: &[&str]) -> bool {
        matches!(self, Trail::Field(_, name) if names.contains(name))
    }
}
