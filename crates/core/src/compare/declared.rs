//! What one or two active manifests declare at one place.

use super::{json::Json, lazy::present};

/// The declarations at one place: of one manifest, or of two while one replaces the other.
#[derive(Clone, Copy, Debug)]
pub enum Declared<'a> {
    /// One active manifest.
    One(Json<'a>),
    /// Two active manifests; the newest first. `None` if it declares nothing here.
    Two(Option<Json<'a>>, Option<Json<'a>>),
}

impl<'a> Declared<'a> {
    pub(super) fn each(self) -> impl Iterator<Item = Json<'a>> {
        let (first, second) = match self {
            Self::One(one) => (Some(one), None),
            Self::Two(first, second) => (first, second),
        };
        first.into_iter().chain(second)
    }

    /// The newest declaration.
    pub(crate) fn newest(self) -> Option<Json<'a>> {
        self.each().next()
    }

    pub(super) fn is_unanimous(self) -> bool {
        !matches!(self, Self::Two(None, _) | Self::Two(_, None))
    }

    /// The declarations at the place that `of` finds; `None` if there are none.
    pub fn map(self, of: impl Fn(Json<'a>) -> Option<Json<'a>>) -> Option<Self> {
        match self {
            Self::One(one) => present(of(one)).map(Self::One),
            Self::Two(first, second) => {
                let of = |json: Option<Json<'a>>| present(json.and_then(&of));
                match (of(first), of(second)) {
                    (None, None) => None,
                    (first, second) => Some(Self::Two(first, second)),
                }
            }
        }
    }
}
