//! The kinds that manifests declare.

/// A kind in the version of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeclaredKind {
    /// API group, empty for core.
    pub group: String,
    /// Kind, as in a manifest: `Deployment`.
    pub kind: String,
    /// API version without the group.
    pub version: String,
}
