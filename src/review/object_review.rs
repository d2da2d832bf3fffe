//! One request to an ordinary object, with what it is evaluated by.

use std::time::Instant;

use helm_guard_core::{
    guard::{ConversionTargets, Request},
    policy::Policy,
};

use super::{location::LocatedObject, reviewer::Reviewer};

/// One request to an ordinary object.
pub(super) struct ObjectReview<'r, S> {
    pub reviewer: &'r Reviewer<S>,
    pub policy: &'r Policy,
    pub request: &'r Request<'r>,
    pub located: &'r LocatedObject<'r>,
    /// In which versions the same request is evaluated in other calls.
    pub conversions: ConversionTargets<'r>,
    pub deadline: Instant,
}
