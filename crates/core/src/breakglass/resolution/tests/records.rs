//! Changes of release records, which no chart declares.

use super::*;

/// A record of the release, whose label was changed, and its body: text that says what is in it.
#[rstest]
#[case::it_shows(ChangeState::Pending, "failed", 3, SOON, Some(ChangeState::Open))]
#[case::too_long(ChangeState::Open, "failed", 3, NEXT_WEEK, Some(ChangeState::Overdue))]
#[case::back(ChangeState::Open, "deployed", 3, LATER, Some(ChangeState::Reverted))]
#[case::a_later_revision(ChangeState::Open, "failed", 4, LATER, Some(ChangeState::Superseded))]
fn a_change_outside_of_charts_is_open_until_reverted_or_a_later_revision(
    #[case] state: ChangeState,
    #[case] label: &str,
    #[case] revision: u32,
    #[case] now: &str,
    #[case] expected: Option<ChangeState>,
) {
    let change = change(&json!({"operation": "Update", "fields": [{
        "path": ".metadata.labels.status",
        "declared": "deployed", "live": "deployed", "requested": "failed",
    }]}));
    let live =
        json!({"metadata": {"uid": "o-1", "resourceVersion": "7", "labels": {"status": label}}});
    let standing = DeclaredState::Deployed {
        revision,
        object: None,
    };
    let next = next_state(&change, state, Some(&live), standing, now);
    assert_eq!(next, expected);
}

#[rstest]
#[case::under_way("6", SOON, None)]
#[case::never_came("6", LATER, Some(ChangeState::Void))]
#[case::it_came("7", SOON, Some(ChangeState::Open))]
fn a_changed_record_body_is_identified_by_its_version(
    #[case] version: &str,
    #[case] now: &str,
    #[case] expected: Option<ChangeState>,
) {
    let change = change(&json!({"operation": "Update", "fields": [{
        "path": ".data.release.version",
        "declared": "revision 3", "live": "revision 3", "requested": "revision 4",
        "described": ["declared", "live", "requested"],
    }]}));
    let live =
        json!({"metadata": {"uid": "o-1", "resourceVersion": version}, "data": {"release": "…"}});
    let standing = DeclaredState::Deployed {
        revision: 3,
        object: None,
    };
    let next = next_state(&change, ChangeState::Pending, Some(&live), standing, now);
    assert_eq!(next, expected);
}
