//! Records and documents that cannot be read.

use super::*;

#[test]
fn an_unreadable_revision_is_reported_next_to_a_readable_one() {
    let mut f = with_web(&deployed(3, 10));
    f.put_body(
        &record(4, RevisionStatus::Failed, 11),
        RevisionContent::Unreadable,
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "?"), (3, "a:1")]));
    assert!(f.directory.is_unreadable("shop", "web") && f.directory.any_unreadable());
}

#[test]
fn an_unreadable_release_is_known_by_name_and_read_again_when_it_changes() {
    let mut f = fixture();
    f.put_body(&deployed(1, 10), RevisionContent::Unreadable);
    assert!(f.claims("web").is_empty());
    assert!(f.directory.is_unreadable("shop", "web") && f.directory.any_unreadable());
    assert!(!f.directory.is_unreadable("shop", "other"));
    f.index.apply(deployed(1, 11));
    let key = deployed(1, 11).key;
    assert!(
        f.index
            .take_demands()
            .contains(&Demand::Fetch(key.clone(), version_of(1, 11)))
    );
    let body = f.body(vec![deployment("web", "a:1")]);
    f.index.insert_body(&key, &version_of(1, 11), body);
    assert!(!f.directory.is_unreadable("shop", "web") && !f.directory.any_unreadable());
    assert_eq!(f.claims("web").len(), 1);
}

#[test]
fn the_fetch_of_an_unreadable_record_stops_when_the_record_is_deleted() {
    let mut f = fixture();
    f.put_body(&deployed(1, 10), RevisionContent::Unreadable);
    f.index.delete(&deployed(1, 11));
    assert_eq!(
        f.index.take_demands(),
        [Demand::Forget(deployed(1, 11).key)]
    );
}

#[test]
fn an_unreadable_record_that_becomes_active_again_is_fetched_again() {
    let mut f = fixture();
    f.put_body(&deployed(1, 10), RevisionContent::Unreadable);
    f.index.apply(deployed(2, 11));
    f.index.take_demands();
    f.index.delete(&deployed(2, 12));
    let key = deployed(1, 10).key;
    let wanted = Demand::Fetch(key, version_of(1, 10));
    assert!(f.index.take_demands().contains(&wanted));
}

/// The unreadable document may declare it.
#[test]
fn an_object_missing_in_a_partly_unreadable_manifest_is_not_absent() {
    let mut fixture = fixture();
    fixture.put(
        &deployed(1, 10),
        vec![deployment("front", "a:1"), deployment("back", "a:1")],
    );
    assert!(!fixture.directory.any_unreadable());
    let newer = record(2, RevisionStatus::PendingUpgrade, 11);
    let body = fixture.body_with_problems(("shop", "web"), vec![deployment("front", "a:2")], 1);
    fixture.put_body(&newer, body);

    let held = |name: &str| {
        let revisions = fixture.claim(name).revisions;
        let helds = revisions.into_iter().map(|revision| revision.held);
        helds
            .map(|held| match held {
                RevisionObject::Declared(_) => "declared",
                RevisionObject::Absent => "absent",
                RevisionObject::Unreadable => "unreadable",
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(held("front"), ["declared", "declared"]);
    assert_eq!(held("back"), ["unreadable", "declared"]);
    assert!(fixture.claims("other").is_empty());
    assert!(fixture.directory.is_unreadable("shop", "web"));
    assert!(!fixture.directory.is_unreadable("shop", "other"));

    let newest = record(3, RevisionStatus::PendingUpgrade, 12);
    fixture.put(&newest, vec![deployment("front", "a:3")]);
    assert!(!fixture.directory.any_unreadable());
    fixture.index.delete(&newest);
    assert!(!fixture.directory.is_unreadable("shop", "web"));
}
