//! Which bodies of records are fetched and kept.

use super::*;

#[test]
fn an_uninstalled_release_is_not_guarded_and_stores_no_body() {
    let mut f = with_web(&deployed(1, 10));
    f.index.apply(record(1, RevisionStatus::Uninstalling, 11));
    assert_eq!(f.claim("web").phase, Phase::Uninstalling);
    f.index.apply(record(1, RevisionStatus::Uninstalled, 12));
    assert!(f.claims("web").is_empty());
    assert_eq!((f.store.bodies(), f.store.bytes()), (0, 0));
    let view = f.directory.releases().remove(0);
    assert_eq!(view.latest.as_ref().map(|about| &*about.chart), Some("web"));
}

#[test]
fn bodies_are_requested_once_and_only_for_active_revisions() {
    let mut f = fixture();
    for revision in 1..=8 {
        f.index
            .apply(record(revision, RevisionStatus::Superseded, revision));
        f.index.take_demands();
    }
    f.index.apply(deployed(9, 20));
    assert_eq!(
        f.index.take_demands(),
        [
            Demand::Forget(record(8, RevisionStatus::Superseded, 8).key),
            Demand::Fetch(deployed(9, 20).key, version_of(9, 20)),
        ]
    );
    f.index.apply(deployed(9, 20));
    assert_eq!(f.index.take_demands(), [], "a doubled event");
    assert_eq!(f.index.wanted(), 1);
    f.index.insert_body(
        &deployed(9, 20).key,
        &version_of(9, 20),
        RevisionContent::Unreadable,
    );
    assert_eq!(f.index.wanted(), 0);
}

#[test]
fn a_rewritten_record_is_fetched_again_and_the_old_body_is_used_meanwhile() {
    let mut f = with_web(&deployed(1, 10));
    f.index.apply(deployed(1, 15));
    let key = deployed(1, 15).key;
    assert_eq!(
        f.index.take_demands(),
        [Demand::Fetch(key.clone(), version_of(1, 15))]
    );
    assert_eq!(f.images("web"), expected_images(&[(1, "a:1")]));
    let body = f.body(vec![deployment("web", "a:2")]);
    f.index.insert_body(&key, &version_of(1, 15), body);
    assert_eq!(f.images("web"), expected_images(&[(1, "a:2")]));
}

#[test]
fn a_body_newer_than_the_watch_is_not_fetched_twice() {
    let mut f = fixture();
    f.index.apply(record(1, RevisionStatus::PendingInstall, 10));
    f.index.take_demands();
    let body = f.body(vec![deployment("web", "a:1")]);
    f.index
        .insert_body(&deployed(1, 12).key, &version_of(1, 12), body);
    f.index.apply(deployed(1, 12));
    assert_eq!(f.index.take_demands(), []);
}

#[test]
fn an_older_body_does_not_replace_a_newer_one() {
    let mut f = fixture();
    f.put(&deployed(1, 20), vec![deployment("web", "a:2")]);
    let late = f.body(vec![deployment("web", "a:1")]);
    f.index
        .insert_body(&deployed(1, 10).key, &version_of(1, 10), late);
    assert_eq!(f.images("web"), expected_images(&[(1, "a:2")]));
}

#[test]
fn while_the_new_revision_is_fetched_the_object_stays_claimed() {
    let mut f = with_web(&deployed(3, 10));
    f.index.apply(record(4, RevisionStatus::PendingUpgrade, 11));
    assert_eq!(f.images("web"), expected_images(&[(3, "a:1")]), "pending");
    f.index.apply(record(3, RevisionStatus::Superseded, 12));
    f.index.apply(deployed(4, 13));
    assert_eq!(
        f.images("web"),
        expected_images(&[(3, "a:1")]),
        "deployed, still not fetched"
    );
    let body = f.body(vec![deployment("web", "a:2")]);
    f.index
        .insert_body(&deployed(4, 13).key, &version_of(4, 13), body);
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2")]));
}

#[test]
fn releases_of_one_chart_share_common_data() {
    let mut f = fixture();
    let text = |release: u32| format!("{release} of {}", noise(4_000));
    let name = |release: u32| format!("web-{release}");
    let mut before = 0;
    for release in 0..40 {
        let name = name(release);
        let object = object("ConfigMap", None, &name, &text(release));
        let body = f.body_of("shop", &name, vec![object]);
        f.put_body(
            &at(&storage_in("shop", &name), 1, RevisionStatus::Deployed, 10),
            body,
        );
        if release == 19 {
            before = f.store.bytes();
        }
    }
    let grown = f.store.bytes() - before;
    assert!(before > 15_000 && grown < 20 * 100, "{before} + {grown}");
    for release in 0..40 {
        let claims = f.directory.claims("", "ConfigMap", "shop", &name(release));
        let json = claims[0].declared().map(|object| &*object.json);
        assert_eq!(json, Some(&*format!(r#"{{"image":"{}"}}"#, text(release))));
    }
    for release in 0..40 {
        let storage = storage_in("shop", &name(release));
        f.index
            .delete(&at(&storage, 1, RevisionStatus::Deployed, 10));
    }
    assert_eq!(f.store.bodies(), 0);
}

/// Incompressible text of this many bytes.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut letters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from(state >> 33 & 0xf).unwrap())
    });
    letters.by_ref().take(bytes).collect()
}

#[test]
fn a_thousand_upgrades_leave_one_body() {
    let mut f = fixture();
    for revision in 1..=1000 {
        let (pending, old, new) = (3 * revision, 3 * revision + 1, 3 * revision + 2);
        let objects = || vec![deployment("web", &format!("a:{revision}"))];
        f.put(
            &record(revision, RevisionStatus::PendingUpgrade, pending),
            objects(),
        );
        f.index
            .apply(record(revision - 1, RevisionStatus::Superseded, old));
        f.put(&deployed(revision, new), objects());
        if revision >= 10 {
            f.index
                .delete(&record(revision - 10, RevisionStatus::Superseded, new));
        }
    }
    assert_eq!(f.store.bodies(), 1);
    assert_eq!(f.images("web"), expected_images(&[(1000, "a:1000")]));
    assert_eq!(f.directory.releases()[0].records, 10);
}
