//! Keyed lists whose order means something, which no extension says.
//!
//! The API finds the items of a keyed list by their keys, so their order is free to it; yet to what reads
//! the list it may mean something. Each keyed list of Kubernetes was looked at:
//!
//! | list | the order |
//! |---|---|
//! | `initContainers` | they run one after the other: guarded |
//! | `env` | `$(VAR)` sees only variables before it: guarded where one refers to another; of one name the last counts |
//! | `webhooks` of a `MutatingWebhookConfiguration` | each sees what those before it made: guarded |
//! | `webhooks` of a `ValidatingWebhookConfiguration` | all are asked at once: free |
//! | `containers`, `ephemeralContainers` | run at once: free |
//! | `ports`, `hostAliases`, `resourceClaims`, `schedulingGates` | each item stands for itself: free |
//! | `volumes`, `volumeMounts`, `volumeDevices` | mounts are sorted by their paths: free |
//! | `imagePullSecrets`, `secrets` | any that fits is taken: free |
//! | `topologySpreadConstraints`, `matchConditions`, `x-kubernetes-validations` | all must hold: free |
//! | `variables` of admission policies | one that refers to a later one is refused by the API server: free |
//! | `ownerReferences`, `drivers`, `claims`, `podGroupTemplates` | found by key alone: free |
//!
//! Lists whose order means most (arguments, rules, `envFrom`, projected sources) are atomic anyway.
//! Custom resources hold pod specs too, so fields of pods are told by their names.

use super::{ListKind, MergeKey};

/// The kind of the list in `field` of the type `of`, which has these merge keys.
pub(super) fn keyed(of: &str, field: &str, keys: Vec<MergeKey>) -> ListKind {
    let by_name = matches!(keys.as_slice(), [key] if &*key.field == "name");
    match field {
        "initContainers" if by_name => ListKind::Sequence(keys),
        "webhooks" if of.ends_with(".MutatingWebhookConfiguration") => ListKind::Sequence(keys),
        "env" if by_name => ListKind::Variables(keys),
        _ => ListKind::Keyed(keys),
    }
}
