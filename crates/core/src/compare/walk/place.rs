//! The current place of the walk, and its path.

use crate::compare::{
    json::Json,
    keyed_list::Keyed,
    lazy::{Opened, open, open_beside},
    path::{FieldPath, Step},
    schema::{MergeKey, Shape},
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
}

impl Trail<'_> {
    /// Whether the last step is a field with one of these names.
    pub(super) fn ends_in(&self, names: &[&str]) -> bool {
        matches!(self, Trail::Field(_, name) if names.contains(name))
    }
}

/// The topmost place on the path that the request removes.
#[derive(Clone, Copy)]
pub(super) struct Gone<'a, 't> {
    pub(super) trail: &'t Trail<'t>,
    pub(super) declared: Json<'a>,
    pub(super) old: Json<'a>,
}

/// The atomic object around the current place.
pub(super) struct OneValue<'a, 't> {
    pub(super) trail: &'t Trail<'t>,
    pub(super) declared: Json<'a>,
    pub(super) old: Option<Json<'a>>,
    pub(super) new: Option<Json<'a>>,
}

/// The current place of the walk.
#[derive(Clone, Copy)]
pub(super) struct WalkPlace<'a, 't> {
    pub(super) old: Option<Json<'a>>,
    pub(super) new: Option<Json<'a>>,
    pub(super) shape: Shape<'a>,
    pub(super) trail: &'t Trail<'t>,
    pub(super) gone: Option<Gone<'a, 't>>,
    pub(super) one_value: Option<&'t OneValue<'a, 't>>,
    pub(super) unknown_list: bool,
}

impl<'a> WalkPlace<'a, '_> {
    /// The value there before and after the request, opened.
    pub(super) fn open(self) -> (Option<Opened<'a>>, Option<Opened<'a>>) {
        let old = self.old.map(open);
        let new = self.new.map(|new| open_beside(new, old.as_ref()));
        (old, new)
    }

    /// One step down, to a value of `old` and `new`.
    pub(super) fn below<'n>(
        self,
        trail: &'n Trail<'n>,
        shape: Shape<'a>,
        (old, new): (Option<Json<'a>>, Option<Json<'a>>),
    ) -> WalkPlace<'a, 'n>
    where
        Self: 'n,
    {
        WalkPlace {
            old,
            new,
            shape,
            trail,
            gone: self.gone,
            one_value: self.one_value,
            unknown_list: self.unknown_list,
        }
    }
}
