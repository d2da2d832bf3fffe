//! Kinds, as rules name them.

use super::Place;
use crate::api::GroupKind;

/// Whether the object's kind is among them.
pub(super) fn holds_kind(kinds: &[GroupKind], place: &Place<'_>) -> bool {
    kinds
        .iter()
        .any(|one| one.group == place.group && one.kind == place.kind)
}
