//! Events of the watches: in any order, in lists and in batches.

use super::*;

#[test]
fn a_relist_removes_missing_records() {
    let mut f = fixture();
    let gone = at(&storage_in("shop", "gone"), 1, RevisionStatus::Deployed, 11);
    f.put(&record(1, RevisionStatus::Superseded, 10), vec![]);
    f.put(&deployed(2, 11), vec![deployment("web", "a:1")]);
    let body = f.body_of("shop", "gone", vec![deployment("gone", "a:1")]);
    f.put_body(&gone, body);
    f.index.relist_started(ALL);
    f.index.listed(&ALL, deployed(2, 11));
    assert_eq!(f.claims("gone").len(), 1, "not before the list is complete");
    f.index.relist_done(&ALL);
    assert!(f.claims("gone").is_empty());
    assert_eq!(f.images("web"), expected_images(&[(2, "a:1")]));
    assert_eq!(f.directory.releases().len(), 1);
    assert_eq!(f.directory.releases()[0].records, 1);
    assert_eq!(f.index.take_demands(), []);
}

#[test]
fn a_relist_of_one_scope_does_not_affect_others() {
    let mut f = with_web(&deployed(1, 10));
    for scope in [
        WatchScope {
            driver: Driver::ConfigMap,
            namespace: None,
        },
        WatchScope {
            driver: Driver::Secret,
            namespace: Some("other".into()),
        },
    ] {
        f.index.relist_started(scope.clone());
        f.index.relist_done(&scope);
        assert_eq!(f.claims("web").len(), 1, "{scope:?}");
    }
}

#[test]
fn an_aborted_list_removes_nothing() {
    let mut f = with_web(&deployed(1, 10));
    f.index.relist_started(ALL);
    f.index.relist_started(ALL);
    f.index.listed(&ALL, deployed(1, 10));
    f.index.relist_done(&ALL);
    assert_eq!(f.claims("web").len(), 1);
}

#[test]
fn late_events_do_not_restore_older_states() {
    let mut f = with_web(&deployed(1, 20));
    f.index.apply(record(1, RevisionStatus::PendingInstall, 10));
    assert_eq!(f.claim("web").phase, Phase::Settled);
    let mut earlier = deployed(1, 5);
    earlier.version.uid = "of-a-record-before".into();
    f.index.delete(&earlier);
    assert_eq!(
        f.claims("web").len(),
        1,
        "another record of that name was deleted"
    );
}

#[test]
fn deleting_an_unknown_record_does_nothing() {
    let mut f = fixture();
    f.index.delete(&deployed(1, 5));
    assert!(f.directory.releases().is_empty());
}

#[test]
fn changes_of_a_batch_are_published_at_its_end() {
    let mut fixture = fixture();
    let first = deployed(1, 10);
    fixture.put(&first, vec![deployment("front", "a:1")]);

    fixture.index.begin_batch();
    fixture.put(
        &record(2, RevisionStatus::PendingUpgrade, 11),
        vec![deployment("front", "a:2")],
    );
    fixture.index.delete(&first);
    assert_eq!(fixture.claim("front").revisions.len(), 1, "as before");
    fixture.index.end_batch();
    let revisions: Vec<u32> = fixture
        .claim("front")
        .revisions
        .iter()
        .map(|revision| revision.revision)
        .collect();
    assert_eq!(revisions, [2]);
}

/// Computing it again for each of them would take minutes.
#[test]
fn a_release_with_very_many_records_is_indexed() {
    const RECORDS: u32 = 100_000;
    let mut fixture = fixture();
    fixture.index.relist_started(ALL);
    fixture.index.begin_batch();
    for revision in 1..=RECORDS {
        let stored = record(revision, RevisionStatus::Superseded, 10 + revision);
        fixture.index.listed(&ALL, stored);
    }
    fixture.index.end_batch();
    fixture.index.relist_done(&ALL);
    let view = fixture.directory.release(&storage()).unwrap();
    assert_eq!((view.records, view.newest), (100_000, RECORDS));
    // Only the newest body is requested.
    assert_eq!(fixture.index.take_demands().len(), 1);
}
