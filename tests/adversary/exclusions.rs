//! What the adversary does not try, and why: the limits of what an admission webhook can see, and what
//! SECURITY.md says is not defended.

use crate::declared::Object;

/// What is left out, with the reason; printed at the end of a run.
pub const EXCLUSIONS: &[(&str, &str)] = &[
    (
        "webhook configurations and admission policies",
        "the API server asks no webhook about them",
    ),
    (
        "CREATE of a declared object that is missing",
        "judging it would refuse whoever restores it by hand; the scanner finds it",
    ),
    (
        "the spec of Leases",
        "they change hands every few seconds; their metadata and their deletion are tried",
    ),
    (
        "connect subresources (exec, attach, port-forward, proxy)",
        "they change no object of the API",
    ),
    (
        "well-formed records of a release in its own namespace, and moving their status",
        "that is to be Helm, as far as anybody can tell; `spec.records.deployers` says who may",
    ),
    (
        "DELETE without options of the oldest superseded record",
        "so Helm prunes",
    ),
    (
        "the guard's own objects, nodes of the control plane, etcd",
        "who holds these holds the guard",
    ),
];

/// Why the guard is not asked about an object, if it is not.
pub fn of(object: &Object) -> Option<&'static str> {
    let (what, _) = EXCLUSIONS[0];
    (object.group == "admissionregistration.k8s.io").then_some(what)
}

/// Subresources that change no object.
pub const CONNECT: &[&str] = &["exec", "attach", "portforward", "proxy", "log"];
