//! Entries for the objects of releases, and for the subresources through which they change.
//!
//! The entries match either of Helm's marks: the label (by a selector, so that most writes of a cluster cost
//! nothing) or an annotation that names the release (by a condition). Only an object without both is hidden
//! from the guard, and removing the last mark is evaluated.

use k8s_openapi::{
    api::admissionregistration::v1::{RuleWithOperations, ValidatingWebhook},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::{
    Registration,
    conditions::{
        copied_marks, marked, not_a_rollouts_revision, only_annotated, reaches_declared_fields,
        sets_metadata,
    },
    entry, of_helm,
};
use crate::webhook::marks::MANAGED_BY;

/// The entry that sees objects of releases.
pub const OBJECTS_WEBHOOK: &str = "objects.helm-guard.dev";
/// The entry that sees objects without Helm's label that still name their release.
pub const UNLABELED_WEBHOOK: &str = "unlabeled.helm-guard.dev";
/// The entry that sees `*/scale`.
pub const SCALE_WEBHOOK: &str = "scale.helm-guard.dev";
/// The entry that sees the other subresources that reach declared fields.
pub const SUBRESOURCES_WEBHOOK: &str = "subresources.helm-guard.dev";
/// The entry that sees evictions.
pub const EVICTIONS_WEBHOOK: &str = "evictions.helm-guard.dev";
/// The entry that sees bindings which set labels or annotations.
pub const BINDINGS_WEBHOOK: &str = "bindings.helm-guard.dev";

/// The API server applies the selector to the old and the new object, and one match is enough. So the guard
/// sees the removal of the label, and DELETE.
pub(super) fn labeled(registration: &Registration) -> ValidatingWebhook {
    ValidatingWebhook {
        object_selector: Some(LabelSelector {
            match_labels: Some(of_helm()),
            match_expressions: None,
        }),
        match_conditions: Some(copied_marks().to_vec()),
        ..entry(registration, OBJECTS_WEBHOOK, &["UPDATE", "DELETE"], "*")
    }
}

/// With the selector, the API server does not evaluate the conditions for objects that the first entry sees.
pub(super) fn unlabeled(registration: &Registration) -> ValidatingWebhook {
    let mut conditions = copied_marks().to_vec();
    conditions.push(only_annotated());
    ValidatingWebhook {
        object_selector: Some(LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: MANAGED_BY.to_owned(),
                operator: "NotIn".to_owned(),
                values: Some(vec!["Helm".to_owned()]),
            }]),
        }),
        match_conditions: Some(conditions),
        ..entry(registration, UNLABELED_WEBHOOK, &["UPDATE", "DELETE"], "*")
    }
}

/// A Scale has no labels, whatever its parent's are (`scaleFromDeployment` in the API server fills
/// name, namespace, uid, version and time only), so it needs an entry without a selector.
pub(super) fn scale(registration: &Registration) -> ValidatingWebhook {
    entry(registration, SCALE_WEBHOOK, &["UPDATE"], "*/scale")
}

/// The status strategies of most built-in kinds take labels, annotations, finalizers and owner
/// references from the request, and so do the approval of a `CertificateSigningRequest` and the
/// finalization of a Namespace. The guard gets the object that would be stored: the API server calls it after
/// `PrepareForUpdate`. docs/limits.md says why no other subresource reaches a declared field.
pub(super) fn subresources(registration: &Registration) -> ValidatingWebhook {
    let mut conditions = copied_marks().to_vec();
    conditions.extend([
        not_a_rollouts_revision(),
        marked(),
        reaches_declared_fields(),
    ]);
    let resources = [
        "*/status",
        "*/approval",
        "*/finalize",
        "pods/resize",
        "pods/ephemeralcontainers",
    ];
    let one = entry(registration, SUBRESOURCES_WEBHOOK, &["UPDATE"], "*/status");
    ValidatingWebhook {
        match_conditions: Some(conditions),
        rules: with_resources(one.rules.as_deref(), &["*"], &resources),
        ..one
    }
}

/// An Eviction does not have the labels of its Pod, so the guard sees each one.
pub(super) fn evictions(registration: &Registration) -> ValidatingWebhook {
    let one = entry(
        registration,
        EVICTIONS_WEBHOOK,
        &["CREATE"],
        "pods/eviction",
    );
    ValidatingWebhook {
        rules: with_resources(one.rules.as_deref(), &[""], &["pods/eviction"]),
        ..one
    }
}

/// The scheduler sets neither labels nor annotations, so its bindings are excluded.
pub(super) fn bindings(registration: &Registration) -> ValidatingWebhook {
    let one = entry(registration, BINDINGS_WEBHOOK, &["CREATE"], "pods/binding");
    ValidatingWebhook {
        match_conditions: Some(vec![sets_metadata()]),
        rules: with_resources(one.rules.as_deref(), &[""], &["pods/binding", "bindings"]),
        ..one
    }
}

fn with_resources(
    rules: Option<&[RuleWithOperations]>,
    groups: &[&str],
    resources: &[&str],
) -> Option<Vec<RuleWithOperations>> {
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    let rule = rules?.first()?;
    Some(vec![RuleWithOperations {
        api_groups: words(groups),
        resources: words(resources),
        ..rule.clone()
    }])
}
