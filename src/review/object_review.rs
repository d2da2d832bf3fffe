//! One request to an ordinary object, with the inputs of its evaluation.

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
    pub(crate) located: &'r LocatedObject<'r>,
    /// The versions in which other calls evaluate the same request.
    pub conversions: ConversionTargets<'r>,
    pub deadline: Instant,
}
