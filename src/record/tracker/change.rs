//! One change: its key and its state.

use std::fmt;

use helm_guard_core::api::{ChangeState, EmergencyChange};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChangeKey {
    namespace: String,
    name: String,
}

impl ChangeKey {
    pub(super) fn of(change: &EmergencyChange) -> Self {
        Self {
            namespace: change.metadata.namespace.clone().unwrap_or_default(),
            name: change.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ChangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

pub(super) fn state(change: &EmergencyChange) -> ChangeState {
    change
        .status
        .as_ref()
        .map(|status| status.state)
        .unwrap_or_default()
}
