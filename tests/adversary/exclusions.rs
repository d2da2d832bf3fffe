//! What the adversary does not try, and why: what an admission webhook cannot see, and what
//! SECURITY.md excludes.

use crate::declared::Object;

/// The exclusions with their reasons; printed at the end of a run.
pub const EXCLUSIONS: &[(&str, &str)] = &[
    (
        "webhook configurations and admission policies",
        "the API server calls no webhook for them",
    ),
    (
        "CREATE of a declared object that is missing",
        "denying it would keep people from restoring the object by hand; the scanner finds it",
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
        "indistinguishable from Helm; `spec.records.deployers` says who may",
    ),
    (
        "DELETE without options of the oldest superseded record",
        "so Helm prunes",
    ),
    (
        "the guard's own objects, nodes of the control plane, etcd",
        "control over these is control over the guard",
    ),
];

/// Why the API server does not call the guard for an object, if it does not.
pub fn of(object: &Object) -> Option<&'static str> {
    let (what, _) = EXCLUSIONS[0];
    (object.group == "admissionregistration.k8s.io").then_some(what)
}

/// Subresources that change no object.
pub const CONNECT: &[&str] = &["exec", "attach", "portforward", "proxy", "log"];
