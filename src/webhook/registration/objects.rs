//! Entries for the objects of releases, and for the subresources through which they change.
//!
//! Either of Helm's marks brings an object here: its label (a selector, so that most of a cluster's
//! writes cost nothing) or an annotation that names its release (a condition). Only who takes both off
//! hides an object, and taking off the last one is judged.

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
/// The entry that sees objects that lost Helm's label and still name their release.
pub const UNLABELED_WEBHOOK: &str = "unlabeled.helm-guard.dev";
/// The entry that sees `*/scale`.
pub const SCALE_WEBHOOK: &str = "scale.helm-guard.dev";
/// The entry that sees the other subresources that reach declared fields.
pub const SUBRESOURCES_WEBHOOK: &str = "subresources.helm-guard.dev";
/// The entry that sees evictions.
pub const EVICTIONS_WEBHOOK: &str = "evictions.helm-guard.dev";
/// The entry that sees bindings which set labels or annotations.
pub const BINDINGS_WEBHOOK: &str = "bindings.helm-guard.dev";

/// The selector is asked of the old and of the new object, and one match is enough: so an object
/// whose label is being removed is seen, and so is a DELETE.
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

/// The selector keeps the conditions from being evaluated for what the first entry sees anyway.
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
/// finalization of a Namespace. What is asked here is what would be stored: the API server calls after
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

/// An Eviction is no Pod and has none of its labels, so each one is seen.
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

/// The scheduler sets neither labels nor annotations, so its bindings stay away.
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
