//! Entries for release infrastructure: release records, namespaces and CRDs.
//!
//! These objects do not have Helm's managed-by label (not even CRDs from `crds/`), so the entry for objects does
//! not see them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::admissionregistration::v1::{MatchCondition, RuleWithOperations, ValidatingWebhook},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{Registration, client_config, entry};
use crate::webhook::paths::Route;

/// The entry that sees release records.
pub(crate) const RECORDS_WEBHOOK: &str = "records.helm-guard.dev";
/// The entry that sees namespaces being deleted, or getting an owner.
pub(crate) const NAMESPACES_WEBHOOK: &str = "namespaces.helm-guard.dev";
/// The entry that sees CRDs being deleted, or getting an owner.
pub(crate) const DEFINITIONS_WEBHOOK: &str = "definitions.helm-guard.dev";

/// The names of all these entries.
pub(super) const NAMES: [&str; 3] = [RECORDS_WEBHOOK, NAMESPACES_WEBHOOK, DEFINITIONS_WEBHOOK];

pub(super) fn entries(registration: &Registration) -> [ValidatingWebhook; 3] {
    let of = |name: &str, group: &str, operations: &[&str], resources: &[&str]| {
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        ValidatingWebhook {
            client_config: client_config(registration, Route::ReleaseInfrastructure, name),
            rules: Some(vec![RuleWithOperations {
                api_groups: words(&[group]),
                api_versions: words(&["*"]),
                operations: words(operations),
                resources: words(resources),
                scope: Some("*".to_owned()),
            }]),
            ..entry(registration, name, operations, "")
        }
    };
    let records = ValidatingWebhook {
        object_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("owner".to_owned(), "helm".to_owned())])),
            match_expressions: None,
        }),
        match_conditions: Some(vec![typed()]),
        ..of(
            RECORDS_WEBHOOK,
            "",
            &["CREATE", "UPDATE", "DELETE"],
            &["secrets", "configmaps"],
        )
    };
    [
        records,
        ValidatingWebhook {
            match_conditions: Some(vec![gone_or_owned()]),
            ..of(
                NAMESPACES_WEBHOOK,
                "",
                &["UPDATE", "DELETE"],
                &["namespaces", "namespaces/status", "namespaces/finalize"],
            )
        },
        ValidatingWebhook {
            match_conditions: Some(vec![gone_or_owned()]),
            ..of(
                DEFINITIONS_WEBHOOK,
                "apiextensions.k8s.io",
                &["UPDATE", "DELETE"],
                &[
                    "customresourcedefinitions",
                    "customresourcedefinitions/status",
                ],
            )
        },
    ]
}

/// Deletions, and updates that change owner references: the garbage collector deletes objects whose owner is
/// gone.
fn gone_or_owned() -> MatchCondition {
    let owners = |object: &str| format!("{object}.metadata.ownerReferences");
    let (old, new) = (owners("oldObject"), owners("object"));
    MatchCondition {
        name: "deletions-and-new-owners".to_owned(),
        expression: format!(
            "request.operation == 'DELETE' || object != null && oldObject != null && \
             has(object.metadata) && has(oldObject.metadata) && has({new}) && \
             (!has({old}) || {new} != {old})"
        ),
    }
}

/// Anyone may put the label on a Secret, and Helm recognizes records only by labels. So objects that are records
/// by type, name or content are also sent: see [`helm_guard_core::guard::records::forged`].
fn typed() -> MatchCondition {
    let is_typed = |object: &str| {
        format!(
            "{object} != null && (has({object}.type) && {object}.type == 'helm.sh/release.v1' || \
             has({object}.metadata.name) && {object}.metadata.name.startsWith('sh.helm.release.v1.') \
             || has({object}.data) && 'release' in {object}.data)"
        )
    };
    MatchCondition {
        name: "secrets-of-helm".to_owned(),
        expression: format!(
            "request.resource.resource != 'secrets' || {} || {}",
            is_typed("object"),
            is_typed("oldObject")
        ),
    }
}
