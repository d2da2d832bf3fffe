//! The content of an answer.

use helm_guard_core::{breakglass::Refusal, guard::Decided, policy::EmergencyHint};

use crate::record::Emergency;

/// All that an answer is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerContents<'a> {
    /// The decision.
    pub(crate) decided: Decided<'a>,
    pub(crate) emergency_hint: EmergencyHint<'a>,
    /// Why break-glass does not apply to a break-glass identity.
    pub(crate) refusal: Option<&'a Refusal>,
    /// The record of a break-glass change.
    pub(crate) emergency: Option<&'a Emergency>,
}
