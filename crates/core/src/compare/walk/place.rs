//! The current place of the walk.

use crate::compare::{
    json::Json,
    lazy::{Opened, open_both},
    schema::Shape,
    trail::Trail,
};

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
        open_both(self.old, self.new)
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
