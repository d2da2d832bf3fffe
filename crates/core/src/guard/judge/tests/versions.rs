//! Requests in another API version than the manifest.

use super::*;

/// Scenario 10.
#[test]
fn labels_are_compared_across_api_versions_but_fields_are_not() {
    let declared = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 3}});
    let claims = [claim(
        "web",
        Phase::Settled,
        vec![object("v1beta1", &declared)],
    )];
    let with = |label: &str, replicas: u32| json!({"metadata": {"labels": {"a": label}}, "spec": {"replicas": replicas}});
    let judge = |new: &Value| verdict(&review("UPDATE", &with("1", 3), new), &claims);
    assert_eq!(judge(&with("1", 4)), Reason::VersionDiffers);
    assert_eq!(judge(&with("2", 3)), Reason::FieldsChanged);
    let annotated = json!({"metadata": {"labels": {"a": "1"}, "annotations": {"x": "y"}}, "spec": {"replicas": 3}});
    assert_eq!(judge(&annotated), Reason::NothingDeclaredChanges);
    assert_eq!(delete(&claims), Reason::ObjectDeleted);
}

#[test]
fn a_claim_is_evaluated_in_the_call_with_its_manifests_version() {
    use Reason::{FieldsChanged, JudgedInDeclaredVersion, VersionDiffers};
    let beta = || object("v1beta1", &replicas(3));
    let gamma = || object("v1gamma1", &replicas(3));
    let one = [claim("web", Phase::Settled, vec![beta()])];
    let other = [claim("web", Phase::Settled, vec![gamma()])];
    let both = [
        claim("a", Phase::Settled, vec![beta()]),
        claim("b", Phase::Settled, vec![declares(3)]),
    ];
    // The newest manifest that has the object counts.
    let let_go = [claim(
        "web",
        Phase::Failed,
        vec![RevisionObject::Absent, beta()],
    )];
    let upgraded = [claim("web", Phase::Pending, vec![declares(3), beta()])];
    let own = [Box::from("v1beta1")];
    let only_requested = ConversionTargets::Versions(&[]);
    let requested = ConversionTargets::Versions(&own);
    let pinned = ConversionTargets::AllOthers;
    let cases = [
        (
            "unregistered",
            &one[..],
            "v1",
            only_requested,
            VersionDiffers,
        ),
        ("deferred", &one, "v1", requested, JudgedInDeclaredVersion),
        ("converted", &one, "v1beta1", pinned, FieldsChanged),
        (
            "another pin",
            &one,
            "v1gamma1",
            pinned,
            JudgedInDeclaredVersion,
        ),
        ("not pinned", &other, "v1", requested, VersionDiffers),
        (
            "two releases, requested",
            &both,
            "v1",
            requested,
            FieldsChanged,
        ),
        (
            "two releases, converted",
            &both,
            "v1beta1",
            pinned,
            FieldsChanged,
        ),
        ("let go", &let_go, "v1", requested, JudgedInDeclaredVersion),
        (
            "upgrade, new version",
            &upgraded,
            "v1",
            requested,
            VersionDiffers,
        ),
        (
            "upgrade, old version",
            &upgraded,
            "v1beta1",
            pinned,
            JudgedInDeclaredVersion,
        ),
    ];
    for (name, claims, version, conversions, expected) in cases {
        let mut review = review("UPDATE", &replicas(3), &replicas(5));
        review["kind"]["version"] = json!(version);
        let knowledge = Knowledge::Builtin(Shape::plain());
        let verdict = verdict_in(&review, claims, knowledge, conversions);
        assert_eq!(verdict.reason, expected, "{name}");
    }
}
