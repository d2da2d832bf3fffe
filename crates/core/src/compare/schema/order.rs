//! Keyed lists whose order is significant, which no extension declares.
//!
//! The API finds the items of a keyed list by their keys and ignores their order, but the readers of the
//! list may not. Each keyed list of Kubernetes was checked:
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
//! Lists whose order matters most (arguments, rules, `envFrom`, projected sources) are atomic
//! anyway. Custom resources contain pod specs too, so fields of pods are recognized by name.

use super::{ListKind, MergeKey};

/// The kind of the list in `field` of the type `of`, with these merge keys.
pub(super) fn keyed(of: &str, field: &str, keys: Vec<MergeKey>) -> ListKind {
    let by_name = matches!(keys.as_slice(), [key] if &*key.field == "name");
    match field {
        "initContainers" if by_name => ListKind::Sequence(keys),
        "webhooks" if of.ends_with(".MutatingWebhookConfiguration") => ListKind::Sequence(keys),
        "env" if by_name => ListKind::Variables(keys),
        _ => ListKind::Keyed(keys),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MUTATING: &str = "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration";
    const VALIDATING: &str = "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration";

    #[rstest]
    #[case::run_in_turn("a.Pod", "initContainers", "name", "sequence")]
    #[case::of_another_key("a.Pod", "initContainers", "id", "keyed")]
    #[case::run_at_once("a.Pod", "containers", "name", "keyed")]
    #[case::see_each_other(MUTATING, "webhooks", "name", "sequence")]
    #[case::asked_at_once(VALIDATING, "webhooks", "name", "keyed")]
    #[case::refer_to_each_other("a.Container", "env", "name", "variables")]
    #[case::of_another_key("a.Container", "env", "key", "keyed")]
    fn the_order_of_a_list_is_known_by_its_field(
        #[case] of: &str,
        #[case] field: &str,
        #[case] key: &str,
        #[case] expected: &str,
    ) {
        let keys = vec![MergeKey {
            field: key.into(),
            default: None,
        }];
        let kind = match keyed(of, field, keys) {
            ListKind::Sequence(_) => "sequence",
            ListKind::Variables(_) => "variables",
            ListKind::Keyed(_) => "keyed",
            _ => "another",
        };
        assert_eq!(kind, expected);
    }
}
