//! The names of things: an object in an admission request or a manifest, a release, a declared
//! object.

use std::{fmt, sync::Arc};

/// The identity of an object in a cluster.
///
/// The API version is left out on purpose: Helm matches objects between revisions by name,
/// namespace, group and kind alone (`pkg/kube/resource.go`), and so does the guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind, as written in manifests: `Deployment`.
    pub kind: String,
    /// Namespace; empty for a cluster-scoped object.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// Kinds that moved to another API group, as (old group, kind, group): objects written through the old
/// group are still there, and are served in the new one alone. A record outlives the move.
///
/// `extensions/v1beta1` is gone since Kubernetes 1.16 and 1.22, its earlier kinds since 1.6 and before.
const MOVED: &[(&str, &str, &str)] = &[
    ("extensions", "DaemonSet", "apps"),
    ("extensions", "Deployment", "apps"),
    ("extensions", "ReplicaSet", "apps"),
    ("extensions", "HorizontalPodAutoscaler", "autoscaling"),
    ("extensions", "Job", "batch"),
    ("extensions", "Ingress", "networking.k8s.io"),
    ("extensions", "NetworkPolicy", "networking.k8s.io"),
    ("extensions", "PodSecurityPolicy", "policy"),
];

/// The API group in which the objects of a kind live now: its own, unless the kind moved.
pub fn current_group<'g>(group: &'g str, kind: &str) -> &'g str {
    // Nearly every kind is in a group that no kind ever left.
    if group != "extensions" {
        return group;
    }
    MOVED
        .iter()
        .find(|(old, moved, _)| *old == group && *moved == kind)
        .map_or(group, |(_, _, current)| current)
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.name)
    }
}

/// A release by its own namespace and name, from the record's body.
///
/// The record may be stored in another namespace (Flux `storageNamespace`), so the namespace of
/// the Secret does not replace it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName {
    /// The release's namespace: the default namespace of its objects.
    pub namespace: String,
    /// The release's name.
    pub name: String,
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in namespace {:?}", self.name, self.namespace)
    }
}

/// One object that a manifest declares, normalized to what Helm sends to the API server.
#[derive(Clone, PartialEq, Eq)]
pub struct DeclaredObject {
    /// API group, empty for the core group. Of a kind that moved, the group in which it lives now
    /// ([`current_group`]), whatever the document says.
    pub group: String,
    /// API version without the group: `v1`. A version of the old group, where the kind moved: it is
    /// the current group's version of that name, if there is one.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// The namespace that the document names, if it names one. The actual namespace depends on the
    /// kind's scope: see `releases`.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
    /// The template that made the document (Helm's `# Source:` comment).
    pub source: Option<Box<str>>,
    /// The line of the manifest on which the document starts, counted from 1.
    pub line: u32,
    /// `helm.sh/resource-policy` is set, so that Helm never deletes the object itself.
    pub keep: bool,
    /// The document as compact JSON with sorted keys, after what Helm does to it: ownership label
    /// and annotations forced, `status`, `metadata.namespace` and `creationTimestamp` dropped,
    /// a Secret's `stringData` folded into `data`, null values dropped.
    pub json: Arc<str>,
}

/// Shows which object it is, and nothing of its content: it may be a Secret.
impl fmt::Debug for DeclaredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} (line {})", self.kind, self.name, self.line)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("extensions", "Deployment", "apps")]
    #[case("extensions", "DaemonSet", "apps")]
    #[case("extensions", "ReplicaSet", "apps")]
    #[case("extensions", "Ingress", "networking.k8s.io")]
    #[case("extensions", "NetworkPolicy", "networking.k8s.io")]
    #[case("extensions", "PodSecurityPolicy", "policy")]
    #[case::never_moved("extensions", "ThirdPartyResource", "extensions")]
    #[case::current("apps", "Deployment", "apps")]
    #[case::core("", "Service", "")]
    #[case::a_group_that_looks_alike(
        "extensions.example.com",
        "Deployment",
        "extensions.example.com"
    )]
    fn a_moved_kind_is_found_in_its_current_group(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(current_group(group, kind), expected);
    }
}
