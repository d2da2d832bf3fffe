//! Deletions.

use super::*;

/// Scenario 28, tightened.
#[rstest::rstest]
#[case::a_moment_ago(Phase::Uninstalling, Some("2026-11-21T02:30:00Z"), Phase::Uninstalling)]
#[case::just_so_long_ago(Phase::Uninstalling, Some("2026-11-21T02:00:00Z"), Phase::Uninstalling)]
#[case::yesterday(Phase::Uninstalling, Some("2026-11-20T03:00:00Z"), Phase::Failed)]
#[case::in_the_future(Phase::Uninstalling, Some("2026-11-22T03:00:00Z"), Phase::Uninstalling)]
#[case::nobody_knows(Phase::Uninstalling, None, Phase::Uninstalling)]
#[case::not_under_way(Phase::Pending, Some("2026-11-20T03:00:00Z"), Phase::Pending)]
fn a_stuck_uninstallation_is_treated_as_failed(
    #[case] phase: Phase,
    #[case] since: Option<&str>,
    #[case] expected: Phase,
) {
    let mut claim = claim("web", phase, vec![RevisionObject::Absent]);
    claim.uninstalling_since = since.map(|since| since.parse().unwrap());
    let now = "2026-11-21T03:00:00Z".parse().unwrap();
    claim.give_up_uninstalling(jiff::SignedDuration::from_hours(1), now);
    assert_eq!(claim.phase, expected);
}

/// Scenarios 20, 22, 25, 27, 28, 50.
#[test]
fn a_delete_is_a_violation_when_every_active_revision_holds_the_object() {
    use Phase::{Failed, Pending, Settled, Uninstalling};
    use RevisionObject::{Absent, Unreadable};
    let cases = [
        (Settled, vec![declares(3)], Reason::ObjectDeleted),
        (
            Pending,
            vec![declares(3), declares(3)],
            Reason::ObjectDeleted,
        ),
        (Pending, vec![Absent, declares(3)], Reason::NotDeclared),
        (Failed, vec![declares(3), Absent], Reason::NotDeclared),
        (
            Failed,
            vec![declares(3), declares(3)],
            Reason::ObjectDeleted,
        ),
        (Uninstalling, vec![declares(3)], Reason::Uninstalling),
        (
            Pending,
            vec![declares(3), Unreadable],
            Reason::RecordUnreadable,
        ),
        (Pending, vec![Absent, Unreadable], Reason::NotDeclared),
    ];
    for (phase, helds, expected) in cases {
        let case = format!("{phase:?} {helds:?}");
        assert_eq!(delete(&[claim("web", phase, helds)]), expected, "{case}");
    }
}

/// Scenario 36: a drops the object from its chart; b still declares it (helm#32218).
#[test]
fn a_release_that_drops_an_object_cannot_delete_it_from_another() {
    let a = claim(
        "a",
        Phase::Pending,
        vec![RevisionObject::Absent, declares(3)],
    );
    let b = claim("b", Phase::Settled, vec![declares(3)]);
    assert_eq!(delete(std::slice::from_ref(&a)), Reason::NotDeclared);
    assert_eq!(delete(&[a, b]), Reason::ObjectDeleted);
}

/// Scenario 51, and CVE-2023-34091 of Kyverno.
#[test]
fn only_finalizers_may_be_removed_from_an_object_that_is_being_deleted() {
    let declared = json!({"metadata": {"finalizers": ["x/y"]}, "spec": {"replicas": 3}});
    let claims = [claim("web", Phase::Settled, vec![object("v1", &declared)])];
    let live = |deleting: bool, finalizers: &Value, replicas: u32| {
        let stamp = if deleting {
            json!("2026-01-01T00:00:00Z")
        } else {
            Value::Null
        };
        json!({
            "metadata": {"deletionTimestamp": stamp, "finalizers": finalizers},
            "spec": {"replicas": replicas},
        })
    };
    let judge = |deleting, finalizers: Value, replicas| {
        let old = live(deleting, &json!(["x/y"]), 3);
        verdict(
            &review("UPDATE", &old, &live(deleting, &finalizers, replicas)),
            &claims,
        )
    };
    assert_eq!(judge(true, Value::Null, 3), Reason::NothingDeclaredChanges);
    assert_eq!(judge(true, Value::Null, 4), Reason::FieldsChanged);
    assert_eq!(judge(false, Value::Null, 3), Reason::FieldsChanged);
}

/// Scenario 50: the API server names no object when it deletes a collection.
#[test]
fn each_object_of_a_deleted_collection_is_found_by_its_old_object() {
    let mut review = review(
        "DELETE",
        &json!({"metadata": {"name": "web"}}),
        &Value::Null,
    );
    review["name"] = json!("");
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let Ok(crate::guard::RequestSubject::Object(object)) = subject(&request) else {
        panic!("the request is about an object");
    };
    assert_eq!((object.name.as_ref(), object.namespace), ("web", "shop"));
}
