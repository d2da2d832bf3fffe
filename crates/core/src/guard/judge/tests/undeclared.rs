//! Changes of fields that no release declares, where a policy guards them.

use rstest::rstest;

use super::*;

fn policy(undeclared: &Value, mode: &str) -> Policy {
    let spec = json!({"mode": mode, "undeclared": undeclared});
    Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap()
}

fn judged(policy: &Policy, claims: &[Claim], new: &Value) -> Verdict {
    verdict_given(
        &review("UPDATE", &replicas(3), new),
        claims,
        Knowledge::Builtin(Shape::plain()),
        ConversionTargets::Versions(&[]),
        (policy, Facts::default()),
    )
}

fn paused() -> Value {
    json!({"spec": {"replicas": 3, "paused": true}})
}

#[rstest]
#[case::never_stricter_than_the_mode_of_violations("Deny", "Audit", Mode::Audit)]
#[case::never_stricter_than_warn("Deny", "Warn", Mode::Warn)]
#[case::denied("Deny", "Deny", Mode::Deny)]
#[case::only_a_warning("Warn", "Deny", Mode::Warn)]
#[case::less_than_a_warning("Warn", "Audit", Mode::Audit)]
fn a_finding_has_the_mode_of_undeclared_fields(
    #[case] undeclared: &str,
    #[case] mode: &str,
    #[case] expected: Mode,
) {
    let policy = policy(&json!({"mode": undeclared}), mode);
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let verdict = judged(&policy, &claims, &paused());
    assert_eq!(verdict.reason, Reason::UndeclaredChanged);
    let [finding] = &verdict.findings[..] else {
        panic!("{verdict:?}")
    };
    assert_eq!(finding.mode, expected);
    let [change] = &finding.changes[..] else {
        panic!("{verdict:?}")
    };
    assert_eq!(change.path.to_string(), ".spec.paused");
    assert_eq!(change.declared, ShownValue::Absent);
    assert_eq!(change.live, ShownValue::Absent);
    assert_eq!(change.requested, ShownValue::Text("true".to_owned()));
}

#[rstest]
#[case::allowed("Allow", vec![claim("web", Phase::Settled, vec![declares(3)])])]
#[case::while_helm_may_be_at_work("Deny", vec![claim("web", Phase::Pending, vec![declares(3)])])]
#[case::in_another_version(
    "Deny", vec![claim("web", Phase::Settled, vec![object("v1beta1", &replicas(3))])]
)]
#[case::declared_by_another_release("Deny", vec![
    claim("web", Phase::Settled, vec![declares(3)]),
    claim("other", Phase::Settled, vec![object("v1", &json!({"spec": {"paused": true}}))]),
])]
fn undeclared_fields_may_change(#[case] mode: &str, #[case] claims: Vec<Claim>) {
    let verdict = judged(&policy(&json!({"mode": mode}), "Deny"), &claims, &paused());
    assert_ne!(verdict.reason, Reason::UndeclaredChanged);
    assert_eq!(verdict.findings.len(), 0);
}

#[test]
fn a_change_of_a_declared_field_is_denied_for_that() {
    let policy = policy(&json!({"mode": "Deny"}), "Deny");
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let mut new = paused();
    new["spec"]["replicas"] = json!(5);
    let verdict = judged(&policy, &claims, &new);
    assert_eq!(verdict.reason, Reason::FieldsChanged);
}

/// More exempt changes than are reported hid all others.
#[test]
fn very_many_exempt_changes_hide_no_other_change() {
    let policy = policy(
        &json!({"mode": "Deny", "except": [{"paths": ["/metadata/annotations"]}]}),
        "Deny",
    );
    let claims = [claim("web", Phase::Settled, vec![declares(3)])];
    let notes: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("a{n}"), json!("x"))).collect();
    let mut new = paused();
    new["metadata"]["annotations"] = notes.into();
    let verdict = judged(&policy, &claims, &new);
    assert_eq!(verdict.reason, Reason::UndeclaredChanged);
    let changes = verdict.findings.iter().flat_map(|finding| &finding.changes);
    let paths: Vec<String> = changes.map(|change| change.path.to_string()).collect();
    assert_eq!(paths, [".spec.paused"]);
}
