//! The record of an emergency change: the content of [`crate::api::EmergencyChange`].
//!
//! It is small on purpose, because it is written to etcd before the request is answered: values are cut as
//! in messages, and a long patch is omitted. With [`ChangeLimits::in_cluster`] of them, each of at most about 60
//! KiB and usually 2, etcd stays within its limits.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Authorization, RedactedPatch};
use crate::{
    api::{
        EmergencyChange, EmergencyChangeSpec,
        change::ChangeOperation,
        reported::{ReportedField, ReportedObject},
    },
    guard::{Decided, Effect, effect},
    names,
    policy::emergency::Emergencies,
};

/// The most stored changes, including resolved ones. Beyond it, a change counts as one that cannot be
/// recorded. `Void` changes do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeLimits {
    /// All of them.
    pub in_cluster: usize,
    /// Of releases of one namespace.
    pub in_namespace: usize,
    /// By one user, so that no user can use up the limit of all others.
    pub of_identity: usize,
}

impl Default for ChangeLimits {
    fn default() -> Self {
        Self {
            in_cluster: 10_000,
            in_namespace: 2_000,
            // Many clusters share one emergency account.
            of_identity: 4_000,
        }
    }
}

/// The most `Void` changes that are kept. The oldest are removed first.
pub const MOST_VOID: usize = 1_000;

/// The longest patch in a record, in bytes. The audit line may have a longer one.
const PATCH_BYTES: usize = 32 * 1024;
/// Fields in a record.
const FIELDS: usize = 64;
/// Groups in a record.
const GROUPS: usize = 32;
/// Characters of the object's name in the record's name; a name has at most 63.
const NAME_CHARS: usize = 46;

/// The label with the name of the release.
pub(crate) const RELEASE_LABEL: &str = "helm-guard.dev/release";
/// The label with the kind of the object.
pub(crate) const KIND_LABEL: &str = "helm-guard.dev/kind";
/// The label with the name of the object, if it is a valid label value.
pub(crate) const OBJECT_LABEL: &str = "helm-guard.dev/object";

/// What is known about the object before the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Group and version, as in a manifest.
    pub api_version: String,
    /// `metadata.uid`, which a recreated object does not share.
    pub uid: Option<String>,
    /// `metadata.resourceVersion` before the change.
    pub resource_version: Option<String>,
}

/// The record of a change before it is allowed; `None` if it violates nothing.
pub fn record(
    decided: &Decided<'_>,
    (leave, made): (&Authorization, &RedactedPatch),
    before: Before,
    rules: &Emergencies,
    now: Timestamp,
) -> Option<EmergencyChangeSpec> {
    let (request, object) = (decided.request, decided.object?);
    let findings = &decided.verdict.findings;
    let first = findings.first()?;
    let user = &request.user_info;
    let until = now.checked_add(rules.reconcile_within());
    Some(EmergencyChangeSpec {
        user: user.username.to_string(),
        groups: user
            .groups
            .iter()
            .take(GROUPS)
            .map(ToString::to_string)
            .collect(),
        credential_id: user.credential_id(),
        at: Time(now),
        request_uid: request.uid.to_string(),
        grant: leave.grant.clone(),
        ticket: leave.ticket.clone(),
        reason: leave.reason.clone(),
        operation: match effect(request) {
            Some(Effect::Delete) => ChangeOperation::Delete,
            Some(Effect::Scale) => ChangeOperation::Scale,
            // Creating a release record is a change of its release.
            Some(Effect::Update | Effect::UpdateMetadata) | None => ChangeOperation::Update,
        },
        object: ReportedObject {
            api_version: before.api_version,
            kind: object.kind.to_owned(),
            namespace: object.namespace.to_owned(),
            name: object.name.to_string(),
            subresource: String::new(),
            uid: before.uid,
            resource_version: before.resource_version,
        },
        release: first.into(),
        fields: first
            .changes
            .iter()
            .take(FIELDS)
            .map(ReportedField::from)
            .collect(),
        patch: made
            .patch
            .as_ref()
            .and_then(|patch| serde_json::to_string(patch).ok())
            .filter(|json| json.len() <= PATCH_BYTES),
        reconcile_by: Time(until.unwrap_or(Timestamp::MAX)),
    })
}

/// The object with a record, under one of its names ([`super::retried::names`]).
pub fn document(spec: EmergencyChangeSpec, name: &str) -> EmergencyChange {
    let mut document = EmergencyChange::new(name, spec);
    let (spec, labels) = (
        &document.spec,
        document.metadata.labels.get_or_insert_default(),
    );
    let marks = [
        (RELEASE_LABEL, &spec.release.name),
        (KIND_LABEL, &spec.object.kind),
        (OBJECT_LABEL, &spec.object.name),
    ];
    for (label, value) in marks {
        if names::is_label_value(value) {
            labels.insert(label.to_owned(), value.clone());
        }
    }
    document.metadata.namespace = Some(spec.release.namespace.clone());
    document
}

/// The name of an object, as the first part of a record's name.
pub(super) fn object_name(object: &str) -> String {
    // The name of an object need not be a DNS name (`system:reader`), but that of a custom resource must be.
    let object: String = object
        .chars()
        .take(NAME_CHARS)
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '-' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .collect();
    match object.trim_matches('-') {
        "" => "object".to_owned(),
        object => object.to_owned(),
    }
}

/// A placeholder time, for comparisons.
pub(super) fn never() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("checkout", "checkout")]
    #[case::of_rbac("system:Reader", "system-reader")]
    #[case::of_signs(":::", "object")]
    #[case::long(&"x".repeat(253), &"x".repeat(46))]
    fn a_record_name_starts_with_the_object_name(#[case] object: &str, #[case] start: &str) {
        assert_eq!(object_name(object), start);
    }
}
