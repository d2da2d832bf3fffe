//! The policy in force, published in the registration, so that commands can evaluate a change by it.
//!
//! A guard may have its policy from flags or from a file, which nobody outside of it can read. The annotation
//! [`POLICY`] has it, whatever its source. Alerts are left out, since a sink's URL may be a credential.
//!
//! Invariant: no decision follows from the annotation. Anyone who may edit the registration can change it until
//! the guard corrects it.

use std::collections::BTreeMap;

use helm_guard_core::{
    api::{GuardPolicySpec, policy::alerts::Alerts},
    policy::{Policy, PolicyError, document},
};
use serde_json::{Value, json};

/// The annotation with the policy in force: the spec of a `GuardPolicy`, as JSON.
pub(crate) const POLICY: &str = "helm-guard.dev/policy";

/// The longest published policy, in bytes. All annotations of an object together may have 256 KiB.
const MAX_BYTES: usize = 64 * 1024;

/// The key that replaces the spec of a policy that is too long to be published.
const TOO_LONG: &str = "tooLong";

/// Why the policy in force cannot be read from the registration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpublishedPolicy {
    /// A guard that does not publish it wrote the registration, or somebody removed it.
    #[error("the registration does not have it (annotation {POLICY})")]
    Missing,
    /// It has more than [`MAX_BYTES`].
    #[error("it is too long to be in the registration")]
    TooLong,
    /// Somebody changed it.
    #[error("the annotation {POLICY} of the registration is not a valid policy")]
    Invalid,
}

impl From<PolicyError> for UnpublishedPolicy {
    fn from(_: PolicyError) -> Self {
        Self::Invalid
    }
}

/// The annotation's value for a policy.
pub(crate) fn publish(spec: &GuardPolicySpec) -> String {
    let shown = GuardPolicySpec {
        alerts: Alerts::default(),
        ..spec.clone()
    };
    match serde_json::to_string(&shown) {
        Ok(text) if text.len() <= MAX_BYTES => text,
        _ => json!({ TOO_LONG: true }).to_string(),
    }
}

/// The policy that the annotations of a registration have.
///
/// # Errors
/// When it is not there, or not valid.
pub(crate) fn published(
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<Policy, UnpublishedPolicy> {
    let text = annotations
        .and_then(|annotations| annotations.get(POLICY))
        .ok_or(UnpublishedPolicy::Missing)?;
    let value: Value = serde_json::from_str(text).map_err(|_| UnpublishedPolicy::Invalid)?;
    if value.get(TOO_LONG).is_some() {
        return Err(UnpublishedPolicy::TooLong);
    }
    Ok(Policy::compile(&document::spec(&value)?)?)
}

#[cfg(test)]
mod tests {
    use helm_guard_core::api::Mode;
    use rstest::rstest;

    use super::*;

    fn annotated(text: String) -> BTreeMap<String, String> {
        BTreeMap::from([(POLICY.to_owned(), text)])
    }

    #[test]
    fn a_published_policy_reads_the_same_again_without_its_sinks() {
        let spec: GuardPolicySpec = serde_json::from_value(json!({
            "mode": "Warn",
            "ignore": [{"paths": ["/spec/replicas"]}],
            "alerts": {"sinks": [{"name": "ops", "type": "slack", "url": "https://hooks.example.com/T0/secret"}]},
        }))
        .unwrap();
        let text = publish(&spec);
        assert!(!text.contains("hooks.example.com"), "{text}");
        let policy = published(Some(&annotated(text))).unwrap();
        assert_eq!(policy.default_mode(), Mode::Warn);
        assert_eq!(policy.spec().ignore, spec.ignore);
    }

    #[rstest]
    #[case::nothing(None, "does not have it")]
    #[case::not_json(Some("{".to_owned()), "not a valid policy")]
    #[case::not_a_policy(Some(json!({"mode": "Never"}).to_string()), "not a valid policy")]
    #[case::too_long(Some(publish(&GuardPolicySpec {
        suspend_reason: Some("x".repeat(MAX_BYTES)),
        ..GuardPolicySpec::default()
    })), "too long")]
    fn what_cannot_be_read_is_not_the_default_policy(
        #[case] text: Option<String>,
        #[case] expected: &str,
    ) {
        let annotations = text.map(annotated);
        let error = published(annotations.as_ref()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
