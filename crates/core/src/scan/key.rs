//! Which object of a cluster.

use std::fmt;

use crate::compare::redact::Sensitivity;

/// An object without its version: as Helm matches objects between revisions (`pkg/kube/resource.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LiveKey<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace, empty for a cluster-scoped object.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

impl LiveKey<'_> {
    pub(super) fn sensitivity(self) -> Sensitivity {
        Sensitivity::of(self.group, self.kind)
    }
}

/// The part of a finding's ID. No name of Kubernetes contains a slash, so it is unique.
impl fmt::Display for LiveKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() {
            "core"
        } else {
            self.group
        };
        write!(f, "{group}/{}/{}/{}", self.kind, self.namespace, self.name)
    }
}
