//! All that an answer is made from.

use helm_guard_core::{breakglass::Refusal, guard::Decided, policy::EmergencyHint};

use crate::record::Emergency;

/// All that an answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What was decided.
    pub decided: Decided<'a>,
    /// Whom to turn to in an emergency.
    pub emergency_hint: EmergencyHint<'a>,
    /// Why a break-glass identity is like anyone here.
    pub refusal: Option<&'a Refusal>,
    /// The record of a break-glass change.
    pub emergency: Option<&'a Emergency>,
}
