//! The kill switch: whether a document says that nothing is to be evaluated.
//!
//! Invariant: it is read from the raw document, so that the guard can be switched off even if the rest
//! of the policy is invalid.

use std::fmt;

use serde_json::Value;

use crate::api::GuardPolicySpec;

/// The longest reason that is kept, in characters, as in the schema.
const REASON_CHARS: usize = 256;

/// Why nothing is evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspension {
    reason: String,
}

impl Suspension {
    /// The suspension of a policy.
    pub fn of(spec: &GuardPolicySpec) -> Option<Self> {
        let reason = spec.suspend_reason.as_deref();
        spec.suspend
            .then(|| Self::because(reason.unwrap_or_default()))
    }

    /// The suspension in the `spec` of a document, valid or not.
    pub fn in_document(spec: &Value) -> Option<Self> {
        let is_on = spec.get("suspend").and_then(Value::as_bool) == Some(true);
        let reason = spec.get("suspendReason").and_then(Value::as_str);
        is_on.then(|| Self::because(reason.unwrap_or_default()))
    }

    fn because(reason: &str) -> Self {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Self {
            reason: reason.chars().take(REASON_CHARS).map(printable).collect(),
        }
    }
}

impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every request is allowed without evaluation")?;
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::on(json!({"suspend": true}), Some(""))]
    #[case::with_a_reason(json!({"suspend": true, "suspendReason": "INC-1"}), Some(": INC-1"))]
    #[case::in_a_policy_that_is_wrong(json!({"suspend": true, "mode": "Denny", "x": 1}), Some(""))]
    #[case::reason_of_another_type(json!({"suspend": true, "suspendReason": 7}), Some(""))]
    #[case::off(json!({"suspend": false, "suspendReason": "INC-1"}), None)]
    #[case::not_said(json!({"mode": "Audit"}), None)]
    #[case::a_word_is_not_yes(json!({"suspend": "true"}), None)]
    #[case::no_document(Value::Null, None)]
    fn the_kill_switch_is_read_from_any_document(#[case] spec: Value, #[case] says: Option<&str>) {
        let suspension = Suspension::in_document(&spec).map(|on| on.to_string());
        let expected =
            says.map(|says| format!("every request is allowed without evaluation{says}"));
        assert_eq!(suspension, expected);
    }

    #[test]
    fn a_reason_is_one_line_and_bounded() {
        let spec = json!({"suspend": true, "suspendReason": format!("a\nb{}", "x".repeat(1000))});
        let text = Suspension::in_document(&spec).unwrap().to_string();
        assert!(!text.contains('\n') && text.len() < 400, "{text}");
    }
}
