//! A transferred object is named.

use super::*;

fn owned(release: &str, note: &str) -> Value {
    json!({"metadata": {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "shop",
            "note": note,
        },
    }, "spec": {"replicas": 3}})
}

fn of(release: &str, phase: Phase) -> Claim {
    let mut declared = owned(release, "");
    declared["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove("note");
    claim(release, phase, vec![object("v1", &declared)])
}

#[test]
fn an_object_taken_over_in_the_same_namespace_is_named() {
    let claims = [of("a", Phase::Settled), of("b", Phase::Pending)];
    let request = review("UPDATE", &owned("a", ""), &owned("b", ""));
    let verdict = verdict_of(&request, &claims, Knowledge::Builtin(Shape::plain()));
    assert_eq!(verdict.reason, Reason::OwnershipTaken);
    let [finding] = &*verdict.findings else {
        panic!("{verdict:?}");
    };
    assert_eq!(finding.release.name, "a");
    assert!(finding.involved[0].contains("\"b\""));
    let paths: Vec<String> = finding.changes.iter().map(|c| c.path.to_string()).collect();
    assert_eq!(
        paths,
        [".metadata.annotations[\"meta.helm.sh/release-name\"]"]
    );
}

#[test]
fn each_release_that_loses_an_object_is_named() {
    let claims = [
        of("a", Phase::Settled),
        of("b", Phase::Pending),
        of("c", Phase::Settled),
    ];
    let request = review("UPDATE", &owned("a", ""), &owned("b", ""));
    let verdict = verdict_of(&request, &claims, Knowledge::Builtin(Shape::plain()));
    assert_eq!(verdict.reason, Reason::OwnershipTaken);
    let losing: Vec<&str> = verdict.findings.iter().map(|f| &*f.release.name).collect();
    assert_eq!(losing, ["a", "c"]);
}

#[test]
fn a_transfer_that_violates_a_field_is_a_violation() {
    let claims = [of("a", Phase::Settled), of("b", Phase::Pending)];
    let mut new = owned("b", "");
    new["spec"]["replicas"] = json!(5);
    let request = review("UPDATE", &owned("a", ""), &new);
    assert_eq!(verdict(&request, &claims), Reason::FieldsChanged);
}

/// A transfer passes, and must not hide what does not.
#[test]
fn a_transfer_that_changes_an_undeclared_field_is_denied_for_that() {
    let policy = json!({"mode": "Deny", "undeclared": {"mode": "Deny"}});
    let policy = Policy::compile(&serde_json::from_value(policy).unwrap()).unwrap();
    let mut new = owned("b", "");
    let claims = [of("a", Phase::Settled), of("b", Phase::Settled)];
    let reason = |new: &Value| {
        let verdict = verdict_given(
            &review("UPDATE", &owned("a", ""), new),
            &claims,
            Knowledge::Builtin(Shape::plain()),
            ConversionTargets::Versions(&[]),
            (&policy, Facts::default()),
        );
        verdict.reason
    };
    assert_eq!(reason(&new), Reason::OwnershipTaken);
    new["spec"]["paused"] = json!(true);
    assert_eq!(reason(&new), Reason::UndeclaredChanged);
}

#[test]
fn a_transfer_that_a_rule_allows_is_named_with_its_rule() {
    let policy = json!({"ignore": [{"paths": ["/metadata/annotations"]}]});
    let policy = Policy::compile(&serde_json::from_value(policy).unwrap()).unwrap();
    let verdict = verdict_given(
        &review("UPDATE", &owned("a", ""), &owned("b", "")),
        &[of("a", Phase::Settled)],
        Knowledge::Builtin(Shape::plain()),
        ConversionTargets::Versions(&[]),
        (&policy, Facts::default()),
    );
    assert_eq!(verdict.reason, Reason::OwnershipTaken);
    assert_eq!(verdict.exemption.as_deref(), Some("ignore[0]"));
}

#[test]
fn a_transfer_between_two_releases_is_named_without_a_previous_owner() {
    let mut unmarked = owned("a", "");
    unmarked["metadata"]["annotations"] = json!({});
    let claims = [of("a", Phase::Settled), of("b", Phase::Pending)];
    let request = review("UPDATE", &unmarked, &owned("b", ""));
    assert_eq!(verdict(&request, &claims), Reason::OwnershipTaken);
}

#[rstest::rstest]
#[case::the_same_owner(owned("a", ""), owned("a", "seen"))]
#[case::back_to_the_only_release(owned("gone", ""), owned("a", ""))]
fn an_object_that_stays_with_its_release_is_not_named(#[case] old: Value, #[case] new: Value) {
    let claims = [of("a", Phase::Settled)];
    let request = review("UPDATE", &old, &new);
    assert_eq!(verdict(&request, &claims), Reason::NothingDeclaredChanges);
}
